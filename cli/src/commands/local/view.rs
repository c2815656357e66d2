//! What a person sees of a run: a live view on a terminal, a line per event elsewhere, JSON lines for a program.

use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jobqueue_crds::SecretKeyRef;
use serde::Serialize;

use super::event::Event;
use crate::common::output::{Output, printable};

/// Between two status lines where nothing can be redrawn.
const STATUS_LINE: Duration = Duration::from_secs(5);
/// Between two JSON status lines.
const STATUS_JSON: Duration = Duration::from_secs(1);

/// The numbers of a moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    /// Jobs that wait.
    pub(crate) waiting: u64,
    /// Jobs that run.
    pub(crate) running: u64,
    /// Jobs that come due later.
    pub(crate) scheduled: u64,
    /// Jobs in the failed registry.
    pub(crate) failed: u64,
    /// Jobs done in this run.
    pub(crate) done: u64,
    /// Workers asked for.
    pub(crate) desired: u32,
    /// Workers that serve.
    pub(crate) ready: u32,
    /// Workers with jobs in hand.
    pub(crate) busy: u32,
    /// Workers that were told to end.
    pub(crate) draining: usize,
    /// Jobs that end, per second.
    pub(crate) jobs_per_second: Option<f64>,
    /// When the backlog is cleared, in seconds.
    pub(crate) eta_seconds: Option<f64>,
    /// Nothing is begun before `rq resume`.
    pub(crate) suspended: bool,
    /// Why so many workers.
    pub(crate) message: String,
}

impl Status {
    /// Nothing is left but jobs that no worker of this run has in hand: one that was killed left them, whose lease lasts a
    /// while, or workers elsewhere do them. Our rate says nothing of when they are done.
    pub(crate) fn is_held_elsewhere(&self) -> bool {
        self.waiting == 0 && self.running > 0 && self.busy == 0
    }
}

/// The door to the person.
pub(crate) struct View {
    output: Output,
    kind: Kind,
    start: Instant,
}

enum Kind {
    Live(Box<Live>),
    Lines { last: Option<(Instant, Status)> },
    Json { last: Option<(Instant, Status)> },
}

struct Live {
    all: MultiProgress,
    backlog: ProgressBar,
    workers: ProgressBar,
    reason: ProgressBar,
}

impl View {
    /// `plain`: lines even on a terminal, because others write to it too.
    pub(crate) fn new(output: Output, name: &str, plain: bool) -> Self {
        let kind = if output.is_machine() {
            Kind::Json { last: None }
        } else if output.is_interactive() && !plain {
            Kind::Live(Box::new(Live::new(name)))
        } else {
            Kind::Lines { last: None }
        };
        Self { output, kind, start: Instant::now() }
    }

    /// Something happened.
    pub(crate) fn event(&mut self, event: &Event) {
        let output = self.output;
        let tell = || if event.is_warning() { output.warn(&event.to_string()) } else { output.say(&event.to_string()) };
        match &self.kind {
            Kind::Live(live) => live.all.suspend(tell),
            Kind::Lines { .. } => tell(),
            Kind::Json { .. } => {
                self.json(None, event);
                if event.is_warning() {
                    tell();
                }
            }
        }
    }

    /// The manifest keeps the URL of `what` in a Secret, if it does: it is not read here, and `flag` is another way.
    pub(crate) fn secret(&mut self, what: &'static str, secret: Option<&SecretKeyRef>, flag: &'static str) {
        if let Some(SecretKeyRef { name, key }) = secret {
            self.event(&Event::Secret { what, name: name.clone(), key: key.clone(), flag });
        }
    }

    /// The numbers now.
    pub(crate) fn status(&mut self, status: &Status) {
        let now = Instant::now();
        let is_due = |last: &Option<(Instant, Status)>, pause| {
            last.as_ref().is_none_or(|(at, shown)| now.duration_since(*at) >= pause && shown != status)
        };
        match &mut self.kind {
            Kind::Live(live) => live.show(status),
            Kind::Lines { last } if is_due(last, STATUS_LINE) => {
                *last = Some((now, status.clone()));
                self.output.say(&line(status));
            }
            Kind::Json { last } if is_due(last, STATUS_JSON) => {
                *last = Some((now, status.clone()));
                self.json(Some("status"), status);
            }
            Kind::Lines { .. } | Kind::Json { .. } => {}
        }
    }

