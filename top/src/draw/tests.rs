//! Drawings, on a terminal in memory.

use chrono::TimeDelta;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jobqueue_crds::JobQueue;
use jobqueue_crds::explanation::explain;
use jobqueue_inspect::samples::Sample;
use jobqueue_inspect::source::{Numbers, Overview, QueueKey, QueueView, Row, Standing};
use jobqueue_inspect::survey::Survey;
use jobqueue_inspect::workers::Worker;
use jobqueue_queue::admin::Failure;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use serde_json::json;
use std::sync::Arc;

use super::*;
use crate::load::Loaded;
use crate::state::{CauseData, Need, QueueData};

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

fn row(name: &str, standing: Standing, numbers: Numbers) -> Row {
    let key = QueueKey { namespace: "local".into(), name: name.into() };
    Row { key, standing, reason: format!("Because of {name}"), message: "A sentence".into(), numbers }
}

fn rows() -> Vec<Row> {
    let busy = Numbers {
        waiting: 1_234_567,
        running: 16,
        failed: 52,
        oldest_wait: Some(700),
        arrivals: Some(12.25),
        completions: Some(1_100.0),
        workers: 3,
        desired: Some(4),
        ..Numbers::default()
    };
    vec![row("broken", Standing::Stalled, busy), row("calm\u{1b}[31m\u{202e}", Standing::Fine, Numbers::default())]
}

/// Draws, and takes note of what fits, as the program does.
fn drawn(state: &mut State, theme: Theme, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
    loop {
        let mut fitted = None;
        terminal.draw(|frame| fitted = Some(draw(state, theme, NOW, frame))).expect("drawn");
        if !state.fit(fitted.expect("drawn")) {
            return terminal;
        }
    }
}

fn shown(state: &mut State, width: u16, height: u16) -> String {
    drawn(state, Theme { colour: false }, width, height).backend().to_string()
}

fn press(state: &mut State, code: KeyCode) {
    state.press(KeyEvent::new(code, KeyModifiers::NONE));
}

fn list() -> State {
    let mut state = State::new("redis:6379".into());
    shown(&mut state, 80, 24);
    let totals = Numbers { waiting: 1_234_567, failed: 52, ..Numbers::default() };
    let overview = Overview { rows: rows(), total: 2, matching: 2, troubled: [1, 0, 0, 0], totals, problem: None };
    state.take(&state.need(), Loaded::Queues(overview));
    state
}

fn explained() -> JobQueue {
    serde_json::from_value(json!({
        "apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue", "metadata": {"name": "broken", "namespace": "local"},
        "spec": {"queue": {"names": ["q"], "redis": {"url": "redis://redis"}}},
        "status": {"decision": {"wanted": 4, "reason": "Backlog", "message": "40 jobs at 10 per worker take 4 workers",
                "candidates": [{"reason": "Backlog", "workers": 4, "message": "10 per worker"}],
                "limits": [{"reason": "MaxReplicas", "without": 9, "message": "maxReplicas is 4"}]},
            "conditions": [{"type": "Stalled", "status": "True", "reason": "SecretNotFound", "message": "no Secret redis",
                "lastTransitionTime": "2026-03-01T12:00:00Z"}]},
    }))
    .expect("a JobQueue")
}

fn survey() -> Survey {
    let mut survey = Survey::default();
    (survey.total, survey.finished) = (52, true);
    for index in 0..52 {
        let error = if index < 40 { format!("n is {index}") } else { "the name is missing".to_owned() };
        let failed_at = Some(NOW - TimeDelta::minutes(i64::from(index)));
        let failure = Failure { id: format!("job-{index}"), error, failed_at, function: Some("shop.parse".into()) };
        survey.add(0, failure, NOW);
    }
    survey
}

