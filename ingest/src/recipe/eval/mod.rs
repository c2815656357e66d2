//! Evaluation of one expression for one row: on the fast path where its form and the values allow, else by the CEL
//! interpreter.
//!
//! [`expression`] is what the rest of the recipe sees. [`fast_path`] works on the JSON, [`interpreter`] on CEL values, both with
//! the same [`functions`] and to the same [`value`]; [`errors`] says why an expression failed.

#[cfg(test)]
mod agreement;
pub(crate) mod bytes;
pub(crate) mod calendar;
mod cel_number;
mod errors;
pub(crate) mod expression;
mod fast_path;
pub(crate) mod functions;
pub(crate) mod interpreter;
mod step;
pub(crate) mod value;
