//! A decimal number in text, taken apart without any rounding.

/// A number as its significant digits and the place of the point: `-0.012` is negative, `12`, and -1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digits {
    negative: bool,
    /// Neither leading nor trailing zeros; empty for zero.
    significant: String,
    /// The number is `0.significant` times ten to this power. 0 for zero.
    point: i64,
}

impl Digits {
    /// Reads a sign, digits with or without a point, and an exponent; none if the text is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let all = [whole, fraction].concat();
        let significant = all.trim_start_matches('0');
        let leading = i64::try_from(all.len() - significant.len()).ok()?;
        let digits = significant.trim_end_matches('0').to_owned();
        let point = if digits.is_empty() { 0 } else { i64::try_from(whole.len()).ok()? - leading + exponent };
        Some(Self { negative: text.starts_with('-'), significant: digits, point })
    }

    /// How many digits carry value.
    pub fn significant(&self) -> usize {
        self.significant.len()
    }

    /// How many digits there are before the point, without leading zeros.
    pub fn whole(&self) -> u64 {
        u64::try_from(self.point).unwrap_or(0)
    }

    /// How many digits there are after the point, without trailing zeros.
    pub fn places(&self) -> u64 {
        u64::try_from(self.length() - self.point).unwrap_or(0)
    }

    /// As [`Digits::whole`], of the number rounded half away from zero to `scale` places.
    pub fn whole_when_rounded(&self, scale: u32) -> u64 {
        let kept = self.point.saturating_add(i64::from(scale));
        let Some(cut) = usize::try_from(kept).ok().filter(|kept| *kept < self.significant.len()) else {
            return self.whole();
        };
        // Only nines carry into a new digit.
        let (kept, rest) = self.significant.split_at(cut);
        let carries = rest.starts_with(['5', '6', '7', '8', '9']) && kept.bytes().all(|digit| digit == b'9');
        u64::try_from(self.point + i64::from(carries)).unwrap_or(0)
    }

    /// The whole number that this is, written `1e3` or `1.0` or however; none with a fraction, and beyond `i128`.
    pub fn to_integer(&self) -> Option<i128> {
        if self.significant.is_empty() {
            return Some(0);
        }
        let zeros = u32::try_from(self.point - self.length()).ok()?;
        let size = self.significant.parse::<i128>().ok()?.checked_mul(10_i128.checked_pow(zeros)?)?;
        Some(if self.negative { -size } else { size })
    }

    /// The number without an exponent; none where that takes more than `most` digits.
    pub fn plain(&self, most: usize) -> Option<String> {
        let most = i64::try_from(most).ok()?;
        if self.point > most || self.length() - self.point > most {
            return None;
        }
        let sign = if self.negative && !self.significant.is_empty() { "-" } else { "" };
        let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
        let at = usize::try_from(self.point).unwrap_or(0).min(self.significant.len());
        let (whole, fraction) = self.significant.split_at(at);
        let whole =
            if whole.is_empty() { "0".to_owned() } else { whole.to_owned() + &zeros(self.point - self.length()) };
        let fraction = if fraction.is_empty() { String::new() } else { format!(".{}{fraction}", zeros(-self.point)) };
        Some(format!("{sign}{whole}{fraction}"))
    }

    fn length(&self) -> i64 {
        i64::try_from(self.significant.len()).unwrap_or(i64::MAX)
    }
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// One that no machine can hold is as good as the largest that leaves room for sums.
fn read_exponent(text: &str) -> Option<i64> {
    const MOST: i64 = i64::MAX / 4;
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !all_digits(digits) {
        return None;
    }
    let size = digits.parse().unwrap_or(MOST).min(MOST);
    Some(if text.starts_with('-') { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Digits {
        Digits::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn equal_numbers_are_equal_however_they_are_written() {
        for same in [["1", "1.0"], ["1e3", "1000"], ["0.10", "1e-1"], ["-0012.50", "-1.25E+1"], ["0", "0.000e9"]] {
            assert_eq!(of(same[0]), of(same[1]));
        }
        for other in ["", "-", ".", "1e", "e1", "1.2.3", "1,5", " 1", "0x1", "NaN", "1e+", "--1"] {
            assert_eq!(Digits::parse(other), None, "{other}");
        }
    }

    #[test]
    fn digits_are_counted_on_both_sides() {
        for (text, whole, places) in
            [("123.4500", 3, 2), ("0.001", 0, 3), ("1e3", 4, 0), ("12e-5", 0, 5), ("-0.0", 0, 0), ("1e400", 401, 0)]
        {
            assert_eq!((of(text).whole(), of(text).places()), (whole, places), "{text}");
        }
    }

    #[test]
    fn rounding_carries() {
        for (text, scale, whole) in [
            ("999.994", 2, 3),
            ("999.995", 2, 4),
            ("0.5", 0, 1),
            ("0.4", 0, 0),
            ("0.05", 0, 0),
            ("99999.5", 0, 6),
            ("-9.99", 1, 2),
            ("12", 0, 2),
            ("1e-999999999999999999999", 2, 0),
        ] {
            assert_eq!(of(text).whole_when_rounded(scale), whole, "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_read_in_any_notation() {
        for (text, number) in
            [("1.0", Some(1)), ("-1.5e3", Some(-1500)), ("0.5", None), ("1e400", None), ("-0", Some(0))]
        {
            assert_eq!(of(text).to_integer(), number, "{text}");
        }
        assert_eq!(of("1e99999999999999999999").to_integer(), None);
    }

    #[test]
    fn plain_has_no_exponent() {
        for (text, plain) in [
            ("1e3", "1000"),
            ("-1.5e-3", "-0.0015"),
            ("12.30", "12.3"),
            ("0e5", "0"),
            ("-0.0", "0"),
            ("1.25e1", "12.5"),
        ] {
            assert_eq!(of(text).plain(40).as_deref(), Some(plain), "{text}");
        }
        assert_eq!(of("1e400").plain(40), None);
        assert_eq!(of("1e-400").plain(40), None);
    }
}
