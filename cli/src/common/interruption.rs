//! Waits until a person or the system asks the program to end.

#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::ctrl_close;

/// Resolves at Ctrl-C, and at SIGTERM; on Windows at Ctrl-C, and when the console is closed.
pub(crate) async fn interruption() {
    #[cfg(unix)]
    let mut terminated = signal(SignalKind::terminate()).expect("a signal handler can be installed in the runtime");
    #[cfg(windows)]
    let mut terminated = ctrl_close().expect("a console handler can be installed in the runtime");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}
