//! The distribution of waiting times: a histogram whose bins are half a percent wide, so that its size does not depend
//! on how many jobs there were.

/// The narrowest bin above zero, in seconds.
const FINEST: f64 = 0.01;
/// Each bin's upper bound is so many times the one's before.
const GROWTH: f64 = 1.005;

/// Waiting times, in seconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits {
    /// Jobs by bin: the first one holds waits below [`FINEST`].
    bins: Vec<u64>,
    jobs: u64,
    sum: f64,
    longest: f64,
}

impl Waits {
    /// `jobs` jobs waited for `seconds`.
    pub(crate) fn add(&mut self, seconds: f64, jobs: u64) {
        let seconds = seconds.max(0.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and small")]
        let bin = if seconds < FINEST { 0 } else { 1 + ((seconds / FINEST).ln() / GROWTH.ln()) as usize };
        if bin >= self.bins.len() {
            self.bins.resize(bin + 1, 0);
        }
        self.bins[bin] += jobs;
        self.jobs += jobs;
        self.sum += seconds * jobs as f64;
        self.longest = self.longest.max(seconds);
    }

    /// The time within which `part` of the jobs were taken, to half a percent.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let wanted = (part * self.jobs as f64).ceil();
        let mut seen = 0;
        for (bin, jobs) in self.bins.iter().enumerate() {
            seen += jobs;
            if seen as f64 >= wanted && seen > 0 {
                let middle = FINEST * GROWTH.powf(bin as f64 - 0.5);
                return if bin == 0 { 0.0 } else { middle.min(self.longest) };
            }
        }
        0.0
    }

    /// The mean.
    pub(crate) fn mean(&self) -> f64 {
        if self.jobs > 0 { self.sum / self.jobs as f64 } else { 0.0 }
    }

    /// The longest.
    pub(crate) fn longest(&self) -> f64 {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_half_a_percent() {
        let mut waits = Waits::default();
        for tenth in 1..=10_000_u32 {
            waits.add(f64::from(tenth) / 10.0, 1);
        }
        for part in [0.01, 0.5, 0.95, 0.999] {
            let (exact, found) = (part * 1000.0, waits.quantile(part));
            assert!((found / exact - 1.0).abs() < 0.005, "{found} for {exact}");
        }
        assert!((waits.mean() - 500.05).abs() < 1e-6);
        assert!((waits.longest() - 1000.0).abs() < 1e-9);
    }

    #[test]
    fn no_wait_is_zero_and_nobody_waited_is_zero() {
        let mut waits = Waits::default();
        assert!(waits.quantile(0.95).abs() < 1e-9);
        waits.add(0.0, 99);
        waits.add(5.0, 1);
        assert!(waits.quantile(0.99).abs() < 1e-9 && (waits.quantile(1.0) - 5.0).abs() < 0.03);
    }
}
