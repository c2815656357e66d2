//! The terminal after a panic in the background. The page runs in this test's own program, started again in a terminal
//! that `script` makes.

use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use jobqueue_inspect::source::{Backlog, Order, Overview, Problem, QueueKey, QueueView, Source, Visible};
use tokio::sync::watch;

/// A source that panics when it is asked.
struct Broken(watch::Sender<u64>);

#[async_trait]
impl Source for Broken {
    fn title(&self) -> String {
        "broken".to_owned()
    }

    fn namespaces(&self) -> Vec<String> {
        Vec::new()
    }

    async fn overview(&self, _: &str, _: Order, _: usize, _: usize, _: &Visible) -> Overview {
        panic!("this source is broken on purpose")
    }

    async fn queue(&self, _: &QueueKey) -> Result<QueueView, Problem> {
        unreachable!("the list comes first")
    }

    async fn backlog(&self, _: &QueueKey) -> Result<Backlog, Problem> {
        unreachable!("the list comes first")
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the test below, in a terminal"]
async fn the_page() {
    let error = jobqueue_top::run(Arc::new(Broken(watch::Sender::new(0))), true).await.expect_err("it panicked");
    println!("ended: {error}");
}

#[test]
fn after_a_panic_the_terminal_is_as_it_was() {
    let program = std::env::current_exe().expect("this program has a path");
    let page = format!("{} --ignored --exact the_page --nocapture", program.display());
    let command = format!("stty rows 24 cols 80; {page}; stty -a");
    let output = Command::new("timeout")
        .args(["--kill-after=5", "60", "script", "--quiet", "--command", &command, "/dev/null"])
        .output()
        .expect("script is part of every Debian");
    let written = String::from_utf8_lossy(&output.stdout).into_owned();
    let place = |text: &str| written.find(text).unwrap_or_else(|| panic!("no {text:?} in {written:?}"));
    let (taken, back) = (place("\u{1b}[?1049h"), place("\u{1b}[?1049l"));
    let (message, ended) = (place("this source is broken on purpose"), place("ended: a part of the program panicked"));
    assert!(taken < back && back < message && message < ended, "{written:?}");
    let settings = &written[ended..];
    for setting in [" icanon", " echo ", "isig "] {
        assert!(settings.contains(setting), "no {setting:?} in {settings:?}");
    }
    assert_eq!(written.rfind("\u{1b}[?1049h"), Some(taken), "nothing is drawn after it: {written:?}");
}
