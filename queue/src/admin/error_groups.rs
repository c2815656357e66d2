//! Tells failures apart by their cause: the line that names it, with what differs from job to job left out. A person is
//! shown the cause of one of them as it was written.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

/// Characters of a cause that a person is shown.
const MOST_SHOWN: usize = 300;
/// Characters of a cause by which kinds are told apart.
const MOST_COMPARED: usize = 1_000;

/// Failures of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kind {
    /// How many jobs.
    pub count: u64,
    /// The cause of the first of them, as it was written.
    pub reason: String,
    /// What they have in common: see [`normalised`].
    pub pattern: String,
    /// Whether all causes read as `reason` does.
    #[serde(skip)]
    alike: bool,
}

impl Kind {
    /// For a person, cut to what can be read; says whether it is an example.
    pub fn text(&self) -> String {
        let example = if self.alike { "" } else { "such as: " };
        format!("{example}{}", shortened(&self.reason))
    }
}

/// Failures, counted by kind.
#[derive(Debug, Default)]
pub struct Kinds(BTreeMap<String, Kind>);

impl Kinds {
    /// Counts one.
    pub fn add(&mut self, error: &str) {
        let (pattern, reason) = (normalised(error), cause(error));
        let kind = self.0.entry(pattern).or_insert_with_key(|pattern| Kind {
            count: 0,
            reason: reason.to_owned(),
            pattern: pattern.clone(),
            alike: true,
        });
        kind.count += 1;
        kind.alike &= kind.reason == reason;
    }

    /// All kinds, the most frequent first.
    pub fn most_frequent_first(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self.0.values().cloned().collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.count));
        kinds
    }
}

/// What begins a traceback of Python. One exception that another led to follows it in a text of its own.
const TRACEBACK: &str = "Traceback (most recent call last):";

/// The cause in an error text: in a Python traceback the line that names the last exception, which may have more lines below
/// it, else the first line.
pub fn cause(error: &str) -> &str {
    let lines = || error.lines().map(str::trim_end).filter(|line| !line.trim().is_empty());
    let is_traceback = error.trim_start().starts_with(TRACEBACK);
    let last = if is_traceback { lines().filter(|line| line.trim() == TRACEBACK).count() } else { 0 };
    let mut tracebacks = 0;
    // Frames and their source are indented.
    let named = lines().find(|line| {
        tracebacks += usize::from(line.trim() == TRACEBACK);
        tracebacks == last && line.trim() != TRACEBACK && (!is_traceback || !line.starts_with([' ', '\t']))
    });
    // A text that was cut before the exception.
    named.or_else(|| lines().next_back()).unwrap_or("").trim()
}

/// A cause as a line that can be read: an exception may have a text of a megabyte.
pub fn shortened(cause: &str) -> Cow<'_, str> {
    let shown = head(cause, MOST_SHOWN);
    if shown.len() == cause.len() {
        return Cow::Borrowed(cause);
    }
    Cow::Owned(format!("{shown}… ({} characters)", cause.chars().count()))
}

/// At most so many characters from the start.
fn head(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

/// The start of the cause with numbers as `N`, quoted values as `'…'` and ids as `ID`, so that failures of one kind read the same.
pub fn normalised(error: &str) -> String {
    let text = head(cause(error), MOST_COMPARED);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(length) = quoted(rest, out.chars().next_back()) {
            out.push(c);
            out.push('…');
            out.push(c);
            rest = &rest[length..];
        } else if c.is_ascii_hexdigit() && !out.ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            let word = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).unwrap_or(rest.len());
            out.push_str(&collapsed(&rest[..word]));
            rest = &rest[word..];
        } else if c.is_ascii_digit() {
            out.push('N');
            rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    // How recipes show a long value: cut, with its length behind.
    out.replace("... (N characters)", "")
}

/// Length of a quoted value at the start of `text`. An apostrophe within a word opens nothing.
fn quoted(text: &str, before: Option<char>) -> Option<usize> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    if quote == '\'' && before.is_some_and(char::is_alphanumeric) {
        return None;
    }
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        match c {
            '\\' if !escaped => escaped = true,
            c if c == quote && !escaped => return Some(index + 1),
            _ => escaped = false,
        }
    }
    None
}

