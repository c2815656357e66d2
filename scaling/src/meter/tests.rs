//! What rates come of which counters.

use super::*;
use crate::JobVariation;

fn sample(now: f64, waiting: u64, running: u64, completed: &[u64]) -> Sample<'static> {
    let worker = |(name, completed): (&'static str, &u64)| {
        (name, WorkerCounters { completed: *completed, busy: true, ..WorkerCounters::default() })
    };
    Sample { now, waiting, running, workers: ["w0", "w1"].into_iter().zip(completed).map(worker).collect() }
}

fn close(value: Option<f64>, expected: f64) {
    let value = value.expect("measured");
    assert!((value - expected).abs() < expected * 0.01, "{value} is not {expected}");
}

#[test]
fn measures_what_one_busy_worker_does() {
    let mut meter = Meter::default();
    assert_eq!(meter.sample(sample(0.0, 1000, 2, &[0, 0])).per_worker, None);
    let rates = meter.sample(sample(1.0, 880, 2, &[70, 50]));
    close(rates.per_worker.map(|rate| rate.jobs_per_second), 60.0);
    close(rates.per_worker.map(|rate| rate.completions), 120.0);
    close(rates.completions_per_second, 120.0);
    assert_eq!(rates.arrivals_per_second, Some(0.0));
}

#[test]
fn sees_arrivals_behind_completions() {
    let mut meter = Meter::default();
    let _ = meter.sample(sample(0.0, 100, 1, &[0]));
    close(meter.sample(sample(2.0, 140, 1, &[20])).arrivals_per_second, 30.0);
}

#[test]
fn jobs_that_no_poll_saw_are_counted() {
    let mut meter = Meter::default();
    let _ = meter.sample(sample(0.0, 0, 0, &[7, 9]));
    assert_eq!(meter.sample(sample(0.25, 0, 0, &[107, 109])).ended, 200);
    assert_eq!(meter.sample(sample(0.5, 0, 0, &[107, 109])).ended, 0);
    assert_eq!(meter.sample(sample(0.75, 0, 0, &[108, 109])).ended, 1);
    assert_eq!(meter.miss().ended, 0);
}

#[test]
fn unsaturated_times_count_only_until_something_better_is_known() {
    let mut meter = Meter::default();
    let _ = meter.sample(sample(0.0, 0, 1, &[0]));
    let rate = |rates: Rates| rates.per_worker.map(|rate| rate.jobs_per_second);
    close(rate(meter.sample(sample(1.0, 0, 1, &[5]))), 5.0);
    let _ = meter.sample(sample(2.0, 500, 1, &[6]));
    close(rate(meter.sample(sample(3.0, 400, 1, &[106]))), 100.0);
    let _ = meter.sample(sample(4.0, 0, 1, &[107]));
    close(rate(meter.sample(sample(5.0, 0, 1, &[108]))), 100.0);
}

#[test]
fn a_trickle_of_short_jobs_keeps_a_worker_busy_for_as_long_as_it_says() {
    let mut meter = Meter::default();
    let mut rates = Rates::default();
    for poll in 0..100_u32 {
        let (completed, worked_seconds) = (u64::from(poll), f64::from(poll) / 1000.0);
        let worker = WorkerCounters { completed, worked_seconds, ..WorkerCounters::default() };
        let workers = vec![("w", worker)];
        rates = meter.sample(Sample { now: f64::from(poll) / 4.0, waiting: 0, running: 0, workers });
    }
    close(rates.per_worker.map(|rate| rate.jobs_per_second), 1000.0);
    close(rates.arrivals_per_second, 4.0);
}

