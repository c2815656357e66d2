//! Python's `repr` of a text, for job descriptions that read as rq's own.

use std::fmt::Write;

/// `repr(text)`, cut after `limit` characters with `...` behind, as rq does.
pub(super) fn of_text(text: &str, limit: usize) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    let mut length = 1;
    for c in text.chars() {
        let start = out.len();
        push(&mut out, c, quote);
        length += out[start..].chars().count();
        if length > limit {
            break;
        }
    }
    if length <= limit {
        out.push(quote);
        length += 1;
    }
    if length > limit {
        let end = out.char_indices().nth(limit).map_or(out.len(), |(index, _)| index);
        out.truncate(end);
        out.push_str("...");
    }
    out
}

fn push(out: &mut String, c: char, quote: char) {
    match c {
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if c == quote => {
            out.push('\\');
            out.push(c);
        }
        c if is_printable(c) => out.push(c),
        c => {
            let code = u32::from(c);
            let written = match code {
                0..=0xff => write!(out, "\\x{code:02x}"),
                0x100..=0xffff => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            };
            written.expect("a String takes any text");
        }
    }
}

/// `str.isprintable` for what occurs in practice: controls, separators other than the space, formats and private use
/// are escaped. Unassigned code points are not told apart; the text is for reading.
fn is_printable(c: char) -> bool {
    let escaped = c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(u32::from(c), 0xad | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff | 0xe000..=0xf8ff);
    !escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_python_writes_it() {
        assert_eq!(of_text("ACME;1", 75), "'ACME;1'");
        assert_eq!(of_text("it's", 75), "\"it's\"");
        assert_eq!(of_text("it's \"so\"", 75), "'it\\'s \"so\"'");
        assert_eq!(of_text("a\\b\n\u{1}\u{a0}\u{3000}é公", 75), "'a\\\\b\\n\\x01\\xa0\\u3000é公'");
    }

    #[test]
    fn is_cut_where_rq_cuts() {
        let exact = "x".repeat(73);
        assert_eq!(of_text(&exact, 75), format!("'{exact}'"));
        let longer = "x".repeat(74);
        assert_eq!(of_text(&longer, 75), format!("'{longer}..."));
        let far = "x".repeat(500);
        assert_eq!(of_text(&far, 75), format!("'{longer}..."));
    }
}
