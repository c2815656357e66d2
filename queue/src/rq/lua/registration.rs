//! What `register.lua`, `deregister.lua` and `rights.lua` take. Their answers hold nothing but the error, if there is one.

use std::sync::LazyLock;

use super::{Caller, PRELUDE};
use crate::{Invocation, Script};

static REGISTER: LazyLock<Script> = LazyLock::new(|| Script::new(&[PRELUDE, include_str!("register.lua")]));
static DEREGISTER: LazyLock<Script> = LazyLock::new(|| Script::new(&[PRELUDE, include_str!("deregister.lua")]));
static RIGHTS: LazyLock<Script> = LazyLock::new(|| Script::new(&[PRELUDE, include_str!("rights.lua")]));

/// `register.lua`: ARGV from the third on, in this order.
pub(in crate::rq) struct RegisterArguments<'a> {
    /// Seconds that the worker's record outlives this call.
    pub(in crate::rq) worker_ttl: u64,
    /// Their number, then field and value of each: the worker's record.
    pub(in crate::rq) record: &'a [(&'static str, String)],
    /// Names of the worker's queues.
    pub(in crate::rq) queues: &'a [String],
}

impl RegisterArguments<'_> {
    /// The call.
    pub(in crate::rq) fn call(&self, caller: Caller<'_>) -> Invocation<'static> {
        let Self { worker_ttl, record, queues } = self;
        let mut call = caller.call(&REGISTER).arg(worker_ttl).arg(record.len());
        for (field, value) in *record {
            call = call.arg(*field).arg(value);
        }
        call.arg(*queues)
    }
}

/// `deregister.lua`: ARGV from the third on is the names of the worker's queues.
pub(in crate::rq) fn deregister(caller: Caller<'_>, queues: &[String]) -> Invocation<'static> {
    caller.call(&DEREGISTER).arg(queues)
}

/// `rights.lua`: ARGV from the third on is the names of the queues to try.
pub(in crate::rq) fn try_rights(caller: Caller<'_>, queue: &str) -> Invocation<'static> {
    caller.call(&RIGHTS).arg(queue)
}
