//! Tells whoever looks at the queue what keeps this worker from its work: the operator makes a condition of it.

use std::time::Duration;

use jobqueue_ingest::SinkError;
use jobqueue_queue::{QueueError, Trouble, TroubleBoard, TroubleKind};
use tokio::time::Instant;

/// How often trouble is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How often trouble that lasts is said again; much less than it counts.
const AGAIN: Duration = Duration::from_secs(5);
/// Redis may take so long to hear of it.
const LIMIT: Duration = Duration::from_secs(2);

/// What an error of the database says to others.
pub(crate) fn trouble_of(error: &SinkError) -> Trouble {
    let kind = match error {
        SinkError::Denied { .. } => TroubleKind::Denied,
        SinkError::Misfit { .. } => TroubleKind::Misfit,
        SinkError::Unavailable { .. }
        | SinkError::Unwritable { .. }
        | SinkError::Disconnected { .. }
        | SinkError::Config(_) => TroubleKind::Unavailable,
    };
    Trouble { kind, message: error.to_string() }
}

/// What an error of Redis says to others; none where they see it themselves.
pub(crate) fn refusal_of(error: &QueueError) -> Option<Trouble> {
    let kind = match error {
        QueueError::Denied { .. } => TroubleKind::QueueDenied,
        QueueError::Data(_) => TroubleKind::QueueWrongData,
        QueueError::Unavailable { .. } | QueueError::Config(_) => return None,
    };
    Some(Trouble { kind, message: error.to_string() })
}

/// Says on `board` what `trouble` answers, until dropped: when it changes, and now and then while it lasts. What is over
/// within a second is not worth a word.
pub async fn tell(board: &TroubleBoard, trouble: impl Fn() -> Option<Trouble>) {
    let mut said: Option<(Trouble, Instant)> = None;
    let mut before = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let now = trouble();
        let lasts = now.is_some() && before.is_some();
        before.clone_from(&now);
        match (&now, &said) {
            (None, Some(_)) => said = if post(board, None).await { None } else { said },
            (Some(trouble), last) if lasts => {
                let news = last.as_ref().is_none_or(|(old, at)| old != trouble || at.elapsed() >= AGAIN);
                if news && post(board, Some(trouble)).await {
                    said = Some((trouble.clone(), Instant::now()));
                }
            }
            _ => {}
        }
    }
}

/// Takes everything back: this worker ends.
pub async fn take_back(board: &TroubleBoard) {
    post(board, None).await;
}

/// False where Redis did not take it; it is said again.
async fn post(board: &TroubleBoard, trouble: Option<&Trouble>) -> bool {
    matches!(tokio::time::timeout(LIMIT, board.post(trouble)).await, Ok(Ok(())))
}
