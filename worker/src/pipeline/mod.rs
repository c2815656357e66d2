//! A job's way through the worker, one file after the other: the claimer takes it from the queue, the quarantine keeps
//! suspects apart, the extraction makes rows of it, the writer commits them, the completer records the outcome. A
//! [`batch::Batch`] goes through all of them; [`outcome`] says how each of its jobs ended.

pub(crate) mod batch;
pub(crate) mod claimer;
pub(crate) mod completer;
pub(crate) mod extract;
mod isolation;
mod outage;
pub(crate) mod outcome;
pub(crate) mod quarantine;
pub(crate) mod write_order;
pub(crate) mod writer;

use std::sync::Arc;

use claimer::Claimer;
use completer::Completer;
use extract::{Extraction, Extractor};
use quarantine::Quarantine;
use writer::Writer;

use crate::deps::Deps;

/// The stages, in the order in which a job passes them; shared by all slots.
pub(crate) struct Pipeline {
    pub(crate) claimer: Claimer,
    pub(crate) quarantine: Arc<Quarantine>,
    pub(crate) extraction: Extraction,
    pub(crate) writer: Writer,
    pub(crate) completer: Completer,
}

impl Pipeline {
    pub(crate) fn new(deps: &Arc<Deps>, extractor: Extractor) -> Self {
        let quarantine = Arc::new(Quarantine::new(Arc::clone(deps)));
        Self {
            claimer: Claimer::new(Arc::clone(deps), Arc::clone(&quarantine)),
            quarantine,
            extraction: Extraction::new(Arc::clone(deps), extractor),
            writer: Writer::new(Arc::clone(deps)),
            completer: Completer::new(Arc::clone(deps)),
        }
    }
}