#[test]
fn sees_how_unlike_each_other_jobs_are() {
    // Every fourth job takes three seconds, the others a third of one: the mean is 1, the variance 4/3.
    let seconds = |job: u64| if job.is_multiple_of(4) { 3.0 } else { 1.0 / 3.0 };
    for at_once in [1, 4] {
        let (mut meter, mut rates) = (Meter::default(), Rates::default());
        let (mut completed, mut worked_seconds) = (0, 0.0);
        for poll in 0..400_u32 {
            // Portions of four are all alike: that says nothing else than that jobs differ less than they do.
            for _ in 0..at_once {
                worked_seconds += seconds(completed);
                completed += 1;
            }
            let worker = WorkerCounters { completed, busy: true, worked_seconds, ..WorkerCounters::default() };
            let workers = vec![("w", worker)];
            rates = meter.sample(Sample { now: f64::from(poll) * 4.0, waiting: 9, running: 1, workers });
        }
        let JobVariation { squared, samples } = rates.job_variation.expect("measured");
        let expected = if at_once == 1 { 4.0 / 3.0 } else { 0.0 };
        assert!((squared - expected).abs() < 0.05 && samples > 100.0, "{at_once}: {squared} {samples}");
    }
    let mut silent = Meter::default();
    let _ = silent.sample(sample(0.0, 9, 1, &[0]));
    assert_eq!(silent.sample(sample(1.0, 9, 1, &[5])).job_variation, None);
}

#[test]
fn single_jobs_are_followed_from_age_to_age() {
    let mut meter = Meter::default();
    let mut poll = |now: f64, waiting, completed, worked_seconds, busy| {
        let worker = WorkerCounters { completed, busy, worked_seconds, ..WorkerCounters::default() };
        let workers = vec![("w", worker)];
        meter.sample(Sample { now, waiting, running: 1, workers }).lives
    };
    // Nobody has said yet how long jobs take.
    assert!([poll(0.0, 9, 0, 0.0, true), poll(1.0, 9, 0, 0.0, true)].iter().all(LifeTable::is_empty));
    let _ = poll(2.0, 9, 1, 1.75, true);
    let mut all = LifeTable::default();
    // Three seconds of the second job, which takes 3.5; then two of half a second, and one that never ends.
    for (step, (completed, worked)) in
        [(1, 1.75), (1, 1.75), (1, 1.75), (2, 5.25), (4, 6.25), (4, 6.25)].iter().enumerate()
    {
        let lives = poll(3.0 + step as f64, 9, *completed, *worked, true);
        for age in 0..crate::life_table::AGES {
            all.seconds[age] += lives.seconds[age];
            all.ended[age] += lives.ended[age];
        }
    }
    assert!((all.seconds() - (3.5 + 2.0 * 0.5 + 1.0)).abs() < 1e-5, "{all:?}");
    let mut expected = LifeTable::default();
    expected.end(1, 3.5);
    expected.end(2, 0.5);
    assert_eq!(all.ended, expected.ended);
    assert!(poll(9.0, 0, 4, 6.25, true).is_empty());
}

#[test]
fn follows_a_change_of_rate_and_keeps_slow_completions() {
    let mut meter = Meter::default();
    let mut done = 0;
    let mut last = None;
    for second in 0..400_u32 {
        done += if second < 200 { 100 } else { 10 };
        last = meter.sample(sample(f64::from(second), 10_000, 1, &[done])).per_worker;
    }
    let rate = last.expect("measured").jobs_per_second;
    assert!((rate - 10.0).abs() < 1.0, "{rate}");
    // One job in 20 s: the window holds one or two, but thirty are kept.
    let mut slow = Meter::default();
    for second in 0..2000_u32 {
        last = slow.sample(sample(f64::from(second), 100, 1, &[u64::from(second / 20)])).per_worker;
    }
    let last = last.expect("measured");
    assert!(last.completions > 25.0, "{last:?}");
    assert!((last.jobs_per_second - 0.05).abs() < 0.005, "{last:?}");
}

/// One worker, at a job for `age` seconds by its own account.
fn aged(now: f64, completed: u64, age: f64) -> Sample<'static> {
    let mut sample = sample(now, 9, 1, &[completed]);
    sample.workers[0].1.age = Some(age);
    sample
}

#[test]
fn a_job_is_as_old_as_its_worker_says() {
    let since = |meter: &Meter| meter.last.as_ref().map(|last| last.workers[0].1.since);
    let mut meter = Meter::default();
    // Nobody watched when it began, and none has ended: it takes as long as it has run at least.
    let rate = |rates: Rates| rates.per_worker.map(|rate| rate.jobs_per_second);
    close(rate(meter.sample(aged(1000.0, 0, 600.0))), 1.0 / 600.0);
    close(rate(meter.sample(aged(1010.0, 0, 610.0))), 1.0 / 610.0);
    assert_eq!(since(&meter), Some(400.0));
    // It ended, and the next one is a second old.
    close(meter.sample(aged(1012.0, 1, 1.0)).per_worker.map(|rate| 1.0 / rate.jobs_per_second), 611.0);
    assert_eq!(since(&meter), Some(1011.0));
    // By a clock that is off, or an account that is late, it would be older than can be.
    let _ = meter.sample(aged(1014.0, 2, 500.0));
    assert_eq!(since(&meter), Some(1012.0));
    let _ = meter.sample(aged(1016.0, 3, -3.0));
    assert_eq!(since(&meter), Some(1016.0));
}

