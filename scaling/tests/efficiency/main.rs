//! How far the decision is from what it takes, in small simulated loads.

mod break_even;
mod findings;
mod simulation;
