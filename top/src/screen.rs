//! The terminal: taken over, put back in any case, and what ends the page besides a key.

use std::io;
use std::sync::LazyLock;

use crossterm::terminal::enable_raw_mode;
use crossterm::{execute, terminal};
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::watch;

/// Whether a thread or a task panicked. The hook of panics is the process's, and so is this.
static PANICKED: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

/// What ends the page besides a key.
pub(crate) struct Ended {
    signals: Vec<Signal>,
    panicked: watch::Receiver<bool>,
}

impl Ended {
    /// From now on signals end the page, not the process.
    pub(crate) fn watch() -> io::Result<Self> {
        let signals = signals()?;
        PANICKED.send_replace(false);
        Ok(Self { signals, panicked: PANICKED.subscribe() })
    }

    /// Returns after a signal or a panic.
    pub(crate) async fn wait(&mut self) {
        let signals = futures::future::select_all(self.signals.iter_mut().map(|signal| Box::pin(signal.recv())));
        tokio::select! {
            _ = signals => {}
            Ok(_) = self.panicked.wait_for(|panicked| *panicked) => {}
        }
    }

    /// Whether it was a panic.
    pub(crate) fn by_panic(&self) -> bool {
        *self.panicked.borrow()
    }
}

#[cfg(unix)]
type Signal = tokio::signal::unix::Signal;
#[cfg(windows)]
type Signal = tokio::signal::windows::CtrlClose;

/// Those by which a person or the system ends a program.
#[cfg(unix)]
fn signals() -> io::Result<Vec<Signal>> {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()];
    kinds.into_iter().map(signal).collect()
}

/// The console is closed. Ctrl-C is a key.
#[cfg(windows)]
fn signals() -> io::Result<Vec<Signal>> {
    Ok(vec![tokio::signal::windows::ctrl_close()?])
}

/// The terminal while it is ours.
pub(crate) struct Screen {
    terminal: DefaultTerminal,
    is_ours: bool,
}

impl Screen {
    /// Takes the terminal over. A panic, of any thread, gives it back before its message is printed.
    pub(crate) fn enter() -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        let put_back = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICKED.send_replace(true);
            put_back(info);
        }));
        Ok(Self { terminal, is_ours: true })
    }

    /// Gives it back.
    pub(crate) fn leave(&mut self) {
        // After a panic it was given back before the message, and doing so again would draw over that.
        if std::mem::take(&mut self.is_ours) && !*PANICKED.borrow() {
            ratatui::restore();
        }
    }

    /// Draws a page, and returns what the drawing says of it.
    pub(crate) fn draw<T>(&mut self, draw: impl FnOnce(&mut Frame<'_>) -> T) -> io::Result<T> {
        let mut drawn = None;
        self.terminal.draw(|frame| drawn = Some(draw(frame)))?;
        drawn.ok_or_else(|| io::Error::other("nothing was drawn"))
    }

    /// Draws everything anew the next time.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        // `Terminal::clear` does the same, and waits for the terminal to say where its cursor is.
        self.terminal.resize(size.into())
    }

    /// Stops the process, as Ctrl-Z does, with the terminal given back meanwhile.
    pub(crate) fn suspend(&mut self) -> io::Result<()> {
        self.terminal.show_cursor()?;
        ratatui::restore();
        #[cfg(unix)]
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGTSTP)?;
        enable_raw_mode()?;
        execute!(io::stdout(), terminal::EnterAlternateScreen)?;
        self.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}
