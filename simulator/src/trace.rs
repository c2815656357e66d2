//! A recorded load: a CSV file with a header, and a row for each moment or each job.

use std::str::FromStr;

use super::load::{Burst, Given, Load};

/// What a file's second column means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    /// Jobs that arrive at that moment.
    Jobs,
    /// Arrivals per second from that moment until the next row's; the last row ends the load.
    Rate,
    /// One job that arrives at that moment, and how long it takes.
    JobSeconds,
}

/// What is wrong with a trace, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TraceError {
    /// No header.
    #[error(
        "line 1: the header must be `seconds,jobs`, `seconds,job_seconds` or `seconds,arrivals_per_second`, not `{0}`"
    )]
    Header(String),
    /// Not two columns.
    #[error("line {line}: {columns} column(s) where two are expected")]
    Columns {
        /// Counted from 1.
        line: usize,
        /// How many there are.
        columns: usize,
    },
    /// Not a number.
    #[error("line {line}: {column} `{text}` is not {expected}")]
    Number {
        /// Counted from 1.
        line: usize,
        /// Which column.
        column: &'static str,
        /// What is there.
        text: String,
        /// What should be.
        expected: &'static str,
    },
    /// Rows go back in time.
    #[error("line {line}: {seconds} s comes after {before} s: rows must be in the order of time")]
    Order {
        /// Counted from 1.
        line: usize,
        /// The row's time.
        seconds: f64,
        /// The time of the row before.
        before: f64,
    },
    /// Nothing but a header, or too little for a rate.
    #[error("{0}")]
    Empty(&'static str),
}

/// Reads a trace. Empty lines, and those that begin with `#`, are passed over.
pub(crate) fn parse(text: &str) -> Result<Load, TraceError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let (_, header) = lines.next().ok_or(TraceError::Empty("the file is empty"))?;
    let column = match cells(header).as_slice() {
        ["seconds", "jobs"] => Column::Jobs,
        ["seconds", "arrivals_per_second"] => Column::Rate,
        ["seconds", "job_seconds"] => Column::JobSeconds,
        _ => return Err(TraceError::Header(header.to_owned())),
    };
    let mut load = Load::default();
    let mut before: Option<(f64, f64)> = None;
    for (line, text) in lines {
        let cells = cells(text);
        let [seconds, value] = cells[..] else { return Err(TraceError::Columns { line, columns: cells.len() }) };
        let seconds: f64 = number(line, "seconds", seconds)?;
        if let Some((before, _)) = before.filter(|(before, _)| *before > seconds) {
            return Err(TraceError::Order { line, seconds, before });
        }
        match column {
            Column::Jobs => load.bursts.push(Burst { at: seconds, jobs: count(line, value)? }),
            Column::JobSeconds => load.given.push(Given { at: seconds, seconds: length(line, value)? }),
            Column::Rate => {
                let (from, rate) = before.unwrap_or((0.0, 0.0));
                if seconds > from {
                    load = load.then(seconds - from, rate, rate);
                }
                before = Some((seconds, number(line, "arrivals_per_second", value)?));
                continue;
            }
        }
        before = Some((seconds, 0.0));
    }
    match (before, column) {
        (None, _) => Err(TraceError::Empty("there is no row after the header")),
        (Some(_), Column::Rate) if load.stretches.iter().all(|stretch| stretch.first <= 0.0) => {
            Err(TraceError::Empty("no jobs arrive: a rate holds until the next row, and the last row ends the load"))
        }
        (Some(_), _) => Ok(load),
    }
}

fn cells(line: &str) -> Vec<&str> {
    line.split(',').map(|cell| cell.trim().trim_matches('"')).collect()
}

fn number(line: usize, column: &'static str, text: &str) -> Result<f64, TraceError> {
    let value = f64::from_str(text).ok().filter(|value| value.is_finite() && *value >= 0.0);
    let expected = "a number that is not negative";
    value.ok_or_else(|| TraceError::Number { line, column, text: text.to_owned(), expected })
}

fn length(line: usize, text: &str) -> Result<f64, TraceError> {
    let value = f64::from_str(text).ok().filter(|value| value.is_finite() && *value > 0.0);
    let (column, expected) = ("job_seconds", "a number above zero");
    value.ok_or_else(|| TraceError::Number { line, column, text: text.to_owned(), expected })
}

fn count(line: usize, text: &str) -> Result<u64, TraceError> {
    let expected = "a whole number";
    u64::from_str(text).map_err(|_| TraceError::Number { line, column: "jobs", text: text.to_owned(), expected })
}

#[cfg(test)]
mod tests {
    use super::super::load::Stretch;
    use super::*;

    #[test]
    fn jobs_come_at_once_and_rates_hold_until_the_next_row() {
        let load = parse("seconds,jobs\n0,5\n\n# lunch\n10.5, 700\n").unwrap();
        assert_eq!(load.bursts, [Burst { at: 0.0, jobs: 5 }, Burst { at: 10.5, jobs: 700 }]);
        let load = parse("seconds,job_seconds\n0,5\n0,0.25\n").unwrap();
        assert_eq!(load.given, [Given { at: 0.0, seconds: 5.0 }, Given { at: 0.0, seconds: 0.25 }]);
        let load = parse("\u{feff}seconds,arrivals_per_second\r\n5,2.5\r\n15,0\r\n20,1\r\n60,9\r\n").unwrap();
        let stretch = |from, to, rate| Stretch { from, to, first: rate, last: rate };
        let expected =
            [stretch(0.0, 5.0, 0.0), stretch(5.0, 15.0, 2.5), stretch(15.0, 20.0, 0.0), stretch(20.0, 60.0, 1.0)];
        assert_eq!(load.stretches, expected);
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let cases = [
            ("", "the file is empty"),
            ("time,jobs\n", "line 1: the header must be `seconds,jobs`, "),
            ("seconds,jobs\n", "no row after the header"),
            ("seconds,jobs\n1,2,3\n", "line 2: 3 column(s)"),
            ("seconds,jobs\n1,2\n\nx,3\n", "line 4: seconds `x` is not a number"),
            ("seconds,jobs\n1,2.5\n", "line 2: jobs `2.5` is not a whole number"),
            ("seconds,job_seconds\n1,0\n", "line 2: job_seconds `0` is not a number above zero"),
            ("seconds,jobs\n9,1\n8,1\n", "line 3: 8 s comes after 9 s"),
            ("seconds,arrivals_per_second\n0,-1\n", "line 2: arrivals_per_second `-1`"),
            ("seconds,arrivals_per_second\n0,NaN\n", "line 2: arrivals_per_second `NaN`"),
            ("seconds,arrivals_per_second\n0,7\n", "the last row ends the load"),
        ];
        for (text, words) in cases {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }
}
