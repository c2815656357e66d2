//! Why a number of workers was decided, and what kept it from being another. One sentence each, with the numbers, for
//! status, events, `explain` and the terminal alike.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Bound, Deadline};

/// Why there should be so many workers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames)]
pub enum Reason {
    /// `drainSeconds`: every job has ended so many seconds after it came.
    Drain {
        /// The target, in seconds.
        seconds: f64,
        /// The deadline that decides.
        deadline: Deadline,
    },
    /// `maxWaitSeconds`: every job has begun so many seconds after it came.
    MaxWait {
        /// The target, in seconds.
        seconds: f64,
        /// The deadline that decides.
        deadline: Deadline,
    },
    /// There is no target: every job begins within two starts of a worker.
    TwoStarts {
        /// Two starts, as measured, in seconds.
        seconds: f64,
        /// The deadline that decides.
        deadline: Deadline,
    },
    /// `jobsPerWorker`.
    JobsPerWorker {
        /// Jobs waiting and running.
        jobs: u64,
        /// The target.
        per_worker: f64,
        /// The answer.
        workers: u32,
    },
    /// Workers that are there already, since the target is shorter than a start.
    KeepUp {
        /// Workers that what arrives keeps busy, on average.
        busy: f64,
        /// The time in which a job must begin, in seconds.
        wait: f64,
        /// The answer.
        workers: u32,
    },
    /// Work comes at regular times, and is about to.
    Foretold {
        /// In so many seconds.
        within: f64,
        /// Recent times at which it came as foretold...
        right: u32,
        /// ...of so many.
        of: u32,
        /// The answer.
        workers: u32,
    },
    /// There is work and nothing else says how many workers it takes.
    RateUnknown {
        /// Jobs waiting and running.
        jobs: u64,
    },
    /// There is work.
    AtLeastOne {
        /// Jobs waiting and running.
        jobs: u64,
    },
    /// These workers have jobs in hand.
    Busy {
        /// How many.
        workers: u32,
    },
    /// Jobs came and were done between two polls: workers that serve them stay.
    Passing {
        /// Jobs that ended since the last poll.
        ended: u64,
        /// The answer.
        workers: u32,
    },
    /// Nothing to do, but not for long enough.
    Idle {
        /// For how long, in seconds.
        seconds: f64,
        /// How long the last worker stays: `idleSeconds`, or as long as its start takes.
        limit: f64,
    },
    /// Nothing to do.
    Empty,
    /// `minReplicas`.
    MinReplicas {
        /// How many.
        replicas: u32,
    },
    /// A schedule's floor.
    Schedule {
        /// Which, and until when.
        bound: Bound,
    },
    /// The queue cannot be read: the number stays.
    QueueUnreadable {
        /// For how long, in seconds.
        seconds: f64,
    },
    /// The queue cannot be read: `staticReplicas`.
    StaticReplicas {
        /// How many.
        replicas: u32,
    },
    /// `mode: Manual`.
    Manual {
        /// How many.
        replicas: u32,
    },
    /// `mode: Paused`.
    Paused,
}

impl Reason {
    /// One word, for metric labels and `reason` fields.
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

fn write_deadline(f: &mut fmt::Formatter<'_>, deadline: Deadline, target: fmt::Arguments<'_>) -> fmt::Result {
    let Deadline { jobs, within, late, have, begun, rate, workers } = deadline;
    let (within, late) = (number(within), if late { "; some are late already" } else { "" });
    write!(f, "{} jobs must begin within {within} s ({target}{late}), and ", count(jobs))?;
    if have == 0 {
        return write!(f, "a worker does {}/s: {}", number(rate), workers_text(workers));
    }
    let each = format!("{} at {}/s each begin", workers_text(have), number(rate));
    if workers <= have {
        return write!(f, "{each} them in time: {}", workers_text(workers));
    }
    write!(f, "{each} {} of them: {}", count(begun), workers_text(workers))
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Drain { seconds, deadline } => {
                write_deadline(f, deadline, format_args!("drainSeconds {}", number(seconds)))
            }
            Self::MaxWait { seconds, deadline } => {
                write_deadline(f, deadline, format_args!("maxWaitSeconds {}", number(seconds)))
            }
            Self::TwoStarts { seconds, deadline } => {
                write_deadline(f, deadline, format_args!("the default, two worker starts: {} s", number(seconds)))
            }
            Self::JobsPerWorker { jobs, per_worker, workers } => {
                let (jobs, per_worker) = (count(jobs), number(per_worker));
                write!(f, "{jobs} jobs waiting and running at {per_worker} per worker take {}", workers_text(workers))
            }
            Self::KeepUp { busy, wait, workers } => {
                let (busy, wait, workers) = (number(busy), number(wait), workers_text(workers));
                write!(
                    f,
                    "what arrives keeps {busy} busy on average, and must begin within {wait} s, sooner than a worker starts: {workers}"
                )
            }
            Self::Foretold { within, right, of, workers } => {
                let (within, workers) = (number(within), workers_text(workers));
                write!(f, "jobs should come within {within} s, as foretold {right} of the last {of} times: {workers}")
            }
            Self::RateUnknown { jobs } => {
                write!(f, "{} jobs, and the rate is not known yet: one worker will tell", count(jobs))
            }
            Self::AtLeastOne { jobs } => write!(f, "{} jobs take at least one worker", count(jobs)),
            Self::Busy { workers } => write!(f, "workers with jobs in hand: {}", count(u64::from(workers))),
            Self::Passing { ended, workers } => {
                write!(f, "{} jobs done since the last poll keep {}", count(ended), workers_text(workers))
            }
            Self::Idle { seconds, limit } => {
                write!(f, "nothing to do for {} s of {} s", number(seconds), number(limit))
            }
            Self::Empty => write!(f, "nothing to do"),
            Self::MinReplicas { replicas } => write!(f, "minReplicas is {replicas}"),
            Self::Schedule { bound } => write!(f, "{}", scheduled("minReplicas", bound)),
            Self::QueueUnreadable { seconds } => {
                write!(f, "the queue cannot be read for {} s: the number of workers stays", number(seconds))
            }
            Self::StaticReplicas { replicas } => {
                write!(f, "the queue cannot be read: staticReplicas is {replicas}")
            }
            Self::Manual { replicas } => write!(f, "mode is Manual, replicas is {replicas}"),
            Self::Paused => write!(f, "mode is Paused"),
        }
    }
}

