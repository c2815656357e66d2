//! `scaleDown.protectBusy`: the number of workers waits for busy ones to become idle.

use crate::{Decision, Limit, Limited};

/// Keeps a decision from taking a worker that has jobs in hand: of `current` workers, `busy` are, or may be. Whoever decides
/// applies this last: it holds against bounds that people set too, which are reached as workers become idle.
pub fn protect(decision: &mut Decision, current: u32, busy: u32) {
    let floor = busy.min(current);
    if decision.replicas < floor {
        let limit = Limit::ProtectBusy { busy };
        decision.limits.push(Limited { limit, without: decision.replicas });
        decision.replicas = floor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;

    fn decision(replicas: u32) -> Decision {
        let reason = Reason::Manual { replicas };
        Decision { replicas, wanted: replicas, reason, limits: Vec::new(), candidates: Vec::new() }
    }

    #[test]
    fn busy_workers_are_waited_for_and_idle_ones_are_not() {
        let mut fewer = decision(1);
        protect(&mut fewer, 5, 3);
        assert_eq!(fewer.replicas, 3);
        assert_eq!(fewer.to_string(), "mode is Manual, replicas is 1; busy workers are protected: 3, otherwise 1");
        for (wanted, current, busy) in [(4, 5, 3), (6, 5, 5), (0, 5, 0), (1, 1, 7)] {
            let mut same = decision(wanted);
            protect(&mut same, current, busy);
            assert_eq!(same, decision(wanted), "{wanted} {current} {busy}");
        }
    }
}