fn queue_data(survey: Option<Survey>) -> QueueData {
    let numbers = rows()[0].numbers;
    let samples = (0..120_u64)
        .map(|at| Sample::new(i64::try_from(at).expect("small") * 5, &Numbers { waiting: at % 40, ..numbers }));
    let queue = explained();
    let view = QueueView {
        row: rows().remove(0),
        spec: Some(queue.spec.clone()),
        explanation: Some(explain(queue)),
        pods: Vec::new(),
        notes: Vec::new(),
        samples: samples.collect(),
    };
    let worker = Worker {
        name: "worker-1".into(),
        host: "pod-1".into(),
        state: "busy".into(),
        draining: false,
        running: 3,
        job: Some("job-77".into()),
        description: Some("shop.parse('x')".into()),
        busy_for: Some(9),
        succeeded: 400,
        failed: 2,
        silent_for: Some(1),
    };
    let leaving = Worker { name: "worker-2".into(), draining: true, job: None, running: 0, ..worker.clone() };
    let survey = survey.map(|survey| Ok(Arc::new(survey)));
    QueueData { view, workers: vec![worker, leaving], workers_problem: None, survey }
}

fn queue(tab: char) -> State {
    let mut state = list();
    shown(&mut state, 80, 24);
    press(&mut state, KeyCode::Enter);
    press(&mut state, KeyCode::Char(tab));
    let data = queue_data((tab == '2').then(survey));
    state.take(&state.need(), Loaded::Queue(Box::new(Ok(data))));
    state
}

fn cause() -> State {
    let mut state = queue('2');
    shown(&mut state, 80, 24);
    press(&mut state, KeyCode::Enter);
    shown(&mut state, 80, 24);
    let Need::Cause { skip, count, .. } = state.need() else { panic!("no cause is open") };
    let survey = Arc::new(survey());
    let job = |at: usize| {
        let id = format!("job-{at}");
        ("q".to_owned(), Failure { id, error: format!("n is {at}"), failed_at: Some(NOW), function: None })
    };
    let jobs = (skip..40).take(count).map(job).collect();
    state.take(&state.need(), Loaded::Cause(Box::new(Ok(CauseData { survey, jobs, skip }))));
    state
}

fn has(page: &str, words: &[&str]) {
    for word in words {
        assert!(page.contains(word), "no {word:?} in\n{page}");
    }
}

#[test]
fn the_list_has_names_states_numbers_and_sums() {
    let page = shown(&mut list(), 80, 24);
    has(&page, &["2 queues: 1 stalled", "Waiting 1,234,567", "Sorted by trouble", "redis:6379"]);
    has(&page, &["QUEUE", "STATE", "WORKERS", "WAITING", "OLDEST", "OUT/S", "FAILED"]);
    has(&page, &["broken", "Stalled", "3/4", "1,234k", "11 min", "1,100", "52"]);
    has(&page, &["broken: Because of broken. A sentence", "q quit"]);
    // What others wrote does not reach the terminal as it is.
    has(&page, &["calm\\u{1b}[31m\\u{"]);
    let page = shown(&mut list(), 160, 24);
    has(&page, &["RUNNING", "IN/S", "12.2", "REASON"]);
}

#[test]
fn without_an_answer_nothing_is_said_of_how_many_queues_there_are() {
    let mut state = State::new("redis".into());
    has(&shown(&mut state, 80, 24), &["Reading…"]);
    state.take(&state.need(), Loaded::Queues(Overview::default()));
    has(&shown(&mut state, 80, 24), &["Reading…"]);
    state.is_answered = true;
    has(&shown(&mut state, 80, 24), &["0 queues: "]);
    let problem = Some("Your account lacks the rights".to_owned());
    state.take(&state.need(), Loaded::Queues(Overview { problem, ..Overview::default() }));
    let page = shown(&mut state, 80, 24);
    has(&page, &["Your account lacks the rights"]);
    assert!(!page.contains("0 queues"), "{page}");
}

#[test]
fn the_page_of_a_queue_says_why_and_what_to_do() {
    let page = shown(&mut queue('1'), 80, 24);
    has(
        &page,
        &[
            "JobQueue > broken",
            "Stalled  Because of broken. A sentence",
            "40 jobs at 10 per worker take 4 workers",
            "To do: ",
        ],
    );
    has(&page, &["Workers 3 of 4", "Waiting 1,234,567", "Oldest wait 11 min", "Arrive 12.2/s", "End 1,100/s"]);
    has(&page, &["Backlog", "▂", "█", "most 55 in 3 min"]);
    has(&page, &["1 Workers 2", "2 Failed 52", "3 Why 1"]);
    has(&page, &["worker-1", "busy", "job-77 and 2 more", "9 s", "400", "draining", "pod-1", "shop.parse('x')"]);
}

