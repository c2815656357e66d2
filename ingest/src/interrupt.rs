//! The way to end an extraction that takes too long: the interpreter has no limits of its own, and a thread that computes
//! cannot be cancelled from outside.

use std::sync::atomic::{AtomicBool, Ordering};

/// Looked at before each row and in each turn of each loop of an expression; set by the caller when it has waited long enough.
#[derive(Debug, Default)]
pub struct Interrupt(AtomicBool);

impl Interrupt {
    /// Ends the extractions that look at this one: they fail within moments.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
