//! Who leads: one Lease, held by one operator at a time, handed over at once on shutdown.
//!
//! The rules are those of Kubernetes' own components: a candidate trusts its own monotonic clock only, and takes over
//! when the record has not changed for the lease's duration *as it watched it*; the leader stops acting when it could not
//! renew for less than that. So two never lead together, whatever the wall clocks say.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::lease_guard::LeaseGuard;

/// How long a record protects its holder.
pub const LEASE_DURATION: Duration = Duration::from_secs(10);
/// How long a leader acts without a renewal; less than [`LEASE_DURATION`].
const RENEW_DEADLINE: Duration = Duration::from_secs(7);
/// How often a leader renews, and how long a call may take.
const RENEW_PERIOD: Duration = Duration::from_secs(2);
/// How often a candidate reads the lease: one that was given back is taken within this.
const RETRY_PERIOD: Duration = Duration::from_secs(1);

/// The version of the lease, and since when it is known by the candidate's own clock.
#[derive(Debug, Clone)]
struct ObservedLease {
    version: String,
    since: Instant,
}

/// What is known of the lease from the attempts so far.
#[derive(Debug, Default)]
struct Known {
    seen: Option<ObservedLease>,
    /// The lease as it came back when we wrote it last; `None` if another may have written it since.
    held: Option<Lease>,
}

/// What to do about a lease.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It is ours: renew it.
    Renew,
    /// It is free or lapsed: take it.
    Take,
    /// Another operator leads.
    Wait,
}

fn decide(holder: Option<&str>, me: &str, unchanged_for: Duration) -> Step {
    match holder {
        Some(holder) if holder == me => Step::Renew,
        None | Some("") => Step::Take,
        Some(_) if unchanged_for > LEASE_DURATION => Step::Take,
        Some(_) => Step::Wait,
    }
}

/// Takes part in the election of the lease `name`.
#[derive(Clone)]
pub struct Elector {
    api: Api<Lease>,
    name: String,
    me: String,
}

impl Elector {
    /// `me` must be unique: the pod's name.
    pub fn new(client: Client, namespace: &str, name: &str, me: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.into(), me: me.into() }
    }

    /// Runs until `stop`: extends and ends `guard`, sends its changes to `leading`, and true to `reached` once the API server
    /// has answered. Gives the lease back at the end, which is to come after the last write.
    pub async fn run(
        self,
        guard: LeaseGuard,
        leading: watch::Sender<bool>,
        reached: watch::Sender<bool>,
        stop: CancellationToken,
    ) {
        let mut known = Known::default();
        loop {
            let asked = Instant::now();
            let outcome = self.attempt(&mut known).await;
            reached.send_if_modified(|reached| outcome.is_ok() && !std::mem::replace(reached, true));
            match outcome {
                Ok(true) => guard.extend(asked, RENEW_DEADLINE),
                Ok(false) => guard.end(),
                Err(error) => tracing::warn!(%error, lease = self.name, "the lease cannot be read or written"),
            }
            let leads = guard.holds();
            if leading.send_if_modified(|current| std::mem::replace(current, leads) != leads) {
                tracing::info!(lease = self.name, identity = self.me, leading = leads, "leadership changed");
            }
            tokio::select! {
                () = tokio::time::sleep(if leads { RENEW_PERIOD } else { RETRY_PERIOD }) => {}
                () = stop.cancelled() => break,
            }
        }
        let led = guard.holds();
        guard.end();
        leading.send_replace(false);
        if led && let Err(error) = self.release().await {
            tracing::warn!(%error, lease = self.name, "the lease could not be given back; it lapses by itself");
        }
    }

    /// Renews or takes the lease if it may; true if this operator leads now.
    async fn attempt(&self, known: &mut Known) -> kube::Result<bool> {
        if let Some(lease) = known.held.take() {
            match self.write(lease).await {
                Ok(lease) => {
                    known.held = Some(lease);
                    return Ok(true);
                }
                // Somebody changed or deleted it.
                Err(kube::Error::Api(_)) => {}
                Err(error) => return Err(error),
            }
        }
        known.held = self.look(&mut known.seen).await?;
        Ok(known.held.is_some())
    }

    /// Reads the lease first; the lease as it is now if we hold it.
    async fn look(&self, seen: &mut Option<ObservedLease>) -> kube::Result<Option<Lease>> {
        let timeout = RENEW_PERIOD;
        let Some(lease) = within(timeout, self.api.get_opt(&self.name)).await? else {
            let fresh = Lease {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.record(None)),
            };
            return written(within(timeout, self.api.create(&PostParams::default(), &fresh)).await);
        };
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        if seen.as_ref().is_none_or(|seen| seen.version != version) {
            *seen = Some(ObservedLease { version, since: Instant::now() });
        }
        let unchanged_for = seen.as_ref().map_or(Duration::ZERO, |seen| seen.since.elapsed());
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        if decide(holder, &self.me, unchanged_for) == Step::Wait {
            return Ok(None);
        }
        written(self.write(lease).await)
    }

    /// Says in the lease that we hold it, unless it has changed since it was read.
    async fn write(&self, lease: Lease) -> kube::Result<Lease> {
        let next = Lease { spec: Some(self.record(lease.spec.as_ref())), ..lease };
        within(RENEW_PERIOD, self.api.replace(&self.name, &PostParams::default(), &next)).await
    }

    /// The record of our holding it, after `before`.
    fn record(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let ours = before.filter(|spec| spec.holder_identity.as_deref() == Some(&self.me));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquire_time: ours.and_then(|spec| spec.acquire_time.clone()).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions + i32::from(before.is_some() && ours.is_none())),
            ..LeaseSpec::default()
        }
    }

    /// Leaves the lease without a holder, so that another takes it at its next attempt.
    async fn release(&self) -> kube::Result<()> {
        let Some(mut lease) = within(RENEW_PERIOD, self.api.get_opt(&self.name)).await? else { return Ok(()) };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&self.me) {
            spec.holder_identity = None;
            within(RENEW_PERIOD, self.api.replace(&self.name, &PostParams::default(), &lease)).await?;
        }
        Ok(())
    }
}

/// A call that hangs must not look like a renewal that is still to come.
async fn within<T>(limit: Duration, call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    tokio::time::timeout(limit, call)
        .await
        .unwrap_or_else(|_| Err(kube::Error::Service("the API server timed out".into())))
}

/// That another wrote the lease meanwhile is no error.
fn written(outcome: kube::Result<Lease>) -> kube::Result<Option<Lease>> {
    match outcome {
        Ok(lease) => Ok(Some(lease)),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_only_when_free_or_lapsed_as_watched() {
        assert_eq!(decide(None, "me", Duration::ZERO), Step::Take);
        assert_eq!(decide(Some(""), "me", Duration::ZERO), Step::Take);
        assert_eq!(decide(Some("me"), "me", Duration::ZERO), Step::Renew);
        assert_eq!(decide(Some("other"), "me", LEASE_DURATION), Step::Wait);
        assert_eq!(decide(Some("other"), "me", LEASE_DURATION + Duration::from_millis(1)), Step::Take);
    }

    #[test]
    fn a_leader_stops_before_its_lease_lapses() {
        // A renewal may hang for a whole period before the next attempt.
        assert!(RENEW_DEADLINE + RENEW_PERIOD < LEASE_DURATION);
    }
}
