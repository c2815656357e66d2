//! Arguments of pickle opcodes: little-endian counts, counted bytes, lines.

use std::borrow::Cow;

use crate::PayloadError;
use crate::payload::malformed;

/// The pickle, and how far it has been read. Nothing is copied: counted text borrows from the input.
pub(super) struct Reader<'a> {
    input: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { input }
    }

    /// The next `count` bytes.
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], PayloadError> {
        let (head, tail) = self.input.split_at_checked(count).ok_or_else(|| malformed("the pickle is cut short"))?;
        self.input = tail;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PayloadError> {
        let (head, tail) = self.input.split_first_chunk().ok_or_else(|| malformed("the pickle is cut short"))?;
        self.input = tail;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, PayloadError> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32, PayloadError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Bytes preceded by a count of `WIDTH` bytes (1, 4 or 8).
    pub(super) fn counted<const WIDTH: usize>(&mut self) -> Result<&'a [u8], PayloadError> {
        let mut wide = [0; 8];
        wide[..WIDTH].copy_from_slice(&self.array::<WIDTH>()?);
        // A count that no machine can address is longer than the input in any case.
        self.bytes(usize::try_from(u64::from_le_bytes(wide)).unwrap_or(usize::MAX))
    }

    /// Text preceded by a count of `WIDTH` bytes.
    pub(super) fn text<const WIDTH: usize>(&mut self) -> Result<&'a str, PayloadError> {
        utf8(self.counted::<WIDTH>()?)
    }

    /// Up to the next line feed, without it.
    pub(super) fn line(&mut self) -> Result<&'a str, PayloadError> {
        let end = self.input.iter().position(|&byte| byte == b'\n');
        let line = self.bytes(end.ok_or_else(|| malformed("the pickle is cut short"))?)?;
        self.bytes(1)?;
        utf8(line)
    }

    /// A line with the escapes of `raw-unicode-escape`, in Latin-1 otherwise (protocol 0 text).
    pub(super) fn unicode_line(&mut self) -> Result<Cow<'a, str>, PayloadError> {
        let end = self.input.iter().position(|&byte| byte == b'\n');
        let mut rest = self.bytes(end.ok_or_else(|| malformed("the pickle is cut short"))?)?;
        self.bytes(1)?;
        let mut text = String::with_capacity(rest.len());
        while let [first, tail @ ..] = rest {
            let width = match rest {
                [b'\\', b'u', ..] => 4,
                [b'\\', b'U', ..] => 8,
                _ => {
                    text.push(char::from(*first));
                    rest = tail;
                    continue;
                }
            };
            let digits = rest.get(2..2 + width).and_then(|digits| std::str::from_utf8(digits).ok());
            let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).and_then(char::from_u32);
            text.push(code.ok_or_else(|| malformed("text with a broken escape"))?);
            rest = &rest[2 + width..];
        }
        Ok(Cow::Owned(text))
    }

    /// A quoted Python 2 string as `repr` wrote it (protocol 0).
    pub(super) fn quoted_line(&mut self) -> Result<Vec<u8>, PayloadError> {
        let line = self.line()?.as_bytes();
        let broken = || malformed("text with broken quotes or escapes");
        let mut rest = match line {
            [open @ (b'\'' | b'"'), inner @ .., close] if open == close => inner,
            _ => return Err(broken()),
        };
        let mut out = Vec::with_capacity(rest.len());
        while let [first, tail @ ..] = rest {
            let (byte, after) = match (first, tail) {
                (b'\\', [b'x', high, low, after @ ..]) => {
                    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                    (digit(high).zip(digit(low)).map(|(high, low)| high << 4 | low).ok_or_else(broken)?, after)
                }
                (b'\\', [b'n', after @ ..]) => (b'\n', after),
                (b'\\', [b'r', after @ ..]) => (b'\r', after),
                (b'\\', [b't', after @ ..]) => (b'\t', after),
                (b'\\', [quoted @ (b'\\' | b'\'' | b'"'), after @ ..]) => (*quoted, after),
                (b'\\', _) => return Err(broken()),
                _ => (*first, tail),
            };
            out.push(byte);
            rest = after;
        }
        Ok(out)
    }
}

/// Python may write lone surrogates; no database takes them, so they are refused here, by name.
fn utf8(bytes: &[u8]) -> Result<&str, PayloadError> {
    std::str::from_utf8(bytes).map_err(|_| malformed("text that is not UTF-8 (lone surrogates?)"))
}
