//! The conditions of a JobQueue as its status reports them, in a few bytes: for the metrics. Written by the status writer.

use jobqueue_crds::{ConditionType, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use strum::{EnumCount, IntoEnumIterator};

/// Whether each condition holds, and why; in the order of [`ConditionType`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ReportedConditions([Option<(bool, Reason)>; ConditionType::COUNT]);

impl ReportedConditions {
    /// Those of a status. Conditions that are `Unknown`, and words of another version, are left out.
    pub(crate) fn of(conditions: &[Condition]) -> Self {
        let mut reported = Self::default();
        for (kind, place) in ConditionType::iter().zip(&mut reported.0) {
            let name: &str = kind.into();
            *place = conditions.iter().find(|condition| condition.type_ == name).and_then(|condition| {
                let holds = match condition.status.as_str() {
                    "True" => true,
                    "False" => false,
                    _ => return None,
                };
                Some((holds, condition.reason.parse().ok()?))
            });
        }
        reported
    }

    /// The conditions that are known: type, whether it holds, reason.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConditionType, bool, Reason)> {
        let known = ConditionType::iter().zip(self.0);
        known.filter_map(|(kind, reported)| reported.map(|(holds, reason)| (kind, holds, reason)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::condition;

    #[test]
    fn what_is_unknown_is_left_out() {
        let conditions = [
            condition("Stalled", "True", "SecretNotFound"),
            condition("Ready", "False", "SecretNotFound"),
            condition("Degraded", "Unknown", "Pending"),
            condition("Paused", "False", "AWordOfALaterVersion"),
            condition("LaterType", "True", "Idle"),
        ];
        let reported: Vec<_> = ReportedConditions::of(&conditions).iter().collect();
        let missing = Reason::SecretNotFound;
        assert_eq!(reported, [(ConditionType::Ready, false, missing), (ConditionType::Stalled, true, missing)]);
        assert!(size_of::<ReportedConditions>() <= 2 * ConditionType::COUNT);
    }
}
