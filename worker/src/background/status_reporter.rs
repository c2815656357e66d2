//! Reports in Redis what keeps this worker from its work: the operator makes a condition of it.

use std::time::Duration;

use jobqueue_queue::{FaultReporter, WorkerFault};
use tokio::time::Instant;

use crate::state::instruments::Instruments;

/// How often the worker's state is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How often a fault that lasts is last again: well within the time for which a report counts.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a report may take.
const LIMIT: Duration = Duration::from_secs(2);

/// Reports the fault that `instruments` show, until dropped: when it changes, and now and then while it lasts. A fault that
/// is over within a second is not reported.
pub async fn report(reporter: &FaultReporter, instruments: &Instruments) {
    let mut last: Option<(WorkerFault, Instant)> = None;
    let mut before = None;
    loop {
        tokio::time::sleep(EVERY).await;
        let now = instruments.fault();
        let lasts = now.is_some() && before.is_some();
        before.clone_from(&now);
        match (&now, &last) {
            (None, Some(_)) => last = if post(reporter, None).await { None } else { last },
            (Some(fault), _) if lasts => {
                let due = last.as_ref().is_none_or(|(old, at)| old != fault || at.elapsed() >= AGAIN);
                if due && post(reporter, Some(fault)).await {
                    last = Some((fault.clone(), Instant::now()));
                }
            }
            _ => {}
        }
    }
}

/// Removes the report: this worker ends.
pub async fn withdraw(reporter: &FaultReporter) {
    post(reporter, None).await;
}

/// Returns false if Redis did not take the report; it is posted again later.
async fn post(reporter: &FaultReporter, fault: Option<&WorkerFault>) -> bool {
    matches!(tokio::time::timeout(LIMIT, reporter.post(fault)).await, Ok(Ok(())))
}
