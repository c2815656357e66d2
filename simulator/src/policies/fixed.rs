//! Always as many: what one has without any scaling.

use super::{ScalingPolicy, Snapshot};

/// A fixed number of workers.
#[derive(Debug)]
pub(crate) struct Fixed {
    /// How many.
    pub(crate) workers: u32,
}

impl ScalingPolicy for Fixed {
    fn decide(&mut self, _seen: Snapshot<'_>) -> u32 {
        self.workers
    }

    fn why(&self) -> String {
        "always so many".into()
    }

    fn settles_within(&self) -> f64 {
        0.0
    }
}
