//! The order in which a worker that writes one batch at a time writes them: that in which they were claimed. Whoever asks for
//! one at a time wants one job after the other; a later one whose rows are computed sooner waits for the earlier one.

use std::convert::Infallible;

use tokio::sync::oneshot;

/// Gives out turns, in the order of the claims.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Ends with the turn that was given last.
    last: Option<oneshot::Receiver<Infallible>>,
}

/// The place of one claim. The next one's turn comes when this is dropped, however it ended.
#[derive(Debug)]
pub(crate) struct Turn {
    before: Option<oneshot::Receiver<Infallible>>,
    _is_over: oneshot::Sender<Infallible>,
}

impl Turns {
    /// The turn after all that were given before.
    pub(crate) fn give(&mut self) -> Turn {
        let (is_over, over) = oneshot::channel();
        Turn { before: self.last.replace(over), _is_over: is_over }
    }
}

impl Turn {
    /// Waits until all turns before it are over.
    pub(crate) async fn comes(&mut self) {
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
    fn a_turn_comes_when_the_one_before_is_over() {
        let mut turns = Turns::default();
        let (mut first, mut second, mut third) = (turns.give(), turns.give(), turns.give());
        assert!(first.comes().now_or_never().is_some());
        assert!(second.comes().now_or_never().is_none());
        drop(first);
        assert!(third.comes().now_or_never().is_none(), "the second is not over");
        assert!(second.comes().now_or_never().is_some() && second.comes().now_or_never().is_some());
        drop(second);
        assert!(third.comes().now_or_never().is_some());
    }
}
