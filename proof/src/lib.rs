//! A model of the protocol that brings a job from Redis into a database exactly once, and a checker that visits every
//! state of it.

pub mod check;
pub mod guards;
pub mod rq;
