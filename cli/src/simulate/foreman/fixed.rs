//! Always as many: what one has without any scaling.

use super::{Foreman, Seen};

/// A fixed number of workers.
#[derive(Debug)]
pub(crate) struct Fixed {
    /// How many.
    pub(crate) workers: u32,
}

impl Foreman for Fixed {
    fn look(&mut self, _seen: Seen<'_>) -> u32 {
        self.workers
    }

    fn why(&self) -> String {
        "always so many".into()
    }

    fn settles_within(&self) -> f64 {
        0.0
    }
}