/// A word: `ID` for a UUID or a long hexadecimal number, else with its digits collapsed.
fn collapsed(word: &str) -> String {
    let hex = word.chars().filter(char::is_ascii_hexdigit).count();
    let dashes = word.chars().filter(|c| *c == '-').count();
    if hex >= 16 && hex + dashes == word.len() && word.contains(|c: char| c.is_ascii_digit()) {
        return "ID".to_owned();
    }
    let mut out = String::new();
    let mut in_number = false;
    for c in word.chars() {
        if c.is_ascii_digit() {
            if !in_number {
                out.push('N');
            }
            in_number = true;
        } else {
            in_number = false;
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_of_a_traceback_is_the_line_that_names_the_last_exception() {
        let text = "Traceback (most recent call last):\n  File \"x.py\", line 3, in f\nValueError: bad literal: 'x'\n";
        assert_eq!(cause(text), "ValueError: bad literal: 'x'");
        let detailed = format!("{text}DETAIL:  Key (id)=(1) already exists.\n\n  indented\n");
        assert_eq!(cause(&detailed), "ValueError: bad literal: 'x'");
        let chained =
            format!("{text}\nThe above exception was the direct cause of the following exception:\n\n{detailed}");
        let chained = chained.replacen("ValueError", "KeyError", 1);
        assert_eq!(cause(&chained), "ValueError: bad literal: 'x'");
        assert_eq!(cause("Traceback (most recent call last):\n  File \"x.py\", line"), "File \"x.py\", line");
        assert_eq!(cause("not a date\nmore detail"), "not a date");
        assert_eq!(cause(""), "");
    }

    #[test]
    fn failures_of_one_kind_read_the_same() {
        let pairs = [
            ("line 12 column 40: expected , at 7", "line 3 column 4: expected , at 191"),
            ("column founded_date: '2010-13-45' is not a date", "column founded_date: 'n\\'a' is not a date"),
            ("the text is \"abc\"... (93 characters)", "the text is \"x\""),
            ("value \"ab\" too long for 20", "value \"c\" too long for 20"),
            ("job 550e8400-e29b-41d4-a716-446655440000 is gone", "job 0b4c9f0e-8a3e-4c5b-9d56-aaaaaaaaaaaa is gone"),
        ];
        for (one, other) in pairs {
            assert_eq!(normalised(one), normalised(other));
        }
    }

    #[test]
    fn a_kind_shows_what_one_of_its_failures_says() {
        let mut kinds = Kinds::default();
        for error in ["'n/a' is not a date", "no Name", "'2010-13-45' is not a date\nmore", "no Name", "no Name"] {
            kinds.add(error);
        }
        let kinds = kinds.most_frequent_first();
        let shown: Vec<(u64, String)> = kinds.iter().map(|kind| (kind.count, kind.text())).collect();
        assert_eq!(shown, [(3, "no Name".to_owned()), (2, "such as: 'n/a' is not a date".to_owned())]);
        let mut long = Kinds::default();
        long.add(&format!("ValueError: {}", "é".repeat(100_000)));
        let shown = long.most_frequent_first()[0].text();
        assert_eq!((shown.chars().count(), shown.ends_with("… (100012 characters)")), (321, true), "{shown}");
        let json = serde_json::to_value(&kinds[1]).expect("JSON");
        let expected = serde_json::json!({"count": 2, "reason": "'n/a' is not a date", "pattern": "'…' is not a date"});
        assert_eq!(json, expected);
    }

    #[test]
    fn failures_of_different_kinds_stay_apart_and_readable() {
        assert_eq!(normalised("column 'a' of t2: it's 15 too many"), "column '…' of tN: it's N too many");
        assert_ne!(normalised("missing field Name"), normalised("missing field No"));
        assert_eq!(normalised("an open 'quote 7"), "an open 'quote N");
    }
}
