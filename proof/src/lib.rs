//! A model of the protocol that brings a job from Redis into a database exactly once, and a checker that visits every
//! state of it. `README.md` says what is in it and what is not.

pub mod check;
pub mod flow;
pub mod guards;
pub mod rq;
pub mod scenarios;
pub mod selection;
pub mod tables;
