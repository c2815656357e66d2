//! What each key does.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jobqueue_inspect::source::SortBy;

use super::{Cause, Cursor, Queue, State, Tab, Wish};

/// The letters that sort the list, and by what.
pub(crate) const SORTS: [(char, SortBy, &str); 8] = [
    ('T', SortBy::Trouble, "trouble"),
    ('N', SortBy::Name, "name"),
    ('B', SortBy::Backlog, "backlog"),
    ('O', SortBy::OldestWait, "oldest wait"),
    ('A', SortBy::Arrivals, "arrivals"),
    ('E', SortBy::Completions, "jobs that end"),
    ('W', SortBy::Workers, "workers"),
    ('F', SortBy::Failed, "failed jobs"),
];
/// Characters of a filter.
const LONGEST_FILTER: usize = 200;

impl State {
    /// Does what the key asks for.
    pub(crate) fn press(&mut self, key: KeyEvent) -> Wish {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('c') => return Wish::Quit,
                KeyCode::Char('z') => return Wish::Suspend,
                KeyCode::Char('l') => return Wish::Redraw,
                _ => {}
            }
        }
        if self.typing.is_some() {
            self.write(key);
        } else if self.help {
            self.help = false;
        } else if key.code == KeyCode::Char('q') {
            return Wish::Quit;
        } else {
            self.obey(key);
        }
        Wish::Stay
    }

    fn obey(&mut self, key: KeyEvent) {
        if self.moved(key) {
            return;
        }
        match key.code {
            KeyCode::Char('?') | KeyCode::F(1) => self.help = true,
            KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') => self.open(),
            KeyCode::Esc | KeyCode::Left | KeyCode::Backspace | KeyCode::Char('h') => self.back(),
            _ if self.queue.is_some() => self.turn(key.code),
            KeyCode::Char('/') => self.typing = Some(self.list.query.clone()),
            KeyCode::Char('r') => self.sort(None),
            KeyCode::Char('s') => {
                let place = SORTS.iter().position(|(_, by, _)| *by == self.list.order.by).unwrap_or(0);
                self.sort(Some(SORTS[(place + 1) % SORTS.len()].1));
            }
            KeyCode::Char(letter) => {
                if let Some((_, by, _)) = SORTS.iter().find(|(known, ..)| *known == letter) {
                    self.sort(Some(*by));
                }
            }
            _ => {}
        }
    }

    /// Whether the key moves the cursor, which it has then done.
    fn moved(&mut self, key: KeyEvent) -> bool {
        let (rows, length) = (self.fitted.rows, self.fitted.length);
        let page = isize::try_from(self.fitted.page.max(2) - 1).unwrap_or(isize::MAX);
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let lines = match key.code {
            KeyCode::Down | KeyCode::Char('j') => 1,
            KeyCode::Up | KeyCode::Char('k') => -1,
            KeyCode::PageDown | KeyCode::Char(' ') => page,
            KeyCode::Char('f') if control => page,
            KeyCode::PageUp => -page,
            KeyCode::Char('b') if control => -page,
            KeyCode::Home | KeyCode::Char('g') => isize::MIN,
            KeyCode::End | KeyCode::Char('G') => isize::MAX,
            _ => return false,
        };
        self.cursor().step(lines, length, rows);
        true
    }

    /// Opens what is selected.
    fn open(&mut self) {
        match &self.queue {
            None => self.queue = self.list.selected().cloned().map(Queue::new),
            Some(queue) if self.cause.is_none() && queue.tab == Tab::Failed => {
                self.cause =
                    queue.selected_cause().map(|digest| Cause { digest, cursor: Cursor::default(), data: None });
            }
            Some(_) => {}
        }
    }

    /// One page back; on the list, all queues are shown again.
    fn back(&mut self) {
        if self.cause.take().is_none() && self.queue.take().is_none() {
            self.filter(String::new());
        }
    }

    /// Shows another part of a queue.
    fn turn(&mut self, code: KeyCode) {
        let Some(queue) = self.queue.as_mut().filter(|_| self.cause.is_none()) else { return };
        let (place, count) = (queue.tab as usize, Tab::ALL.len());
        let tab = match code {
            KeyCode::Tab => Tab::ALL[(place + 1) % count],
            KeyCode::BackTab => Tab::ALL[(place + count - 1) % count],
            KeyCode::Char('1' | 'w') => Tab::Workers,
            KeyCode::Char('2' | 'f') => Tab::Failed,
            KeyCode::Char('3' | 'y') => Tab::Why,
            _ => return,
        };
        if tab != queue.tab {
            (queue.tab, queue.cursor) = (tab, Cursor::default());
        }
    }

    fn sort(&mut self, by: Option<SortBy>) {
        let order = &mut self.list.order;
        match by {
            Some(by) => (order.by, order.reversed) = (by, false),
            None => order.reversed = !order.reversed,
        }
        self.list.cursor = Cursor::default();
    }

    fn filter(&mut self, query: String) {
        if query != self.list.query {
            self.list.query = query;
            self.list.cursor = Cursor::default();
        }
    }

    /// A key while the filter is typed.
    fn write(&mut self, key: KeyEvent) {
        let mut query = self.list.query.clone();
        match key.code {
            KeyCode::Enter => self.typing = None,
            KeyCode::Esc => query = self.typing.take().unwrap_or_default(),
            KeyCode::Backspace => drop(query.pop()),
            KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => query.clear(),
            KeyCode::Char(c)
                if !key.modifiers.contains(KeyModifiers::CONTROL) && query.chars().count() < LONGEST_FILTER =>
            {
                query.push(c);
            }
            _ => {}
        }
        self.filter(query);
    }
}
