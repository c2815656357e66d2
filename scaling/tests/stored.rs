//! What an earlier version remembered is loaded by this one, and decided on.

use jobqueue_scaling::{Backlog, Memory, Meter, Observation, Policy, Reason, Sample, WorkerCounters, Workers};

/// As written before decisions were made by deadlines: two busy workers that did 40 jobs a second each, for eight seconds.
const MEMORY: &str = r#"{
    "last_now": 8.0, "clock": 8.0,
    "highest": {"began": 0.0, "entries": [[8.0, 11]]}, "lowest": {"began": 0.0, "entries": [[8.0, 11]]},
    "idle_since": null, "unreadable_since": null, "stepped_up": 8.0, "stepped_down": null,
    "saturation": {
        "last": [8.0, 1000],
        "level": {"workers": 2, "began": 0.0, "second": [7.5, 40, 2], "seconds": 7, "mean": 80.0, "squares": 0.0},
        "before": [], "errors_since": null, "all": 2, "fewer_since": 0.0, "verdict": null
    }
}"#;
const METER: &str = r#"{
    "last": {"now": 8.0, "waiting": 1000, "running": 2, "workers": {
        "a": {"completed": 320, "busy": true, "worked_seconds": 8.0},
        "b": {"completed": 320, "busy": true, "worked_seconds": 8.0}
    }},
    "saturated": {"events": 566.4664250785489, "seconds": 14.161660626963723},
    "unsaturated": {"events": 0.0, "seconds": 0.0},
    "arrivals": {"events": 566.4664250785489, "seconds": 7.0808303134818615},
    "completions": {"events": 566.4664250785489, "seconds": 7.0808303134818615},
    "ended": 40
}"#;

#[test]
fn memory_and_meter_of_an_earlier_version_are_loaded_and_go_on() {
    let mut memory: Memory = serde_json::from_str(MEMORY).expect("a memory");
    let mut meter: Meter = serde_json::from_str(METER).expect("a meter");
    let worker = WorkerCounters { completed: 340, busy: true, worked_seconds: 8.5, ..WorkerCounters::default() };
    let workers = ["a", "b"].map(|name| (name, worker)).to_vec();
    let rates = meter.sample(Sample { now: 8.5, waiting: 1000, running: 2, workers });
    assert_eq!(rates.ended, 40);
    let rate = rates.per_worker.expect("known").jobs_per_second;
    assert!((rate - 40.0).abs() < 0.1, "{rate}");
    let backlog = Some(Backlog { waiting: 1000, running: 2, oldest_wait_seconds: Some(12.0) });
    let workers = Workers { desired: 2, ready: 2, busy: 2 };
    let seen = Observation { now: 8.5, backlog, workers, rates, troubled: 0 };
    let decision = memory.decide(&Policy::default(), &seen);
    assert!(matches!(decision.reason, Reason::TwoStarts { .. }), "{decision}");
    // What they write is read again.
    let written = serde_json::to_string(&(&memory, &meter)).expect("JSON");
    assert_eq!(serde_json::from_str::<(Memory, Meter)>(&written).expect("both"), (memory, meter));
}
