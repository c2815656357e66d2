//! What is shown, and what a key does: the list of queues, one queue, the failed jobs of one cause. No I/O.

mod cursor;
mod keys;

use std::sync::Arc;

use jobqueue_inspect::source::{Order, Overview, QueueKey, QueueView};
use jobqueue_inspect::survey::Survey;
use jobqueue_inspect::workers::Worker;
use jobqueue_queue::admin::Failure;

pub(crate) use self::cursor::Cursor;
pub(crate) use self::keys::SORTS;
use crate::load::Loaded;

/// What the program is to do after a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Go on.
    Stay,
    /// Draw everything anew.
    Redraw,
    /// Stop the process, as Ctrl-Z does.
    Suspend,
    /// End.
    Quit,
}

/// What a page needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// A part of the list.
    Queues { query: String, order: Order, skip: usize, count: usize },
    /// One queue, and, if wanted, its failed jobs by cause.
    Queue { key: QueueKey, causes: bool },
    /// Some of the failed jobs of one cause.
    Cause { key: QueueKey, digest: String, skip: usize, count: usize },
}

/// How a drawing came out: rows for lines of the list, and how many lines there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Fitted {
    pub(crate) rows: usize,
    /// Lines that a page further is.
    pub(crate) page: usize,
    pub(crate) length: usize,
}

/// The list of queues.
#[derive(Default)]
pub(crate) struct List {
    pub(crate) query: String,
    pub(crate) order: Order,
    pub(crate) cursor: Cursor,
    /// What was read of it, and how many queues come before that.
    pub(crate) overview: Option<(Overview, usize)>,
}

/// The parts of the page of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tab {
    /// Who works on what.
    #[default]
    Workers,
    /// Failed jobs by cause.
    Failed,
    /// Why there are as many workers as there are, and the conditions.
    Why,
}

impl Tab {
    /// In the order of their keys.
    pub(crate) const ALL: [Self; 3] = [Self::Workers, Self::Failed, Self::Why];
}

/// The page of a queue.
pub(crate) struct Queue {
    pub(crate) key: QueueKey,
    pub(crate) tab: Tab,
    pub(crate) cursor: Cursor,
    /// What was read, or why it could not be.
    pub(crate) data: Option<Result<QueueData, String>>,
}

/// What was read of a queue.
pub(crate) struct QueueData {
    pub(crate) view: QueueView,
    pub(crate) workers: Vec<Worker>,
    pub(crate) workers_problem: Option<String>,
    pub(crate) survey: Option<Result<Arc<Survey>, String>>,
}

/// The page of a cause.
pub(crate) struct Cause {
    pub(crate) digest: String,
    pub(crate) cursor: Cursor,
    pub(crate) data: Option<Result<CauseData, String>>,
}

/// What was read of a cause.
pub(crate) struct CauseData {
    pub(crate) survey: Arc<Survey>,
    /// With the name of their queue.
    pub(crate) jobs: Vec<(String, Failure)>,
    /// Jobs that come before them.
    pub(crate) skip: usize,
}

/// The whole.
pub(crate) struct State {
    pub(crate) title: String,
    pub(crate) list: List,
    pub(crate) queue: Option<Queue>,
    /// Below the queue.
    pub(crate) cause: Option<Cause>,
    /// While the filter is typed: the filter before.
    pub(crate) typing: Option<String>,
    pub(crate) help: bool,
    /// Whether the source has answered: until then no queues are no answer.
    pub(crate) is_answered: bool,
    fitted: Fitted,
}

impl State {
    /// The list, of which nothing is known yet.
    pub(crate) fn new(title: String) -> Self {
        // A page of usual height, until one is drawn.
        let fitted = Fitted { rows: 20, page: 20, length: 0 };
        Self {
            title,
            list: List::default(),
            queue: None,
            cause: None,
            typing: None,
            help: false,
            is_answered: false,
            fitted,
        }
    }

    /// Whether the list of queues is shown.
    pub(crate) fn is_list(&self) -> bool {
        self.queue.is_none()
    }

    /// What the page that is shown needs to know.
    pub(crate) fn need(&self) -> Need {
        let count = self.fitted.rows;
        match (&self.queue, &self.cause) {
            (Some(queue), Some(cause)) => {
                Need::Cause { key: queue.key.clone(), digest: cause.digest.clone(), skip: cause.cursor.skip, count }
            }
            (Some(queue), None) => Need::Queue { key: queue.key.clone(), causes: queue.tab == Tab::Failed },
            (None, _) => {
                let List { query, order, cursor, .. } = &self.list;
                Need::Queues { query: query.clone(), order: *order, skip: cursor.skip, count }
            }
        }
    }

    /// Takes what was read for `need`.
    pub(crate) fn take(&mut self, need: &Need, loaded: Loaded) {
        if *need != self.need() {
            return;
        }
        match (loaded, &mut self.queue, &mut self.cause) {
            (Loaded::Queues(overview), ..) => self.list.take(overview),
            (Loaded::Queue(data), Some(queue), _) => queue.take(*data),
            (Loaded::Cause(data), _, Some(cause)) => cause.data = Some(*data),
            _ => {}
        }
    }

    /// Takes note of how the page came out. Whether it is to be drawn again, since the cursor was beyond the end.
    pub(crate) fn fit(&mut self, fitted: Fitted) -> bool {
        // A page without a list says nothing of the next one's rows.
        let rows = if fitted.rows == 0 { self.fitted.rows } else { fitted.rows };
        self.fitted = Fitted { rows, ..fitted };
        let cursor = self.cursor();
        let before = *cursor;
        cursor.step(0, fitted.length, rows);
        *cursor != before
    }

    /// Of the list that is shown.
    fn cursor(&mut self) -> &mut Cursor {
        match (&mut self.queue, &mut self.cause) {
            (Some(_), Some(cause)) => &mut cause.cursor,
            (Some(queue), None) => &mut queue.cursor,
            (None, _) => &mut self.list.cursor,
        }
    }
}

impl List {
    /// The queue that is selected, as it was drawn.
    pub(crate) fn selected(&self) -> Option<&QueueKey> {
        let (overview, skip) = self.overview.as_ref()?;
        let row = overview.rows.get(self.cursor.at.checked_sub(*skip)?)?;
        Some(&row.key)
    }

    /// The same queue stays selected, where it is still among the rows; but the first line is that of the worst queue,
    /// whichever that is.
    fn take(&mut self, overview: Overview) {
        let skip = self.cursor.skip;
        let selected = self.selected().filter(|_| self.cursor.at > 0);
        if let Some(place) = selected.and_then(|key| overview.rows.iter().position(|row| row.key == *key)) {
            self.cursor.at = skip + place;
        }
        self.overview = Some((overview, skip));
    }
}

impl Queue {
    fn new(key: QueueKey) -> Self {
        Self { key, tab: Tab::default(), cursor: Cursor::default(), data: None }
    }

    /// Causes that were counted stay while other parts are shown.
    fn take(&mut self, mut data: Result<QueueData, String>) {
        if let (Ok(new), Some(Ok(old))) = (&mut data, &mut self.data)
            && new.survey.is_none()
        {
            new.survey = old.survey.take();
        }
        self.data = Some(data);
    }

    /// The short name of the cause that is selected.
    fn selected_cause(&self) -> Option<String> {
        let Some(Ok(QueueData { survey: Some(Ok(survey)), .. })) = &self.data else { return None };
        survey.groups().get(self.cursor.at).map(|group| group.digest.clone())
    }
}

#[cfg(test)]
mod tests;
