//! What a server says, for people: cut to a length, on one line, with what cannot be seen made visible, and without passwords.

use std::fmt::Write as _;

/// Bytes of a server's words that are told: enough for a sentence, and for the note of an event with what is around it.
const LONGEST: usize = 500;

/// What stands for a password.
const MASK: &str = "***";

/// A password that is shorter is no secret, and would be found in half of all words.
const SHORTEST_SECRET: usize = 4;

/// `text` for people. None of `secrets` is in it, also not as a URL has it.
pub(crate) fn told(text: &str, secrets: &[String]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| secret.len() >= SHORTEST_SECRET) {
        let encoded = percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string();
        for spelling in [secret.as_str(), encoded.as_str()] {
            if text.contains(spelling) {
                text = text.replace(spelling, MASK);
            }
        }
    }
    visible(&text)
}

/// `text` on one line, with nothing that a terminal obeys, in at most [`LONGEST`] bytes.
pub(crate) fn visible(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        if line.len() >= LONGEST {
            line.truncate(line.floor_char_boundary(LONGEST));
            line.push('…');
            break;
        }
        match c {
            '\n' | '\r' | '\t' => line.push(' '),
            c if c.is_control() || is_invisible(c) => {
                // A string takes everything.
                let _ = write!(line, "\\u{{{:x}}}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line
}

/// Marks of direction and of width zero: they change what other characters look like, or hide.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_and_what_a_terminal_obeys_is_visible() {
        assert_eq!(visible("ERR \u{1b}[31mred\r\nnext\u{202e}"), "ERR \\u{1b}[31mred  next\\u{202e}");
        for text in ["x".repeat(1 << 20), "ä".repeat(1 << 19), "\u{1b}".repeat(1 << 19)] {
            assert!(visible(&text).len() <= LONGEST + '…'.len_utf8());
        }
    }

    #[test]
    fn passwords_are_masked_in_both_spellings_before_words_are_cut() {
        let secrets = ["p@ss/word".to_owned(), String::new(), "abc".to_owned()];
        assert_eq!(told("ERR AUTH p@ss/word failed, p%40ss%2Fword too", &secrets), "ERR AUTH *** failed, *** too");
        let at_the_cut = format!("{}p@ss/word", "x".repeat(LONGEST - 3));
        assert!(!told(&at_the_cut, &secrets).contains("p@s"));
        assert_eq!(told("abcdef", &secrets), "abcdef");
    }
}
