//! Follows the structure of RESP without keeping any of it: how many values a server announces, how deep, how long. What
//! is announced is refused before it arrives.

use super::ReplyLimits;

/// What a server answered too much of; its text follows "more than".
pub(super) type Excess = String;

/// Where in a reply it is.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    state: State,
    /// The values that are still to come of each array that is open, outermost first.
    open: Vec<usize>,
    /// Values announced since the last [`Scanner::restart`].
    values: usize,
}

#[derive(Debug, Default)]
enum State {
    /// The first byte of a value is next.
    #[default]
    Start,
    /// Within the first line of a value of this kind; digits as far as they were read.
    Line { kind: u8, negative: bool, number: usize, length: usize },
    /// Within a text with so many bytes left, the line break included.
    Text(usize),
}

impl Scanner {
    /// Counts anew from here.
    pub(super) fn restart(&mut self) {
        self.values = 0;
    }

    /// Values announced since the last restart.
    pub(super) fn values(&self) -> usize {
        self.values
    }

    /// Takes in what arrived.
    ///
    /// # Errors
    /// The limit that it exceeds.
    pub(super) fn feed(&mut self, mut bytes: &[u8], limits: &ReplyLimits) -> Result<(), Excess> {
        while let Some((&first, rest)) = bytes.split_first() {
            match &mut self.state {
                State::Text(left) => {
                    let skipped = (*left).min(bytes.len());
                    *left -= skipped;
                    bytes = &bytes[skipped..];
                    if *left == 0 {
                        self.end_of_value();
                    }
                    continue;
                }
                State::Start => {
                    if self.open.is_empty() {
                        self.announce(1, limits)?;
                    }
                    self.state = State::Line { kind: first, negative: false, number: 0, length: 0 };
                }
                State::Line { kind, negative, number, length } => {
                    *length += 1;
                    if *length > limits.text {
                        return Err(format!("{} bytes of one text", limits.text));
                    }
                    match first {
                        b'\n' => {
                            let (kind, number) = (*kind, (!*negative).then_some(*number));
                            self.end_of_line(kind, number, limits)?;
                        }
                        b'-' => *negative = true,
                        b'0'..=b'9' => *number = number.saturating_mul(10).saturating_add(usize::from(first - b'0')),
                        _ => {}
                    }
                }
            }
            bytes = rest;
        }
        Ok(())
    }

    /// The first line of a value is over; `number` is what it announces, `None` for none.
    fn end_of_line(&mut self, kind: u8, number: Option<usize>, limits: &ReplyLimits) -> Result<(), Excess> {
        let children = match (kind, number) {
            (b'$' | b'=' | b'!', Some(length)) => {
                if length > limits.text {
                    return Err(format!("{} bytes of one text", limits.text));
                }
                self.state = State::Text(length + 2);
                return Ok(());
            }
            (b'*' | b'~' | b'>', Some(count)) => count,
            (b'%', Some(pairs)) => pairs.saturating_mul(2),
            // What the attributes are of comes behind them.
            (b'|', Some(pairs)) => pairs.saturating_mul(2).saturating_add(1),
            _ => 0,
        };
        if children == 0 {
            self.end_of_value();
            return Ok(());
        }
        self.announce(children, limits)?;
        if self.open.len() >= limits.depth {
            return Err(format!("{} arrays within each other", limits.depth));
        }
        self.open.push(children);
        self.state = State::Start;
        Ok(())
    }

    fn announce(&mut self, values: usize, limits: &ReplyLimits) -> Result<(), Excess> {
        self.values = self.values.saturating_add(values);
        if self.values > limits.values { Err(format!("{} values", limits.values)) } else { Ok(()) }
    }

    fn end_of_value(&mut self) {
        self.state = State::Start;
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.open.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ReplyLimits = ReplyLimits { bytes: 1 << 20, values: 20, text: 100, depth: 3 };

    /// In pieces of each length, since a reply may be cut anywhere.
    fn feed(reply: &str) -> Result<usize, Excess> {
        let mut outcomes = Vec::new();
        for length in [1, 2, 3, 1000] {
            let mut scanner = Scanner::default();
            let outcome = reply.as_bytes().chunks(length).try_for_each(|piece| scanner.feed(piece, &LIMITS));
            outcomes.push(outcome.map(|()| {
                assert!(scanner.open.is_empty() && matches!(scanner.state, State::Start), "{reply:?} is whole");
                scanner.values()
            }));
        }
        assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "{outcomes:?}");
        outcomes.remove(0)
    }

    #[test]
    fn replies_of_every_kind_are_followed_to_their_end() {
        for (reply, values) in [
            ("+OK\r\n:-12\r\n", 2),
            ("$5\r\n*9\r\n-\r\n$-1\r\n", 2),
            ("*3\r\n:1\r\n*2\r\n+a\r\n$0\r\n\r\n*0\r\n", 6),
            ("*-1\r\n_\r\n#t\r\n,1.5\r\n(123\r\n", 5),
            ("%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n", 6),
            ("|1\r\n+ttl\r\n:3\r\n*1\r\n:1\r\n", 5),
            (">2\r\n+message\r\n=7\r\ntxt:abc\r\n~1\r\n:1\r\n", 5),
        ] {
            assert_eq!(feed(reply), Ok(values), "{reply:?}");
        }
    }

    #[test]
    fn what_is_announced_beyond_a_limit_is_refused_at_once() {
        for (reply, excess) in [
            ("*2000000000\r\n", "20 values"),
            ("*99999999999999999999999999\r\n", "20 values"),
            ("%11\r\n", "20 values"),
            ("$101\r\n", "100 bytes of one text"),
            ("*1\r\n*1\r\n*1\r\n*1\r\n", "3 arrays within each other"),
        ] {
            assert_eq!(feed(reply), Err(excess.to_owned()), "{reply:?}");
        }
        assert_eq!(feed(&":1\r\n".repeat(21)), Err("20 values".to_owned()));
        assert_eq!(feed(&format!("+{}", "x".repeat(200))), Err("100 bytes of one text".to_owned()));
    }
}