/// What keeps the number of workers from being what the reason asks for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames)]
pub enum Limit {
    /// `maxReplicas`.
    MaxReplicas {
        /// How many.
        replicas: u32,
    },
    /// A schedule's ceiling.
    Schedule {
        /// Which, and until when.
        bound: Bound,
    },
    /// The database's connections.
    ConnectionBudget {
        /// Connections in all.
        connections: u32,
        /// Connections of one worker.
        per_worker: u32,
    },
    /// More workers did not get more done.
    Saturated {
        /// So many workers...
        fewer: u32,
        /// ...did so many jobs per second...
        fewer_rate: f64,
        /// ...and so many...
        more: u32,
        /// ...no more than that.
        more_rate: f64,
    },
    /// Fewer workers are tried for a while: they may do as much.
    Probing {
        /// So many workers...
        workers: u32,
        /// ...did so many jobs per second.
        rate: f64,
        /// So many are tried.
        fewer: u32,
    },
    /// The database takes nothing from some workers.
    DatabaseErrors {
        /// How many.
        workers: u32,
        /// Of how many.
        of: u32,
    },
    /// `scaleUp.maxStep` or `scaleDown.maxStep`.
    Step {
        /// How many.
        max_step: u32,
    },
    /// `scaleDown.protectBusy`: workers with jobs in hand stay.
    ProtectBusy {
        /// How many have, or may have.
        busy: u32,
    },
    /// `stabilizationSeconds` are not over.
    Stabilizing {
        /// The window, in seconds.
        seconds: f64,
    },
}

impl Limit {
    /// One word, for metric labels and `reason` fields.
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MaxReplicas { replicas } => write!(f, "maxReplicas is {replicas}"),
            Self::Schedule { bound } => write!(f, "{}", scheduled("maxReplicas", bound)),
            Self::ConnectionBudget { connections, per_worker } => {
                write!(f, "the database has {connections} connections for this, {per_worker} per worker")
            }
            Self::Saturated { fewer, fewer_rate, more, more_rate } => {
                let (fewer, more) = (workers_text(fewer), workers_text(more));
                let (fewer_rate, more_rate) = (number(fewer_rate), number(more_rate));
                write!(f, "the database is saturated ({more} did {more_rate} jobs/s, {fewer} did {fewer_rate}/s)")
            }
            Self::Probing { workers, rate, fewer } => {
                let (workers, fewer, rate) = (workers_text(workers), count(u64::from(fewer)), number(rate));
                write!(f, "seeing whether {fewer} do as much ({workers} did {rate} jobs/s)")
            }
            Self::DatabaseErrors { workers, of } => {
                let (workers, of) = (count(u64::from(workers)), workers_text(of));
                write!(f, "the database takes nothing from {workers} of {of}")
            }
            Self::Step { max_step } => write!(f, "at most {max_step} in one step"),
            Self::ProtectBusy { busy } => write!(f, "busy workers are protected: {}", count(u64::from(busy))),
            Self::Stabilizing { seconds } => write!(f, "the need must last {} s", number(seconds)),
        }
    }
}

fn scheduled(field: &str, bound: Bound) -> String {
    let Bound { schedule, replicas, until } = bound;
    format!("{field} of the schedule {schedule} is {replicas} until {}", until.format("%Y-%m-%d %H:%M %:z"))
}

fn workers_text(workers: u32) -> String {
    if workers == 1 { "1 worker".into() } else { format!("{} workers", count(u64::from(workers))) }
}

/// `8400` as `8,400`.
fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Whole from 10 on, one decimal below, two below 1.
fn number(value: f64) -> String {
    if value >= 9.95 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; saturates when huge")]
        return count(value.round() as u64);
    }
    let text = if value >= 0.95 { format!("{value:.1}") } else { format!("{value:.2}") };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_have_their_numbers() {
        let deadline = Deadline { jobs: 8400, within: 58.0, late: false, have: 2, begun: 4000, rate: 35.0, workers: 4 };
        let drain = Reason::Drain { seconds: 60.0, deadline };
        assert_eq!(
            drain.to_string(),
            "8,400 jobs must begin within 58 s (drainSeconds 60), and 2 workers at 35/s each begin 4,000 of them: 4 workers"
        );
        assert_eq!(drain.name(), "Drain");
        let idle = Reason::Idle { seconds: 1.04, limit: 120.0 };
        assert_eq!(idle.to_string(), "nothing to do for 1 s of 120 s");
        assert_eq!(Limit::Stabilizing { seconds: 60.0 }.to_string(), "the need must last 60 s");
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.004, 0.25, 0.951, 1.0, 9.94, 9.96, 1234.5, 1e18].map(number);
        assert_eq!(texts, ["0", "0", "0.25", "1", "1", "9.9", "10", "1,235", "1,000,000,000,000,000,000"]);
    }
}
