//! What is decided, told as stories: one line per observation, with the replicas and the sentence that follow.

use jobqueue_scaling::{
    Backlog, ConnectionBudget, Memory, Mode, Observation, OnQueueFailure, Policy, Ramp, Targets, WorkerRate, Workers,
    decide,
};

/// A queue and its workers, which come and go at once as decided.
struct Story {
    policy: Policy,
    memory: Memory,
    seen: Observation,
}

impl Story {
    fn new(policy: Policy) -> Self {
        let nothing = Backlog::default();
        let seen = Observation { backlog: Some(nothing), ..Observation::default() };
        Self { policy, memory: Memory::default(), seen }
    }

    /// At `now` so many wait and run; the workers asked for so far are ready, and `busy` as far as there are jobs.
    fn at(&mut self, now: f64, waiting: u64, running: u64) -> (u32, String) {
        self.seen.now = now;
        self.seen.backlog = Some(Backlog { waiting, running, oldest_wait_seconds: None });
        self.seen.workers.ready = self.seen.workers.desired;
        self.seen.workers.busy = u32::try_from(running).unwrap_or(u32::MAX).min(self.seen.workers.desired);
        self.decide()
    }

    fn decide(&mut self) -> (u32, String) {
        let (decision, memory) = decide(&self.policy, &self.seen, &self.memory);
        self.memory = memory;
        self.seen.workers.desired = decision.replicas;
        (decision.replicas, decision.to_string())
    }

    fn rate(&mut self, jobs_per_second: f64, completions: f64) {
        self.seen.rates.per_worker = Some(WorkerRate { jobs_per_second, completions });
    }
}

fn targets(policy: Targets) -> Policy {
    Policy { targets: policy, max_replicas: 100, ..Policy::default() }
}

fn says((replicas_told, told): (u32, String), replicas: u32, sentence: &str) {
    assert_eq!((replicas_told, told), (replicas, sentence.to_owned()));
}

#[test]
fn a_burst_is_answered_at_once_and_idle_workers_go_after_a_while() {
    let per_worker = Targets { jobs_per_worker: Some(50.0), ..Targets::default() };
    let scale_down = Ramp { max_step: None, stabilization_seconds: Some(60.0) };
    let mut story = Story::new(Policy { scale_down, idle_seconds: Some(120.0), ..targets(per_worker) });
    says(story.at(0.0, 0, 0), 0, "nothing to do");
    says(story.at(0.25, 1000, 0), 20, "1,000 jobs waiting and running at 50 per worker take 20 workers");
    says(story.at(10.0, 480, 20), 20, "workers with jobs in hand: 20");
    says(story.at(20.0, 0, 3), 20, "workers with jobs in hand: 3; the need must last 60 s, otherwise 3");
    says(story.at(30.0, 0, 0), 20, "nothing to do for 0 s of 120 s; the need must last 60 s, otherwise 1");
    for second in 31..71 {
        assert_eq!(story.at(f64::from(second), 0, 0).0, 20);
    }
    says(story.at(75.0, 0, 0), 3, "nothing to do for 45 s of 120 s; the need must last 60 s, otherwise 1");
    for second in 76..150 {
        assert!(story.at(f64::from(second), 0, 0).0 >= 1);
    }
    // The two holds do not add up.
    says(story.at(150.0, 0, 0), 0, "nothing to do");
}

#[test]
fn without_settings_idle_workers_stay_about_as_long_as_they_take_to_start() {
    let per_worker = Targets { jobs_per_worker: Some(50.0), ..Targets::default() };
    let mut story = Story::new(targets(per_worker));
    says(story.at(0.0, 1000, 0), 20, "1,000 jobs waiting and running at 50 per worker take 20 workers");
    let mut gone = Vec::new();
    for poll in 1..80_u32 {
        let (replicas, _) = story.at(f64::from(poll) / 4.0, 0, if poll < 40 { 3 } else { 0 });
        if gone.last().is_none_or(|(_, last)| *last != replicas) {
            gone.push((f64::from(poll) / 4.0, replicas));
        }
    }
    // They were ready at the next poll, and no start counts as shorter than a second: the shortest hold is two.
    assert_eq!(gone, [(0.25, 20), (2.25, 3), (12.0, 0)]);
}

#[test]
fn bursts_that_are_over_before_the_next_poll_keep_their_workers() {
    let per_worker = Targets { jobs_per_worker: Some(100.0), ..Targets::default() };
    let scale_down = Ramp { max_step: None, stabilization_seconds: Some(6.0) };
    let mut story = Story::new(Policy { scale_down, idle_seconds: Some(0.0), ..targets(per_worker) });
    // The first burst finds no worker and is seen waiting; all others are done in a moment.
    says(story.at(0.0, 300, 0), 3, "300 jobs waiting and running at 100 per worker take 3 workers");
    for poll in 1..80_u32 {
        story.seen.rates.ended = if poll % 4 == 0 { 290 } else { 0 };
        let (replicas, sentence) = story.at(f64::from(poll) / 4.0, 0, 0);
        assert_eq!(replicas, 3, "poll {poll}: {sentence}");
    }
    story.seen.rates.ended = 290;
    says(story.at(20.0, 0, 0), 3, "290 jobs done since the last poll keep 3 workers");
    // A trickle keeps one worker, once the bursts are over for the window.
    story.seen.rates.ended = 1;
    says(story.at(20.5, 0, 0), 3, "1 jobs done since the last poll keep 1 worker; the need must last 6 s, otherwise 1");
    for poll in 0..40_u32 {
        let _ = story.at(21.0 + f64::from(poll) / 4.0, 0, 0);
    }
    says(story.at(31.0, 0, 0), 1, "1 jobs done since the last poll keep 1 worker");
    story.seen.rates.ended = 0;
    for poll in 0..40_u32 {
        let _ = story.at(31.25 + f64::from(poll) / 4.0, 0, 0);
    }
    assert_eq!(story.at(42.0, 0, 0).0, 0);
}

