//! The order in which a worker that writes one batch at a time writes them: that in which they were claimed. Whoever asks for
//! one at a time wants one job after the other; a later one whose rows are computed sooner waits for the earlier one.

use std::convert::Infallible;

use tokio::sync::oneshot;

/// Gives out tickets, in the order of the claims.
#[derive(Debug, Default)]
pub(crate) struct WriteOrder {
    /// Ends with the ticket that was given last.
    last: Option<oneshot::Receiver<Infallible>>,
}

/// The place of one claim. The next one is admitted when this is dropped, however it ended.
#[derive(Debug)]
pub(crate) struct WriteTicket {
    before: Option<oneshot::Receiver<Infallible>>,
    _is_over: oneshot::Sender<Infallible>,
}

impl WriteOrder {
    /// The ticket after all that were given before.
    pub(crate) fn ticket(&mut self) -> WriteTicket {
        let (is_over, over) = oneshot::channel();
        WriteTicket { before: self.last.replace(over), _is_over: is_over }
    }
}

impl WriteTicket {
    /// Waits until all before it are over.
    pub(crate) async fn admitted(&mut self) {
        if let Some(before) = &mut self.before {
            // Nothing is ever sent: it ends with its sender.
            let _ = before.await;
        }
        self.before = None;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_ticket_is_admitted_when_the_one_before_is_over() {
        let mut order = WriteOrder::default();
        let (mut first, mut second, mut third) = (order.ticket(), order.ticket(), order.ticket());
        assert!(first.admitted().now_or_never().is_some());
        assert!(second.admitted().now_or_never().is_none());
        drop(first);
        assert!(third.admitted().now_or_never().is_none(), "the second is not over");
        assert!(second.admitted().now_or_never().is_some() && second.admitted().now_or_never().is_some());
        drop(second);
        assert!(third.admitted().now_or_never().is_some());
    }
}
