//! Text from Redis or the cluster, which anybody may have written: cut to a length, with what cannot be seen made visible.
//! Escaping for HTML is left to who writes HTML.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

/// Characters of a name or a reason.
pub const SHORT: usize = 200;
/// Characters of a sentence that says what is wrong and what to do.
pub const MESSAGE: usize = 500;
/// Characters of an error or a record.
pub const LONG: usize = 20_000;

/// At most `most` characters on one line.
pub fn line(text: &str, most: usize) -> String {
    visible(text, most, false)
}

/// At most `most` characters; breaks of lines and tabs stay.
pub fn block(text: &str, most: usize) -> String {
    visible(text, most, true)
}

fn visible(text: &str, most: usize, lines: bool) -> String {
    let mut out = String::with_capacity(text.len().min(most));
    for (index, c) in text.chars().enumerate() {
        if index == most {
            let _ = write!(out, "… ({} characters)", text.chars().count());
            break;
        }
        match c {
            '\n' | '\t' if lines => out.push(c),
            c if c.is_control() || is_invisible(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Marks of direction, of width zero, and tags: they change what other characters look like, or hide.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A number that is a count, such as a gauge of one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; not a number is 0")]
pub fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// A length of time in its largest unit, as the other commands print it.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long ago.
pub fn ago(moment: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    moment.map_or_else(
        || "–".to_owned(),
        |moment| format!("{} ago", span(u64::try_from((now - moment).num_seconds()).unwrap_or(0))),
    )
}

/// A count with its thousands apart.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 job`, `2 jobs`.
pub fn jobs(number: u64) -> String {
    if number == 1 { "1 job".to_owned() } else { format!("{} jobs", count(number)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_made_visible_and_what_is_long_is_cut() {
        assert_eq!(line("a\u{202e}b\u{0}\n\u{feff}", 20), "a\\u{202e}b\\u{0}\\u{a}\\u{feff}");
        assert_eq!(block("a\n\tb\r", 20), "a\n\tb\\u{d}");
        assert_eq!(line("ééé", 2), "éé… (3 characters)");
        assert_eq!(line("éé", 2), "éé");
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([count(7), count(1_000), count(1_234_567)], ["7", "1,000", "1,234,567"]);
        assert_eq!([jobs(1), jobs(2_000)], ["1 job", "2,000 jobs"]);
        assert_eq!([span(119), span(120), span(7_200), span(200_000)], ["119 s", "2 min", "2 h", "2 d"]);
        let now = DateTime::from_timestamp(1_000, 0).expect("a time");
        assert_eq!(ago(DateTime::from_timestamp(990, 0), now), "10 s ago");
        assert_eq!(ago(None, now), "–");
    }
}