#[test]
fn a_measured_rate_says_how_many_end_the_backlog_in_time() {
    let drain = Targets { drain_seconds: Some(60.0), ..Targets::default() };
    let mut story = Story::new(targets(drain));
    says(story.at(0.0, 50_400, 0), 1, "50,400 jobs, and the rate is not known yet: one worker will tell");
    story.rate(210.0, 3.0);
    says(
        story.at(0.5, 50_399, 1),
        5,
        "50,399 jobs must begin within 59 s (drainSeconds 60), and 1 worker at 210/s each begin 12,382 of them: 5 workers",
    );
    // What arrives has deadlines of its own; what there is is on its way.
    story.seen.rates.arrivals_per_second = Some(420.0);
    says(
        story.at(1.0, 50_396, 4),
        5,
        "50,396 jobs must begin within 59 s (drainSeconds 60), and 5 workers at 210/s each begin them in time: 5 workers",
    );
}

#[test]
fn whoever_is_busy_has_started_whatever_kubernetes_says() {
    let mut story = Story::new(targets(Targets { max_wait_seconds: Some(60.0), ..Targets::default() }));
    story.rate(1.0, 100.0);
    says(story.at(0.0, 0, 0), 0, "nothing to do");
    let _ = story.at(0.25, 300, 0);
    let asked = story.seen.workers.desired;
    assert!(asked > 1, "{asked}");
    // They are busy after two seconds, and reported ready after ten: idle ones stay for two.
    for poll in 2..48_u32 {
        let now = f64::from(poll) / 4.0;
        let workers = Workers {
            desired: asked,
            ready: if now < 10.0 { 0 } else { asked },
            busy: if now < 2.0 { 0 } else { asked },
        };
        story.seen = Observation { now, workers, ..story.seen };
        story.seen.backlog =
            Some(Backlog { waiting: 300 - 5 * u64::from(poll), running: asked.into(), oldest_wait_seconds: None });
        let _ = story.decide();
        story.seen.workers.desired = asked;
    }
    assert_eq!(story.at(12.0, 0, 1).0, asked);
    assert_eq!(story.at(14.5, 0, 1).0, 1);
}

#[test]
fn jobs_that_have_only_begun_send_nobody_away() {
    let per_worker = Targets { jobs_per_worker: Some(4.0), ..Targets::default() };
    let scale_down = Ramp { max_step: None, stabilization_seconds: Some(0.0) };
    let mut story = Story::new(Policy { scale_down, ..targets(per_worker) });
    says(story.at(0.0, 40, 0), 10, "40 jobs waiting and running at 4 per worker take 10 workers");
    // The first job began a fifth of a second ago: five a second at most.
    story.rate(5.0, 0.0);
    says(story.at(1.0, 39, 1), 10, "40 jobs waiting and running at 4 per worker take 10 workers");
    // One has ended: the others are eight seconds of work, and a worker starts within one.
    story.rate(5.0, 1.0);
    says(story.at(1.25, 38, 1), 8, "39 jobs waiting and running at 4 per worker take 8 workers");
}

#[test]
fn arrivals_alone_keep_workers_only_where_a_target_is_shorter_than_a_start() {
    let busy = |wait: f64| {
        let mut story = Story::new(targets(Targets { max_wait_seconds: Some(wait), ..Targets::default() }));
        story.rate(1.0, 1000.0);
        story.seen.workers.desired = 30;
        story.seen.workers.ready = 30;
        // Of sixteen that take a second, four end in each poll, and as many come.
        story.seen.rates.ended = 4;
        let mut told = (0, String::new());
        for poll in 0..4_000_u32 {
            told = story.at(f64::from(poll) / 4.0, 0, 16);
        }
        told
    };
    says(busy(30.0), 16, "workers with jobs in hand: 16");
    // Erlang's formula: with 20 workers, 3.5 of 100 jobs wait longer than half a second.
    says(
        busy(0.5),
        20,
        "what arrives keeps 16 busy on average, and must begin within 0.5 s, sooner than a worker starts: 20 workers",
    );
}