#[test]
fn failed_jobs_are_shown_by_cause_and_one_by_one() {
    let page = shown(&mut queue('2'), 80, 24);
    has(&page, &["52 jobs of 2 causes.", "JOBS", "LAST HOUR", "such as: n is 0", "the name is missing", "40", "12"]);
    let mut state = queue('2');
    if let Some(Ok(QueueData { survey: Some(Ok(survey)), .. })) =
        state.queue.as_mut().and_then(|queue| queue.data.as_mut())
    {
        Arc::make_mut(survey).total = 1_000_000;
    }
    has(&shown(&mut state, 80, 24), &["Causes of the newest 52 of 1,000,000 jobs.", "≥40"]);
    let mut state = cause();
    let page = shown(&mut state, 80, 24);
    has(&page, &["> one cause", "such as: n is 0", "40 jobs of shop.parse, the newest 0 s ago", "job-0", "n is 3"]);
    press(&mut state, KeyCode::End);
    let Need::Cause { skip, count, .. } = state.need() else { panic!("no cause is open") };
    assert_eq!((skip + count, skip > 0), (40, true), "the last page is asked for");
}

#[test]
fn why_can_be_read_to_its_end() {
    let mut state = queue('3');
    let page = shown(&mut state, 80, 24);
    has(&page, &["The number of workers", "What each target asks for", "Backlog: 4. 10 per worker", "Limits in force"]);
    press(&mut state, KeyCode::End);
    let page = shown(&mut state, 80, 24);
    has(&page, &["Targets and limits"]);
    assert!(!page.contains("What each target asks for"), "{page}");
}

#[test]
fn the_help_names_every_key() {
    let mut state = list();
    press(&mut state, KeyCode::Char('?'));
    let page = shown(&mut state, 80, 24);
    has(&page, &["Enter", "Esc", "Ctrl-Z", "T trouble", "F failed jobs", "any key closes this page"]);
}

#[test]
fn a_filter_is_shown_while_it_is_typed() {
    let mut state = list();
    for key in "/or\u{202e}".chars() {
        press(&mut state, KeyCode::Char(key));
    }
    has(&shown(&mut state, 80, 24), &["/or\\u{202e}   Enter keeps the filter"]);
}

#[test]
fn colours_are_left_out_where_nobody_wants_them() {
    for page in [list, || queue('1'), || queue('2'), || queue('3'), cause] {
        let colours = |colour| {
            let terminal = drawn(&mut page(), Theme { colour }, 80, 24);
            let cells = terminal.backend().buffer().content.clone();
            cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
        };
        assert_eq!((colours(true), colours(false)), (true, false));
    }
}

#[test]
fn a_narrow_terminal_shows_numbers_beside_long_names() {
    let mut state = list();
    let long = row(&"q".repeat(253), Standing::NotReady, Numbers { waiting: 77, ..Numbers::default() });
    let overview = Overview { rows: vec![long], total: 12_345, matching: 1, ..Overview::default() };
    state.take(&state.need(), Loaded::Queues(overview));
    let page = shown(&mut state, 40, 20);
    for words in ["12,345 queues:", "with failed", "WAITING", " 77"] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[test]
fn no_size_of_a_terminal_is_too_small() {
    let pages = [list, || queue('1'), || queue('2'), || queue('3'), cause, || State::new("x".into())];
    for width in (0..10).chain([20, 33, 79, 80, 200]) {
        for height in (0..8).chain([10, 16, 24, 60]) {
            for page in pages {
                let mut state = page();
                drawn(&mut state, Theme { colour: true }, width, height);
                for code in [KeyCode::End, KeyCode::PageUp, KeyCode::Char('?')] {
                    press(&mut state, code);
                    drawn(&mut state, Theme { colour: true }, width, height);
                }
            }
        }
    }
}
