//! The one way in which every database takes a batch: the ledger first, then each table in the recipe's order, in one
//! transaction; tried again where it collided with another, split where a unit is at fault.
//!
//! [`state`]: what is kept between two calls. [`sink`]: what callers see.
//! [`batch`]: how a batch is taken apart. [`transaction`]: one attempt. [`rows`]: its statements. [`trial`]: whose fault a
//! failure is. [`room`]: how much free room a trial asks for.

mod batch;
mod room;
mod rows;
mod sink;
mod state;
mod transaction;
mod trial;

pub(super) use self::state::Engine;
