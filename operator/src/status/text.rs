//! Texts of others, cut to what has room: by bytes, since that is what the API server counts, and between characters.

/// How many bytes of what a pod says are told: with the sentence around it, it goes into the note of an event.
pub(crate) const LONGEST: usize = 700;

/// What stands for the part that was cut off.
const CUT: &str = "…";

/// The beginning of a text, in at most so many bytes.
pub(crate) fn beginning(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.into();
    }
    let end = text.floor_char_boundary(bytes.saturating_sub(CUT.len()));
    [&text[..end], CUT].concat()
}

/// The end of a text, in at most so many bytes.
pub(crate) fn end(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.into();
    }
    let begin = text.ceil_char_boundary((text.len() + CUT.len()).saturating_sub(bytes));
    [CUT, &text[begin..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_by_bytes_and_between_characters() {
        for each in ["a", "ü", "数", "🦀"] {
            let text = format!("<{}>", each.repeat(600));
            for bytes in 3..40 {
                let (first, last) = (beginning(&text, bytes), end(&text, bytes));
                assert!(first.len() <= bytes && first.len() + each.len() > bytes, "{bytes}: {first}");
                assert!(last.len() <= bytes && last.len() + each.len() > bytes, "{bytes}: {last}");
                assert!(first.ends_with(CUT) && last.starts_with(CUT));
            }
            assert!(beginning(&text, 40).starts_with('<') && end(&text, 40).ends_with('>'));
        }
        let fits = "a".repeat(1024);
        assert_eq!((beginning(&fits, 1024), end(&fits, 1024)), (fits.clone(), fits));
    }
}
