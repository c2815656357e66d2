//! What holds for every policy and every sequence of observations.

mod bounds;
mod drawn;
mod steadiness;
mod work;