    /// Takes the live part off the screen.
    pub(crate) fn close(&mut self) {
        if let Kind::Live(live) = &self.kind {
            for bar in [&live.backlog, &live.workers, &live.reason] {
                bar.finish_and_clear();
            }
        }
    }

    /// Where the summary goes.
    pub(crate) fn output(&self) -> Output {
        self.output
    }

    /// One line on stdout, with the seconds since the start. `event`: what it is, where the value does not say.
    pub(crate) fn json(&self, event: Option<&str>, value: &impl Serialize) {
        let seconds = (self.start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        if let Ok(text) = serde_json::to_string(&Line { seconds, event, value }) {
            // A reader that closed the pipe has seen enough.
            let _ = self.output.data(&format!("{text}\n"));
        }
    }
}

#[derive(Serialize)]
struct Line<'a, T> {
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(flatten)]
    value: &'a T,
}

impl Live {
    fn new(name: &str) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8));
        let bar = |template: &str| {
            let bar = all.add(ProgressBar::new(0));
            // A template that does not parse would be a mistake in this file; the default shows the same numbers.
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        };
        let backlog = bar("{prefix:.bold} [{bar:40.cyan/blue}] {msg}");
        backlog.set_prefix(name.to_owned());
        let (workers, reason) = (bar("  {msg}"), bar("  {msg:.dim}"));
        Self { all, backlog, workers, reason }
    }

    fn show(&self, status: &Status) {
        self.backlog.set_length((status.done + status.waiting + status.running).max(1));
        self.backlog.set_position(status.done);
        self.backlog.set_message(progress(status));
        self.workers.set_message(counts(status));
        self.reason.set_message(printable(&status.message).into_owned());
    }
}

fn progress(status: &Status) -> String {
    let left = status.waiting + status.running;
    let mut parts = vec![format!("{} done", HumanCount(status.done)), format!("{} to do", HumanCount(left))];
    if status.suspended {
        parts.push("suspended, until `rq resume`".into());
    } else if status.is_held_elsewhere() {
        parts
            .push("in the hands of no worker here: they run again when the lease lapses, unless others do them".into());
    } else if left > 0 {
        parts.extend(status.jobs_per_second.map(|rate| format!("{} jobs/s", rounded(rate))));
        let span = |seconds: f64| HumanDuration(Duration::from_secs_f64(seconds.clamp(0.0, 1e9)));
        parts.extend(status.eta_seconds.map(|seconds| format!("{} left", span(seconds))));
    }
    parts.join(", ")
}

fn counts(status: &Status) -> String {
    let Status { desired, ready, busy, draining, waiting, running, scheduled, failed, .. } = status;
    let draining = if *draining > 0 { format!(", {draining} draining") } else { String::new() };
    format!(
        "workers {ready}/{desired} ready, {busy} busy{draining} | waiting {} running {} scheduled {} failed {}",
        HumanCount(*waiting),
        HumanCount(*running),
        HumanCount(*scheduled),
        HumanCount(*failed)
    )
}

fn line(status: &Status) -> String {
    format!("{} | {}", progress(status), counts(status))
}

/// A rate for a person: whole numbers from 10 on.
pub(crate) fn rounded(rate: f64) -> String {
    if rate < 10.0 {
        return format!("{rate:.1}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; saturates when huge")]
    let whole = rate.round() as u64;
    HumanCount(whole).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_all_numbers() {
        let status = Status {
            waiting: 12_000,
            running: 800,
            failed: 3,
            done: 7_200,
            desired: 4,
            ready: 4,
            busy: 3,
            draining: 1,
            jobs_per_second: Some(2_000.4),
            eta_seconds: Some(6.0),
            ..Status::default()
        };
        assert_eq!(
            line(&status),
            "7,200 done, 12,800 to do, 2,000 jobs/s, 6 seconds left | workers 4/4 ready, 3 busy, 1 draining | waiting \
             12,000 running 800 scheduled 0 failed 3"
        );
        assert_eq!(progress(&Status::default()), "0 done, 0 to do");
        let suspended = Status { suspended: true, waiting: 3, jobs_per_second: Some(1.0), ..Status::default() };
        assert_eq!(progress(&suspended), "0 done, 3 to do, suspended, until `rq resume`");
        let held = Status { waiting: 0, busy: 0, ..status };
        assert_eq!(
            progress(&held),
            "7,200 done, 800 to do, in the hands of no worker here: they run again when the lease lapses, unless others do them"
        );
    }
}