#[test]
fn jobs_that_are_late_begin_soon_without_a_panic() {
    let wait = Targets { max_wait_seconds: Some(30.0), ..Targets::default() };
    let mut story = Story::new(targets(wait));
    story.rate(1.0, 1000.0);
    says(
        story.at(0.0, 90, 0),
        4,
        "90 jobs must begin within 30 s (maxWaitSeconds 30), and a worker does 1/s: 4 workers",
    );
    let mut late = Story::new(targets(wait));
    late.rate(1.0, 1000.0);
    (late.seen.workers.desired, late.seen.workers.ready, late.seen.workers.busy) = (3, 3, 3);
    late.seen.backlog = Some(Backlog { waiting: 90, running: 3, oldest_wait_seconds: Some(31.0) });
    says(
        late.decide(),
        10,
        "33 jobs must begin within 6.8 s (maxWaitSeconds 30), and 3 workers at 1/s each begin 15 of them: 10 workers",
    );
}

#[test]
fn each_cap_says_what_would_be_without_it() {
    let per_worker = Targets { jobs_per_worker: Some(10.0), ..Targets::default() };
    let connections = Some(ConnectionBudget { connections: 50, per_worker: 4 });
    let mut story = Story::new(Policy { max_replicas: 20, connections, ..targets(per_worker) });
    story.policy.max_replicas = 20;
    says(
        story.at(0.0, 1000, 0),
        12,
        "1,000 jobs waiting and running at 10 per worker take 100 workers; maxReplicas is 20, otherwise 12; the \
         database has 50 connections for this, 4 per worker, otherwise 20",
    );
}

#[test]
fn steps_are_taken_one_after_another() {
    let per_worker = Targets { jobs_per_worker: Some(1.0), ..Targets::default() };
    let step = |max_step| Ramp { max_step: Some(max_step), stabilization_seconds: Some(0.0) };
    let mut story = Story::new(Policy { scale_up: step(8), scale_down: step(5), ..targets(per_worker) });
    let up: Vec<u32> = (0..5).map(|half| story.at(f64::from(half) / 2.0, 20, 0).0).collect();
    assert_eq!(up, [8, 8, 16, 16, 20]);
    let down: Vec<u32> = (0..5).map(|five| story.at(5.0 + 5.0 * f64::from(five), 2, 0).0).collect();
    assert_eq!(down, [15, 15, 10, 10, 5]);
}

#[test]
fn growth_that_must_last_waits_for_it() {
    let per_worker = Targets { jobs_per_worker: Some(1.0), ..Targets::default() };
    let scale_up = Ramp { max_step: None, stabilization_seconds: Some(10.0) };
    let mut story = Story::new(Policy { scale_up, ..targets(per_worker) });
    says(
        story.at(0.0, 4, 0),
        0,
        "4 jobs waiting and running at 1 per worker take 4 workers; the need must last 10 s, otherwise 4",
    );
    assert_eq!(story.at(5.0, 9, 0).0, 0);
    assert_eq!(story.at(10.0, 9, 0).0, 4);
    assert_eq!(story.at(15.5, 9, 0).0, 9);
}

#[test]
fn an_unreadable_queue_never_costs_a_worker() {
    let per_worker = Targets { jobs_per_worker: Some(1.0), ..Targets::default() };
    let mut story = Story::new(targets(per_worker));
    assert_eq!(story.at(0.0, 5, 0).0, 5);
    story.seen.backlog = None;
    story.seen.now = 1.0;
    says(story.decide(), 5, "the queue cannot be read for 0 s: the number of workers stays");
    story.policy.on_queue_failure = OnQueueFailure::Static { replicas: 8 };
    story.seen.now = 5.0;
    says(story.decide(), 5, "the queue cannot be read for 4 s: the number of workers stays");
    story.seen.now = 6.0;
    says(story.decide(), 8, "the queue cannot be read: staticReplicas is 8");
    story.policy.on_queue_failure = OnQueueFailure::Static { replicas: 2 };
    assert_eq!(story.decide().0, 8);
    // What was recommended before the outage is no reason to shrink after it.
    assert_eq!(story.at(600.0, 0, 0).0, 8);
}

#[test]
fn a_person_decides_in_manual_and_nobody_in_paused() {
    let mut story = Story::new(targets(Targets::default()));
    story.policy.mode = Mode::Manual { replicas: 7 };
    says(story.at(0.0, 0, 0), 7, "mode is Manual, replicas is 7");
    story.policy.mode = Mode::Paused;
    says(story.at(1.0, 100_000, 0), 7, "mode is Paused");
}

#[test]
fn due_work_of_a_dead_worker_wakes_one() {
    let mut story = Story::new(targets(Targets { drain_seconds: Some(60.0), ..Targets::default() }));
    story.rate(100.0, 1000.0);
    says(story.at(0.0, 0, 1), 1, "1 jobs take at least one worker");
}

#[test]
fn a_budget_used_up_by_others_does_not_stop_the_last_worker_at_work() {
    let connections = Some(ConnectionBudget { connections: 2, per_worker: 4 });
    let mut story = Story::new(Policy { connections, ..targets(Targets::default()) });
    assert_eq!(story.at(0.0, 10, 0).0, 0);
    story.seen.workers.desired = 3;
    assert_eq!(story.at(1.0, 10, 2).0, 1);
    assert_eq!(story.at(200.0, 0, 0).0, 0);
}