#[test]
fn time_is_counted_once_where_jobs_are_seen_to_begin_between_the_polls() {
    // A job takes 1.5 s, and a poll sees the next one half a second or a second old.
    let (mut meter, mut rates) = (Meter::default(), Rates::default());
    for poll in 0..200_u32 {
        let now = f64::from(poll) * 2.0;
        rates = meter.sample(aged(now, u64::from(poll) * 4 / 3, now % 1.5));
    }
    close(rates.per_worker.map(|rate| 1.0 / rate.jobs_per_second), 1.5);
}

#[test]
fn what_workers_did_before_counts_until_something_is_seen() {
    let mut meter = Meter::default();
    let names: Vec<String> = (0..100).map(|number| format!("w{number:02}")).collect();
    let counters = WorkerCounters {
        completed: 36_000,
        busy: true,
        worked_seconds: 3600.0,
        age: Some(0.05),
        ..WorkerCounters::default()
    };
    let workers = names.iter().map(|name| (name.as_str(), counters)).collect();
    let mut first = Sample { now: 0.0, waiting: 100, running: 100, workers };
    // One of them hangs: that makes the others no slower.
    first.workers[7].1.age = Some(1000.0);
    let rate = meter.sample(first.clone()).per_worker.expect("known").jobs_per_second;
    assert!((7.0..10.0).contains(&rate), "{rate}");
    for (second, (_, worker)) in first.workers.iter_mut().enumerate() {
        (worker.completed, worker.worked_seconds, worker.age) = (36_002, 3600.0 + second as f64 / 50.0, Some(0.0));
    }
    let rate = meter.sample(Sample { now: 1.0, ..first }).per_worker.expect("known").jobs_per_second;
    assert!((rate - 2.0).abs() < 0.2, "{rate}");
    // A single job that took longer than is remembered is remembered whole.
    let mut long = sample(0.0, 0, 0, &[2]);
    long.workers[0].1.worked_seconds = 7200.0;
    close(Meter::default().sample(long).per_worker.map(|rate| 1.0 / rate.jobs_per_second), 3600.0);
}

#[test]
fn workers_that_come_and_go_are_told_apart_by_their_names() {
    let poll = |now: f64, completed: &[(&'static str, u64)]| {
        let counters = |completed| WorkerCounters { completed, busy: true, ..WorkerCounters::default() };
        let workers = completed.iter().map(|(name, completed)| (*name, counters(*completed))).collect();
        Sample { now, waiting: 9, running: 2, workers }
    };
    let mut meter = Meter::default();
    let _ = meter.sample(poll(0.0, &[("b", 100), ("d", 7)]));
    assert_eq!(meter.sample(poll(1.0, &[("d", 9), ("c", 50), ("b", 103)])).ended, 5);
    assert_eq!(meter.sample(poll(2.0, &[("a", 1000), ("b", 103), ("c", 54)])).ended, 4);
    assert_eq!(meter.sample(poll(3.0, &[("c", 60)])).ended, 6);
}

#[test]
fn restarts_gaps_and_backward_clocks_are_harmless() {
    let mut meter = Meter::default();
    let _ = meter.sample(sample(0.0, 100, 1, &[50]));
    close(meter.sample(sample(1.0, 95, 1, &[5])).completions_per_second, 5.0);
    let known = |rates: Rates| (rates.per_worker, rates.arrivals_per_second, rates.completions_per_second);
    let before = known(meter.sample(sample(2.0, 90, 1, &[10])));
    assert_eq!(known(meter.sample(sample(-500.0, 90, 1, &[10_000]))), before);
    assert_eq!(known(meter.sample(sample(90_000.0, 90, 1, &[20_000]))), before);
    assert_eq!(known(meter.miss()), before);
    assert_eq!(known(meter.sample(sample(90_001.0, 90, 1, &[30_000]))), before);
}
