//! A page for the terminal: queues, their workers and their failed jobs, to look at and not to change.
//!
//! [`run`] shows what a [`Source`] knows until the person quits. What is shown, and what a key does, is decided by
//! [`state`], without I/O; [`draw`] draws it; [`load`] reads what it needs, which is what is visible and no more.

mod draw;
mod load;
mod screen;
mod state;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use crossterm::event::{Event, EventStream};
use futures::StreamExt;
use jobqueue_inspect::source::Source;
use jobqueue_inspect::survey::Surveys;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use self::draw::Theme;
use self::load::Loaded;
use self::screen::{Ended, Screen};
use self::state::{Need, State, Wish};

/// Between two looks at what is shown, where something changed.
const PACE: Duration = Duration::from_secs(1);
/// What changes without notice, such as the workers of one queue, is read again after this time.
const PAUSE: Duration = Duration::from_secs(2);

/// Shows the queues of `source` until the person quits, or a signal asks for the end. `colour` may be refused.
///
/// # Errors
/// If the terminal cannot be used, and after a panic in the background. The terminal is as it was before, in any case.
pub async fn run(source: Arc<dyn Source>, colour: bool) -> io::Result<()> {
    let mut ended = Ended::watch()?;
    let mut screen = Screen::enter()?;
    let mut top = Top::new(source, Theme { colour });
    let result = top.run(&mut screen, &mut ended).await;
    top.stop_loading();
    screen.leave();
    result
}

/// What is shown, and what is being read for it.
struct Top {
    source: Arc<dyn Source>,
    surveys: Surveys,
    counted: watch::Receiver<u64>,
    state: State,
    theme: Theme,
    loading: Option<(Need, JoinHandle<Loaded>)>,
    /// What was read last, and when.
    read: Option<(Need, Instant)>,
    /// Whether there is something new since then.
    is_old: bool,
}

impl Top {
    fn new(source: Arc<dyn Source>, theme: Theme) -> Self {
        let changed = watch::Sender::new(0);
        let counted = changed.subscribe();
        let state = State::new(source.title());
        let surveys = Surveys::new(changed);
        Self { source, surveys, counted, state, theme, loading: None, read: None, is_old: false }
    }

    async fn run(&mut self, screen: &mut Screen, ended: &mut Ended) -> io::Result<()> {
        let mut events = EventStream::new();
        let mut changes = self.source.changes();
        loop {
            if ended.by_panic() {
                return Err(io::Error::other("a part of the program panicked; its message is above"));
            }
            self.draw(screen)?;
            self.load();
            let again = self.read_again_at();
            let wish = tokio::select! {
                event = events.next() => self.note(&event.ok_or(io::ErrorKind::UnexpectedEof)??),
                loaded = loaded(&mut self.loading) => self.take(loaded)?,
                // Of thousands of changes the first says all.
                Ok(()) = changes.changed(), if !self.is_old => self.answered(),
                Ok(()) = self.counted.changed(), if !self.is_old => self.expire(),
                () = sleep_until(again) => self.expire(),
                () = ended.wait() => Wish::Quit,
            };
            match wish {
                Wish::Stay => {}
                Wish::Redraw => screen.clear()?,
                Wish::Suspend => screen.suspend()?,
                Wish::Quit if ended.by_panic() => {}
                Wish::Quit => return Ok(()),
            }
        }
    }

    fn draw(&mut self, screen: &mut Screen) -> io::Result<()> {
        let now = Utc::now();
        let fitted = screen.draw(|frame| draw::draw(&self.state, self.theme, now, frame))?;
        // What fits on the page says what is needed; a cursor may be beyond the end.
        if self.state.fit(fitted) {
            screen.draw(|frame| draw::draw(&self.state, self.theme, now, frame))?;
        }
        Ok(())
    }

    /// Begins to read what is needed and not there; what is being read for something else is given up.
    fn load(&mut self) {
        let need = self.state.need();
        if self.loading.as_ref().is_some_and(|(loading, _)| *loading == need) {
            return;
        }
        let is_there =
            self.read.as_ref().is_some_and(|(read, at)| *read == need && !(self.is_old && at.elapsed() >= self.pace()));
        if is_there {
            return;
        }
        self.stop_loading();
        self.is_old = false;
        let task = load::load(Arc::clone(&self.source), self.surveys.clone(), need.clone());
        self.loading = Some((need, tokio::spawn(task)));
    }

    fn stop_loading(&mut self) {
        if let Some((_, task)) = self.loading.take() {
            task.abort();
        }
    }

    fn pace(&self) -> Duration {
        if self.state.is_list() { PACE } else { PAUSE }
    }

    /// When the page is old, if nothing else happens. A list is read again when something changed, and its clock goes on.
    fn read_again_at(&self) -> Instant {
        let at = self.read.as_ref().map_or_else(Instant::now, |(_, at)| *at);
        let next = at + self.pace();
        // Already old, and being read.
        if self.loading.is_some() { Instant::now() + PAUSE } else { next.max(Instant::now() + PACE / 10) }
    }

    /// The source has something new.
    fn answered(&mut self) -> Wish {
        self.state.is_answered = true;
        self.expire()
    }

    fn expire(&mut self) -> Wish {
        self.is_old = true;
        Wish::Stay
    }

    fn take(&mut self, (need, loaded): (Need, Option<Loaded>)) -> io::Result<Wish> {
        let loaded = loaded.ok_or_else(|| io::Error::other("a part of the program panicked; its message is above"))?;
        self.state.take(&need, loaded);
        self.read = Some((need, Instant::now()));
        Ok(Wish::Stay)
    }

    fn note(&mut self, event: &Event) -> Wish {
        match event {
            Event::Key(key) if !key.is_release() => self.state.press(*key),
            _ => Wish::Stay,
        }
    }
}

/// What was read, with what it was read for; nothing after a panic.
async fn loaded(loading: &mut Option<(Need, JoinHandle<Loaded>)>) -> (Need, Option<Loaded>) {
    let Some((_, task)) = loading else { return std::future::pending().await };
    let loaded = task.await.ok();
    let (need, _) = loading.take().expect("it was there");
    (need, loaded)
}
