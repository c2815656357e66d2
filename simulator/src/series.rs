//! What went on in a run, thinned out to as many points as a picture can show.

/// As many as a picture has room for.
const POINTS: f64 = 600.0;

/// One moment, or the worst of a short time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Point {
    /// Jobs that wait.
    pub waiting: f64,
    /// How long the oldest of them has waited, in seconds.
    pub oldest_wait: f64,
    /// Pods, draining ones too.
    pub workers: f64,
    /// Pods asked for.
    pub desired: f64,
    /// Pods by the time that they existed, so far.
    pub worker_seconds: f64,
}

/// Points at equal distances in time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// The distance, in seconds.
    pub step: f64,
    /// The points.
    pub points: Vec<Point>,
    /// What was added last: a point may hold a peak before it.
    latest: Point,
}

impl Series {
    /// For a run of so many seconds.
    pub(crate) fn new(seconds: f64) -> Self {
        let step = (seconds / POINTS).max(super::simulation::POLL_SECONDS);
        Self { step, points: Vec::new(), latest: Point::default() }
    }

    /// The state at `now`. Of several within one step the backlog and its age are the highest, the others the last.
    pub(crate) fn add(&mut self, now: f64, point: Point) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and at most 600")]
        let index = (now / self.step + 1e-9) as usize;
        let latest = std::mem::replace(&mut self.latest, point);
        // Between two polls that are far apart, nothing happened but that idle workers cost what they cost.
        while self.points.len() < index {
            let missing = (index + 1 - self.points.len()) as f64;
            let cost = last_cost(&self.points) + (point.worker_seconds - last_cost(&self.points)) / missing;
            self.points.push(Point { worker_seconds: cost, ..latest });
        }
        match self.points.get_mut(index) {
            None => self.points.push(point),
            Some(known) => {
                let (waiting, oldest_wait) =
                    (known.waiting.max(point.waiting), known.oldest_wait.max(point.oldest_wait));
                *known = Point { waiting, oldest_wait, ..point };
            }
        }
    }
}

fn last_cost(points: &[Point]) -> f64 {
    points.last().map_or(0.0, |point| point.worker_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_survive_and_gaps_are_filled() {
        let mut series = Series::new(6000.0);
        for quarter in 0..80 {
            let now = f64::from(quarter) / 4.0;
            let waiting = if quarter == 5 { 99.0 } else { 0.0 };
            series.add(now, Point { waiting, workers: 2.0, worker_seconds: 2.0 * now, ..Point::default() });
        }
        assert_eq!(series.points.iter().map(|point| point.waiting).collect::<Vec<_>>(), [99.0, 0.0]);
        series.add(60.0, Point { workers: 2.0, worker_seconds: 120.0, ..Point::default() });
        assert_eq!(series.points.len(), 7);
        assert!(series.points.iter().all(|point| (point.workers - 2.0).abs() < 1e-9));
        let costs: Vec<f64> = series.points.iter().map(|point| point.worker_seconds).collect();
        assert!(costs.is_sorted() && (costs[3] - 72.0).abs() < 10.0, "{costs:?}");
    }

    #[test]
    fn a_gap_has_the_backlog_at_its_beginning_and_not_the_peak_before_it() {
        let mut series = Series::new(6000.0);
        for (now, waiting) in [(0.0, 99.0), (5.0, 0.0), (45.0, 7.0)] {
            series.add(now, Point { waiting, ..Point::default() });
        }
        assert_eq!(series.points.iter().map(|point| point.waiting).collect::<Vec<_>>(), [99.0, 0.0, 0.0, 0.0, 7.0]);
    }
}
