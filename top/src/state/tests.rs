//! Keys, and what they lead to.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jobqueue_inspect::source::{Numbers, Row, SortBy, Standing};

use super::*;

fn key(name: &str) -> QueueKey {
    QueueKey { namespace: "shop".into(), name: name.into() }
}

fn row(name: &str) -> Row {
    let numbers = Numbers::default();
    Row { key: key(name), standing: Standing::Fine, reason: String::new(), message: String::new(), numbers }
}

/// What a source would answer: the rows of `names` that the state asks for.
fn read(state: &mut State, names: &[String]) {
    let need = state.need();
    let Need::Queues { query, skip, count, .. } = &need else { panic!("not the list: {need:?}") };
    let found: Vec<&String> = names.iter().filter(|name| name.contains(query.as_str())).collect();
    let rows = found.iter().skip(*skip).take(*count).map(|name| row(name)).collect();
    let overview = Overview { rows, total: names.len(), matching: found.len(), ..Overview::default() };
    let length = found.len();
    state.take(&need, Loaded::Queues(overview));
    state.fit(Fitted { rows: 10, page: 10, length });
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("q{index:04}")).collect()
}

fn listed(names: &[String]) -> State {
    let mut state = State::new("somewhere".into());
    state.fit(Fitted { rows: 10, page: 10, length: 0 });
    read(&mut state, names);
    state
}

fn press(state: &mut State, code: KeyCode) -> Wish {
    state.press(KeyEvent::new(code, KeyModifiers::NONE))
}

fn type_in(state: &mut State, text: &str) {
    for letter in text.chars() {
        assert_eq!(press(state, KeyCode::Char(letter)), Wish::Stay);
    }
}

fn selected(state: &State) -> &str {
    state.list.selected().map_or("", |key| key.name.as_str())
}

#[test]
fn of_ten_thousand_queues_only_what_is_visible_is_asked_for() {
    let names = names(10_000);
    let mut state = listed(&names);
    press(&mut state, KeyCode::End);
    assert_eq!(state.need(), Need::Queues { query: String::new(), order: Order::default(), skip: 9_990, count: 10 });
    read(&mut state, &names);
    assert_eq!(selected(&state), "q9999");
    press(&mut state, KeyCode::PageUp);
    assert_eq!(selected(&state), "q9990");
    press(&mut state, KeyCode::Char('k'));
    read(&mut state, &names);
    assert_eq!((selected(&state), state.list.cursor.skip), ("q9989", 9_989));
    assert_eq!(state.list.overview.as_ref().map(|(overview, _)| overview.rows.len()), Some(10));
}

#[test]
fn a_queue_that_moves_stays_selected_while_it_is_visible() {
    let mut names = names(50);
    let mut state = listed(&names);
    names.insert(0, "worse".into());
    read(&mut state, &names);
    assert_eq!(selected(&state), "worse", "nobody has chosen another yet");
    names.remove(0);
    read(&mut state, &names);
    type_in(&mut state, "jj");
    assert_eq!(selected(&state), "q0002");
    names.insert(0, "trouble".into());
    read(&mut state, &names);
    assert_eq!((selected(&state), state.list.cursor.at), ("q0002", 3));
    // It left the page: the place stays.
    names.retain(|name| name != "q0002");
    read(&mut state, &names);
    assert_eq!((selected(&state), state.list.cursor.at), ("q0003", 3));
}

#[test]
fn enter_goes_down_and_escape_goes_back() {
    let names = names(3);
    let mut state = listed(&names);
    press(&mut state, KeyCode::Down);
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.need(), Need::Queue { key: key("q0001"), causes: false });
    press(&mut state, KeyCode::Tab);
    assert_eq!(state.need(), Need::Queue { key: key("q0001"), causes: true });
    // Nothing was counted yet, so there is no cause to open.
    press(&mut state, KeyCode::Enter);
    assert!(state.cause.is_none());
    let mut survey = Survey::default();
    for (id, error) in [("a", "no name"), ("b", "no name"), ("c", "no date")] {
        let failure = Failure { id: id.into(), error: error.into(), failed_at: None, function: None };
        survey.add(0, failure, chrono::DateTime::UNIX_EPOCH);
    }
    let digest = survey.groups()[1].digest.clone();
    let view =
        QueueView { row: row("q0001"), explanation: None, spec: None, pods: vec![], notes: vec![], samples: vec![] };
    let data = QueueData { view, workers: vec![], workers_problem: None, survey: Some(Ok(Arc::new(survey))) };
    state.take(&state.need(), Loaded::Queue(Box::new(Ok(data))));
    state.fit(Fitted { rows: 5, page: 5, length: 2 });
    press(&mut state, KeyCode::Down);
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.need(), Need::Cause { key: key("q0001"), digest, skip: 0, count: 5 });
    press(&mut state, KeyCode::Esc);
    assert_eq!(state.queue.as_ref().map(|queue| (queue.tab, queue.cursor.at)), Some((Tab::Failed, 1)), "as it was");
    press(&mut state, KeyCode::Esc);
    assert!(state.is_list());
    assert_eq!(selected(&state), "q0001");
}

