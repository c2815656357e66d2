//! What was seen of a queue, as a load for the simulator.

use jobqueue_simulator::ArrivalRate;

use crate::samples::{Sample, Series};
use crate::source::Numbers;
use crate::text::whole;

/// So many seconds of samples are a load; of less the present rates are taken.
const ENOUGH: i64 = 300;
/// How long the present rates are taken to last, in seconds.
const STEADY: f64 = 1_800.0;

/// Arrivals, and what waited when they began.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recent {
    pub(crate) waiting: u64,
    pub(crate) arrivals: Vec<ArrivalRate>,
    /// How long it lasts.
    pub(crate) seconds: f64,
    pub(crate) source: Source,
}

/// Where a load is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Samples.
    Seen,
    /// The present rate, gone on.
    Present,
    /// Nothing is known of arrivals: there are none.
    Unknown,
}

impl Recent {
    /// Of these samples, or of the present numbers where they are too few.
    pub(crate) fn new(samples: &[Sample], now: &Numbers) -> Self {
        let known: Vec<(i64, &Sample, f32)> =
            samples.iter().filter_map(|sample| Some((sample.at, sample, sample.value(Series::Arrivals)?))).collect();
        if let (Some((first, begins, _)), Some((last, ..))) = (known.first(), known.last())
            && last - first >= ENOUGH
        {
            // The rate of a sample is that of the time before it.
            let ends = known.iter().skip(1).map(|(_, _, rate)| f64::from(*rate));
            let at = |(at, ..): &(i64, &Sample, f32)| (at - first) as f64;
            let arrivals = known.iter().zip(ends);
            let arrivals = arrivals.map(|(from, per_second)| ArrivalRate { at: at(from), per_second }).collect();
            let waiting = whole(begins.value(Series::Backlog).unwrap_or_default().into());
            return Self { waiting, arrivals, seconds: (last - first) as f64, source: Source::Seen };
        }
        let present = now.arrivals.or_else(|| known.last().map(|(_, _, rate)| f64::from(*rate)));
        let source = if present.is_some() { Source::Present } else { Source::Unknown };
        let arrivals = vec![ArrivalRate { at: 0.0, per_second: present.unwrap_or_default() }];
        Self { waiting: now.waiting, arrivals, seconds: STEADY, source }
    }

    /// So many times as much.
    pub(crate) fn times(mut self, factor: f64) -> Self {
        for rate in &mut self.arrivals {
            rate.per_second *= factor;
        }
        self
    }

    /// Jobs to be expected in all of it.
    pub(crate) fn jobs(&self) -> f64 {
        let ends = self.arrivals.iter().skip(1).map(|next| next.at).chain([self.seconds]);
        let arrive: f64 = self.arrivals.iter().zip(ends).map(|(rate, to)| rate.per_second * (to - rate.at)).sum();
        arrive + self.waiting as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: i64, waiting: u64, arrivals: Option<f64>) -> Sample {
        Sample::new(at, &Numbers { waiting, arrivals, ..Numbers::default() })
    }

    #[test]
    fn samples_are_the_load_where_there_are_enough() {
        let samples =
            [sample(1000, 4, None), sample(1100, 9, Some(1.0)), sample(1200, 0, Some(2.0)), sample(1400, 0, Some(3.0))];
        let recent = Recent::new(&samples, &Numbers::default());
        let rates: Vec<_> = recent.arrivals.iter().map(|rate| (rate.at, rate.per_second)).collect();
        assert_eq!((rates, recent.waiting, recent.seconds), (vec![(0.0, 2.0), (100.0, 3.0)], 9, 300.0));
        assert!(recent.source == Source::Seen && (recent.jobs() - 809.0).abs() < 1e-9);
        assert!((recent.times(2.0).jobs() - 1609.0).abs() < 1e-9);
    }

    #[test]
    fn the_present_rates_go_on_where_too_little_was_seen() {
        let samples = [sample(1000, 4, Some(7.0)), sample(1010, 9, None)];
        let now = Numbers { waiting: 3, ..Numbers::default() };
        let recent = Recent::new(&samples, &now);
        assert_eq!((recent.source, recent.waiting, recent.arrivals[0].per_second), (Source::Present, 3, 7.0));
        let recent = Recent::new(&samples, &Numbers { arrivals: Some(2.0), ..now });
        assert!((recent.arrivals[0].per_second - 2.0).abs() < 1e-9);
        let recent = Recent::new(&[], &now);
        assert_eq!((recent.source, recent.waiting, recent.arrivals[0].per_second), (Source::Unknown, 3, 0.0));
    }
}
