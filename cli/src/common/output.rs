//! Where words go: data to stdout in the chosen format, everything else to stderr, colour only for a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use chrono::{DateTime, Utc};
use clap::ValueEnum;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

/// How data is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for a person.
    #[default]
    Text,
    /// The same with more columns.
    Wide,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// The two streams of this process, and how they may be used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// The format of data.
    pub(crate) format: Format,
    colour: bool,
}

impl Output {
    /// Colour only where stderr is a terminal and nobody refuses it.
    pub(crate) fn for_process(format: Format) -> Self {
        let refused = Self::refuses_colour();
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { format, colour: !refused && !dumb && io::stderr().is_terminal() }
    }

    /// Whether stderr is a terminal, so that a progress bar makes sense.
    #[expect(clippy::unused_self, reason = "asked of the output, not of the process, by callers")]
    pub(crate) fn is_interactive(self) -> bool {
        io::stderr().is_terminal()
    }

    /// A message for the person: progress, summaries, notes.
    pub(crate) fn say(self, message: &str) {
        self.line("", message);
    }

    /// What comes before `message` is ours, colours included.
    #[expect(clippy::unused_self, reason = "the one door to stderr")]
    fn line(self, before: &str, message: &str) {
        // A closed stderr leaves nobody to tell.
        let _ = writeln!(io::stderr().lock(), "{before}{}", printable(message));
    }

    /// A question, on stderr; the answer follows on the same line.
    #[expect(clippy::unused_self, reason = "the one door to stderr")]
    pub(crate) fn ask(self, question: &str) {
        let mut err = io::stderr().lock();
        // A closed stderr leaves nobody to ask.
        let _ = write!(err, "{}", printable(question)).and_then(|()| err.flush());
    }

    /// What failed.
    pub(crate) fn error(self, message: &str) {
        self.line(&format!("{} ", self.paint("error:", "1;31")), message);
    }

    /// Something that did not stop us but should be known.
    pub(crate) fn warn(self, message: &str) {
        self.line(&format!("{} ", self.paint("warning:", "1;33")), message);
    }

    /// What to do about an error.
    pub(crate) fn hint(self, message: &str) {
        self.line(&format!(" {} ", self.paint("hint:", "1;36")), message);
    }

    /// Data to stdout, without control characters: a record may hold any. In JSON the escapes mean what they replace.
    pub(crate) fn data(self, text: &str) -> io::Result<()> {
        self.raw(&printable(text))
    }

    #[expect(clippy::unused_self, reason = "the one door to stdout")]
    fn raw(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// A value as one JSON or YAML document. For `text` and `wide` the caller prints columns instead.
    pub(crate) fn document<T: Serialize>(self, value: &T) -> anyhow::Result<()> {
        let text = match self.format {
            // Its plain texts know no escapes, so that a program gets them as they are.
            Format::Yaml if !io::stdout().is_terminal() => return Ok(self.raw(&serde_yaml::to_string(value)?)?),
            Format::Yaml => serde_yaml::to_string(value)?,
            Format::Json | Format::Text | Format::Wide => format!("{}\n", serde_json::to_string_pretty(value)?),
        };
        Ok(self.data(&text)?)
    }

    /// One of several documents: JSON on one line, YAML after `---`.
    pub(crate) fn document_of_several<T: Serialize>(self, value: &T) -> anyhow::Result<()> {
        let text = match self.format {
            Format::Yaml => format!("---\n{}", serde_yaml::to_string(value)?),
            Format::Json | Format::Text | Format::Wide => format!("{}\n", serde_json::to_string(value)?),
        };
        Ok(self.data(&text)?)
    }

    /// Whether colours were refused: `NO_COLOR` (<https://no-color.org>).
    pub(crate) fn refuses_colour() -> bool {
        std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
    }

    /// Whether data is for a program (JSON, YAML).
    pub(crate) fn is_machine(self) -> bool {
        matches!(self.format, Format::Json | Format::Yaml)
    }

    fn paint(self, text: &str, code: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The text as a terminal may see it: controls (C0 and C1, except line breaks and tabs) and the marks that turn the
/// direction of text around become `\u001b` and the like.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let turns =
        |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_unsafe = |c: char| (c.is_control() && c != '\n' && c != '\t') || turns(c);
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            write!(safe, "\\u{:04x}", u32::from(c)).expect("a String takes any text");
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// How long ago, as `kubectl` shows ages: `12s`, `5m`, `3h`, `9d`; `-` if unknown.
pub(crate) fn age(moment: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    moment.map_or_else(|| "-".to_owned(), |moment| span((now - moment).num_seconds()))
}

/// A length of time in seconds, in its largest fitting unit.
pub(crate) fn span(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// Aligned columns without borders, as `kubectl get` prints them. `right` names the columns of numbers.
pub(crate) fn columns(header: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    // A cell is one line.
    let cell = |cell: String| printable(&cell).replace('\n', "\\n").replace('\t', "\\t");
    table.add_rows(rows.into_iter().map(|row| row.into_iter().map(cell).collect::<Vec<_>>()));
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 3));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_sees_no_control_characters() {
        assert_eq!(printable("a\tb\nç é 公"), "a\tb\nç é 公");
        assert_eq!(printable("\u{1b}[31mred\r"), "\\u001b[31mred\\u000d");
        assert_eq!(printable("\u{9b}31m \u{202e}abc\u{2066}"), "\\u009b31m \\u202eabc\\u2066");
        let shown = columns(&["ID", "ERROR"], &[], vec![vec!["a\nb".into(), "\u{1b}]0;title\u{7}".into()]]);
        assert_eq!(shown.lines().count(), 2);
        assert!(shown.contains("a\\nb") && shown.contains("\\u001b]0;title\\u0007"), "{shown}");
        // What a program reads in JSON is what it was.
        let document = serde_json::to_string("\u{9b}\u{202e}").expect("text");
        let read: String = serde_json::from_str(&printable(&document)).expect("JSON");
        assert_eq!(read, "\u{9b}\u{202e}");
    }
}
