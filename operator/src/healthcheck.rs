//! `jobqueue-operator check`: is the installation well? What `helm test` runs, in a pod with the operator's own rights.

use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kube::{Api, Client, api::ListParams};

use jobqueue_crds::JobQueue;

use crate::scope::Scope;

/// What is not well.
#[derive(Debug, thiserror::Error)]
pub enum Unwell {
    /// The definition or the rights are missing.
    #[error("JobQueues of {namespace} cannot be listed: {source}")]
    JobQueues {
        /// Where.
        namespace: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// The right to read the lease is missing, or the API server is away.
    #[error("the Lease {name} cannot be read: {source}")]
    Lease {
        /// The lease's name.
        name: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// No operator has started, or none has renewed its lease in time.
    #[error("no operator leads: the Lease {name} {why}")]
    NobodyLeads {
        /// The lease's name.
        name: String,
        /// What the lease says.
        why: &'static str,
    },
}

/// Lists the JobQueues that are served and looks for a leader; returns what it found in a sentence.
pub async fn check(client: Client, scope: &Scope, lease: (&str, &str)) -> Result<String, Unwell> {
    let mut count = 0;
    for (namespace, queues) in scope.namespaces().into_iter().zip(scope.apis::<JobQueue>(&client)) {
        // The count comes with the first page.
        let page = queues.list_metadata(&ListParams::default().limit(1)).await.map_err(|source| {
            let namespace = namespace.map_or_else(|| "all namespaces".into(), |name| format!("namespace {name}"));
            Unwell::JobQueues { namespace, source }
        })?;
        count += i64::try_from(page.items.len()).unwrap_or_default();
        count += page.metadata.remaining_item_count.unwrap_or_default();
    }

    let (place, name) = lease;
    let leases: Api<Lease> = Api::namespaced(client, place);
    let found = leases.get_opt(name).await.map_err(|source| Unwell::Lease { name: name.into(), source })?;
    let leader =
        leader(found.as_ref(), Timestamp::now()).map_err(|why| Unwell::NobodyLeads { name: name.into(), why })?;
    Ok(format!("{leader} leads; JobQueues: {count}"))
}

/// The operator that holds the lease at `now`, give or take the clocks of two nodes; or what is wrong with it.
fn leader(lease: Option<&Lease>, now: Timestamp) -> Result<&str, &'static str> {
    /// What two nodes' clocks may differ by, and a renewal may be late.
    const PATIENCE_SECONDS: i64 = 20;
    let spec = lease.ok_or("does not exist")?.spec.as_ref().ok_or("is empty")?;
    let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty()).ok_or("has no holder")?;
    let renewed = spec.renew_time.as_ref().ok_or("was never renewed")?.0;
    let protects = i64::from(spec.lease_duration_seconds.unwrap_or_default()) + PATIENCE_SECONDS;
    if now.as_second() - renewed.as_second() > protects { Err("has lapsed") } else { Ok(holder) }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::coordination::v1::{Lease, LeaseSpec},
        apimachinery::pkg::apis::meta::v1::MicroTime,
        jiff::Timestamp,
    };

    fn lease(holder: &str, renewed: i64) -> Lease {
        let spec = LeaseSpec {
            holder_identity: Some(holder.into()),
            lease_duration_seconds: Some(10),
            renew_time: Some(MicroTime(Timestamp::from_second(renewed).expect("a time"))),
            ..LeaseSpec::default()
        };
        Lease { spec: Some(spec), ..Lease::default() }
    }

    #[test]
    fn a_leader_has_renewed_its_lease() {
        let now = Timestamp::from_second(1_000).expect("a time");
        assert_eq!(super::leader(Some(&lease("a", 998)), now), Ok("a"));
        assert_eq!(super::leader(Some(&lease("a", 1_005)), now), Ok("a"), "the other clock is ahead");
        assert_eq!(super::leader(Some(&lease("a", 900)), now), Err("has lapsed"));
        assert_eq!(super::leader(Some(&lease("", 998)), now), Err("has no holder"));
        assert_eq!(super::leader(None, now), Err("does not exist"));
    }
}
