//! Bare words that YAML 1.1 takes for booleans and YAML 1.2 for text: `no`, `on`, `y` and the like. We read 1.2, and
//! `kubectl` reads 1.1, so that the same manifest would mean two things.

use std::fmt::Write as _;

use serde_yaml::Value;

use crate::Problem;

const TRUE: [&str; 8] = ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON"];
const FALSE: [&str; 8] = ["n", "N", "no", "No", "NO", "off", "Off", "OFF"];

/// Marks put around a word's number; no manifest has the character.
const MARK: char = '\u{f8ff}';

/// A manifest in which each candidate (a word that stands alone where a key or value may) has been replaced by its
/// number: where one comes out of the parser as a whole key or value, it was a bare word and nothing else.
pub(crate) struct Words<'a> {
    words: Vec<&'a str>,
    text: String,
}

impl<'a> Words<'a> {
    /// `None` where there is no candidate, which is the rule.
    pub(crate) fn find(text: &'a str) -> Option<Self> {
        if text.contains(MARK) {
            return None;
        }
        let mut words = Vec::new();
        let mut marked = String::with_capacity(text.len() + 64);
        for line in text.split_inclusive('\n') {
            mark(line, &mut words, &mut marked);
        }
        (!words.is_empty()).then_some(Self { words, text: marked })
    }

    /// The text to read in place of the manifest, for [`Words::problems`].
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Each bare word in a document of that text.
    pub(crate) fn problems(&self, document: &Value) -> Vec<Problem> {
        let mut found = Vec::new();
        self.walk(document, "", &mut found);
        found
    }

    fn walk(&self, value: &Value, path: &str, found: &mut Vec<Problem>) {
        match value {
            Value::Mapping(map) => {
                for (key, value) in map {
                    let word = self.word(key);
                    let name = word.or(key.as_str()).map_or_else(|| scalar(key), str::to_owned);
                    let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                    if let Some(word) = word {
                        found.push(problem(&path, "key", word));
                    }
                    self.walk(value, &path, found);
                }
            }
            Value::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(item, &format!("{path}[{index}]"), found);
                }
            }
            scalar => {
                if let Some(word) = self.word(scalar) {
                    found.push(problem(path, "value", word));
                }
            }
        }
    }

    /// The word that a mark stands for.
    fn word(&self, value: &Value) -> Option<&'a str> {
        let number = value.as_str()?.strip_prefix(MARK)?.strip_suffix(MARK)?;
        self.words.get(number.parse::<usize>().ok()?).copied()
    }
}

/// Keys that are no text: numbers, `null`, `true`. What they are called as text depends on the reader.
pub(crate) fn other_keys(document: &Value) -> Vec<Problem> {
    fn walk(value: &Value, path: &str, found: &mut Vec<Problem>) {
        match value {
            Value::Mapping(map) => {
                for (key, value) in map {
                    let name = scalar(key);
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    if !matches!(key, Value::String(_)) {
                        let text =
                            format!("the bare key `{name}` is not text; put it in quotes, as it was: \"{name}\"");
                        found.push(Problem::new(path.as_str(), text));
                    }
                    walk(value, &path, found);
                }
            }
            Value::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    walk(item, &format!("{path}[{index}]"), found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(document, "", &mut found);
    found
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => "?".into(),
    }
}

fn problem(path: &str, what: &str, word: &str) -> Problem {
    let read = TRUE.contains(&word);
    Problem::new(
        path,
        format!("kubectl reads the bare {what} `{word}` as the boolean {read}; put it in quotes: \"{word}\""),
    )
}

/// Copies a line, with marks for its candidates.
fn mark<'a>(line: &'a str, words: &mut Vec<&'a str>, marked: &mut String) {
    let mut rest = line;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let length = rest[start..].find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len() - start);
        let (word, after) = (&rest[start..start + length], &rest[start + length..]);
        let copied = line.len() - rest.len() + start;
        if (TRUE.contains(&word) || FALSE.contains(&word)) && stands_alone(&line[..copied], after) {
            marked.push_str(&rest[..start]);
            write!(marked, "{MARK}{}{MARK}", words.len()).expect("a String takes any text");
            words.push(word);
        } else {
            marked.push_str(&rest[..start + length]);
        }
        rest = after;
    }
    marked.push_str(rest);
}

/// Whether what is between the two parts of a line may be a whole key or value. Alone on its line only a key counts: a
/// value there is most often a line of a longer text.
fn stands_alone(before: &str, after: &str) -> bool {
    let key = after.trim_start_matches([' ', '\t']).starts_with(':');
    may_begin(before) && may_end(after) && (key || !before.trim().is_empty())
}

/// Whether a key or value may begin after this part of a line.
fn may_begin(before: &str) -> bool {
    let text = before.trim_end_matches([' ', '\t']);
    let spaced = text.len() < before.len();
    text.is_empty() || text.ends_with(['{', '[', ',']) || (spaced && text.ends_with([':', '-', '?']))
}

/// Whether it may end before this part of a line.
fn may_end(after: &str) -> bool {
    let text = after.trim_start_matches([' ', '\t']);
    let spaced = text.len() < after.len();
    match text.chars().next() {
        None | Some('\n' | '\r' | ',' | '}' | ']') => true,
        Some('#') => spaced,
        Some(':') => text[1..].chars().next().is_none_or(|c| c.is_whitespace() || matches!(c, ',' | '}' | ']')),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let Some(words) = Words::find(text) else { return Vec::new() };
        let document = Value::deserialize(serde_yaml::Deserializer::from_str(words.text())).expect("YAML");
        words.problems(&document).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn bare_words_are_found_as_keys_and_values() {
        let found = problems(
            "columns:\n  no: record.no\n  'on': record.on\n  name: a\nflow: {y: 1, \"n\": 2, z: off}\nlist:\n  - yes # really\n  - 'no'\n",
        );
        let key = |path: &str, word: &str, read: bool| {
            format!("{path}: kubectl reads the bare key `{word}` as the boolean {read}; put it in quotes: \"{word}\"")
        };
        let value = |path: &str, word: &str, read: bool| key(path, word, read).replace("bare key", "bare value");
        assert_eq!(
            found,
            [
                key("columns.no", "no", false),
                key("flow.y", "y", true),
                value("flow.z", "off", false),
                value("list[0]", "yes", true)
            ]
        );
    }

    #[test]
    fn keys_that_are_no_text_are_named() {
        let document: Value = serde_yaml::from_str("columns: {1: a, null: b, true: c, \"2\": d}").expect("YAML");
        let found: Vec<String> = other_keys(&document).iter().map(|problem| problem.path.clone()).collect();
        assert_eq!(found, ["columns.1", "columns.null", "columns.true"]);
    }

    #[test]
    fn words_within_texts_and_comments_are_none() {
        for text in [
            "a: say no to\nb: \"no\"\nc: 'x: no'\nd: record.no\ne: x.n # no: y\nf: >-\n  no: y\n  on\n",
            "a: |-\n  no\nb: is it on\nc: nothing\nd: yes-no\n",
            "a: \"two\n  no: y\n  lines\"\n",
        ] {
            assert_eq!(problems(text), [] as [String; 0], "{text}");
        }
    }
}