#[test]
fn parts_of_a_queue_follow_each_other() {
    let mut state = listed(&names(1));
    press(&mut state, KeyCode::Enter);
    let tab = |state: &State| state.queue.as_ref().map(|queue| queue.tab);
    press(&mut state, KeyCode::BackTab);
    assert_eq!(tab(&state), Some(Tab::Why));
    press(&mut state, KeyCode::Tab);
    assert_eq!(tab(&state), Some(Tab::Workers));
    type_in(&mut state, "2");
    assert_eq!(tab(&state), Some(Tab::Failed));
    // The keys of the list do nothing here.
    type_in(&mut state, "/sF");
    assert_eq!((state.typing.is_none(), state.list.order), (true, Order::default()));
}

#[test]
fn what_was_counted_stays_while_another_part_is_shown() {
    let mut queue = Queue::new(key("q"));
    let data = |survey| {
        let view =
            QueueView { row: row("q"), explanation: None, spec: None, pods: vec![], notes: vec![], samples: vec![] };
        Ok(QueueData { view, workers: vec![], workers_problem: None, survey })
    };
    let mut survey = Survey::default();
    survey.total = 7;
    queue.take(data(Some(Ok(Arc::new(survey)))));
    queue.take(data(None));
    let total = queue.data.and_then(Result::ok).and_then(|data| data.survey).map(|survey| survey.map(|it| it.total));
    assert_eq!(total, Some(Ok(7)));
}

#[test]
fn a_filter_works_while_it_is_typed_and_is_dropped_by_escape() {
    let names: Vec<String> = ["orders", "mails", "orders-late"].map(String::from).to_vec();
    let mut state = listed(&names);
    press(&mut state, KeyCode::End);
    type_in(&mut state, "/ordersx");
    press(&mut state, KeyCode::Backspace);
    read(&mut state, &names);
    assert_eq!((selected(&state), state.list.overview.as_ref().map(|(all, _)| all.matching)), ("orders", Some(2)));
    // `q` is a letter here, and so is `?`.
    assert_eq!(press(&mut state, KeyCode::Char('q')), Wish::Stay);
    assert_eq!(state.list.query, "ordersq");
    press(&mut state, KeyCode::Esc);
    assert_eq!((state.list.query.as_str(), state.typing.is_none()), ("", true), "as before");
    type_in(&mut state, "/late");
    press(&mut state, KeyCode::Enter);
    assert_eq!((state.list.query.as_str(), state.typing.is_none()), ("late", true));
    press(&mut state, KeyCode::Esc);
    assert_eq!(state.list.query, "", "all queues again");
    type_in(&mut state, "/");
    type_in(&mut state, &"x".repeat(500));
    assert_eq!(state.list.query.len(), 200);
}

#[test]
fn the_order_is_chosen_by_letter_or_one_after_the_other() {
    let mut state = listed(&names(20));
    press(&mut state, KeyCode::Down);
    type_in(&mut state, "F");
    assert_eq!((state.list.order.by, state.list.cursor.at), (SortBy::Failed, 0));
    type_in(&mut state, "r");
    assert!(state.list.order.reversed);
    type_in(&mut state, "s");
    assert_eq!(state.list.order, Order::default(), "round");
    type_in(&mut state, "s");
    assert_eq!(state.list.order.by, SortBy::Name);
}

#[test]
fn an_answer_to_an_earlier_question_is_dropped() {
    let mut state = listed(&names(3));
    let before = state.need();
    type_in(&mut state, "F");
    state.take(&before, Loaded::Queues(Overview::default()));
    assert_eq!(selected(&state), "q0000");
}

#[test]
fn keys_that_end_or_stop_the_program() {
    let mut state = listed(&names(1));
    let control = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
    type_in(&mut state, "?");
    assert!(state.help);
    assert_eq!(press(&mut state, KeyCode::Char('q')), Wish::Stay, "it closes the help");
    assert!(!state.help);
    assert_eq!(press(&mut state, KeyCode::Char('q')), Wish::Quit);
    type_in(&mut state, "/");
    assert_eq!(
        ["c", "z", "l"].map(|letter| state.press(control(letter.chars().next().expect("one")))),
        [Wish::Quit, Wish::Suspend, Wish::Redraw]
    );
}
