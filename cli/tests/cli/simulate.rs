//! `jobqueue simulate`: what it prints and draws, that chance can be repeated, and what is wrong with a trace.

use crate::support::{Ran, file, jobqueue, text};

const MANIFEST: &str = r#"
apiVersion: jobqueue.dev/v1alpha1
kind: JobQueue
metadata: {name: people}
spec:
  queue: {names: [people], redis: {url: "redis://127.0.0.1:1/0"}}
  scaling: {maxReplicas: 6, targets: {jobsPerWorker: 20}, idleSeconds: 10, scaleDown: {stabilizationSeconds: 10}}
  worker: {concurrency: 2}
"#;

fn simulate(args: &[&str]) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let manifest = file(directory.path(), "jobqueue.yaml", MANIFEST);
    jobqueue(&[&["simulate", "-f", text(&manifest)], args].concat())
}

/// The changes of the number of workers in the first run, with the reasons.
fn scalings(report: &serde_json::Value) -> Vec<(f64, u64, &str)> {
    let change = |one: &'_ serde_json::Value| (one["at"].as_f64().unwrap(), one["to"].as_u64().unwrap());
    let changes = report["runs"][0]["scalings"].as_array().unwrap().iter();
    changes.map(|one| (change(one).0, change(one).1, one["why"].as_str().unwrap())).collect()
}

fn document(args: &[&str]) -> serde_json::Value {
    let ran = simulate(&[args, &["-o", "json"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn a_burst_is_told_for_every_policy() {
    let ran = simulate(&["--shape", "burst"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for words in
        ["P95", "P99", "WORKER-SECONDS", "ours", "fixed:6", "keda", "keda-1s", "per-worker", "bound", "BY BOUND"]
    {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    let report = document(&["--shape", "burst", "--policy", "ours", "--policy", "keda", "--changes"]);
    let [ours, keda] = report["runs"].as_array().unwrap().as_slice() else { panic!("{report}") };
    assert_eq!((&ours["arrived"], &ours["done"], &ours["left"]), (&720.into(), &720.into(), &0.into()));
    assert!(ours["p95WaitSeconds"].as_f64() < keda["p95WaitSeconds"].as_f64(), "{report}");
    let first = &ours["scalings"][0];
    assert_eq!((&first["at"], &first["from"], &first["to"]), (&30.25.into(), &0.into(), &6.into()));
    assert!(first["why"].as_str().unwrap().contains("20 per worker"), "{first}");
}

#[test]
fn the_same_seed_gives_the_same_result_and_another_another() {
    let args = ["--shape", "sawtooth", "--duration", "15m", "-o", "json", "--seed"];
    let runs = ["7", "7", "8"].map(|seed| simulate(&[&args[..], &[seed]].concat()).out);
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[test]
fn a_recorded_load_is_followed_and_drawn() {
    let directory = tempfile::tempdir().unwrap();
    let trace = file(directory.path(), "monday.csv", "seconds,jobs\n5,100\n60,1\n");
    let picture = directory.path().join("monday.svg");
    let args = [
        "--load",
        text(&trace),
        "--job-seconds",
        "0.1",
        "--plot",
        text(&picture),
        "--policy",
        "ours",
        "--policy",
        "fixed:2",
    ];
    let ran = simulate(&args);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("monday") && ran.err.contains("monday.svg"), "{ran:?}");
    let svg = std::fs::read_to_string(&picture).unwrap();
    for words in ["<svg", "monday", "ours", "fixed:2", "oldest wait, seconds", "worker-seconds", "</svg>"] {
        assert!(svg.contains(words), "{words}");
    }
    let picture = directory.path().join("monday.gif");
    let ran = simulate(&["--load", text(&trace), "--plot", text(&picture)]);
    assert_eq!(ran.code, 2, "{}", ran.err);
}

/// Four workers could do 80 jobs per second, the database takes 32. Pods become ready one after another, so that it is seen what
/// fewer of them do.
#[test]
fn a_database_at_its_end_gets_no_more_workers_than_help() {
    let directory = tempfile::tempdir().unwrap();
    let trace = file(directory.path(), "backlog.csv", "seconds,jobs\n30,20000\n");
    let load = ["--load", text(&trace), "--duration", "12m", "--changes", "--policy", "ours", "--policy", "fixed:4"];
    let pace =
        ["--jobs-per-second", "20", "--job-variation", "0.1", "--database-ceiling", "32", "--pod-start-seconds", "20"];
    let manifest = MANIFEST.replace("maxReplicas: 6", "maxReplicas: 4");
    let manifest = file(directory.path(), "jobqueue.yaml", &manifest);
    let ran = jobqueue(&[&["simulate", "-f", text(&manifest), "-o", "json"], &load[..], &pace].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let [ours, fixed] = report["runs"].as_array().unwrap().as_slice() else { panic!("{report}") };
    assert_eq!((&ours["done"], &fixed["done"]), (&20_000.into(), &20_000.into()), "{ours} {fixed}");
    let held = scalings(&report).into_iter().find(|(_, _, why)| why.contains("the database is saturated"));
    assert!(held.is_some_and(|(_, workers, why)| workers < 4 && why.contains("otherwise 4")), "{ours}");
    let of = |run: &serde_json::Value, what: &str| run[what].as_f64().unwrap();
    assert!(of(ours, "workerSeconds") < 0.9 * of(fixed, "workerSeconds"), "{ours} {fixed}");
    assert!(of(ours, "p95WaitSeconds") < 1.05 * of(fixed, "p95WaitSeconds"), "{ours} {fixed}");
}

#[test]
fn schedules_hold_from_the_moment_at_which_the_run_starts() {
    let directory = tempfile::tempdir().unwrap();
    let schedules =
        "schedules: [{name: office, start: 0 8 * * 1-5, end: 0 18 * * 1-5, timeZone: Europe/Berlin, minReplicas: 3}]";
    let manifest = file(
        directory.path(),
        "office.yaml",
        MANIFEST.replace("{maxReplicas: 6,", &format!("{{{schedules}, maxReplicas: 6,")),
    );
    let trace = file(directory.path(), "nothing.csv", "seconds,jobs\n0,0\n");
    let run = |manifest: &std::path::Path, options: &[&str]| {
        let args =
            ["simulate", "-f", text(manifest), "--load", text(&trace), "--policy", "ours", "--changes", "-o", "json"];
        jobqueue(&[&args[..], options].concat())
    };
    let document = |options: &[&str]| -> serde_json::Value {
        let ran = run(&manifest, options);
        assert_eq!(ran.code, 0, "{}", ran.err);
        serde_json::from_str(&ran.out).unwrap()
    };
    // Monday to Wednesday; Berlin is an hour ahead in winter. Who goes does so ten seconds after the end.
    let report = document(&["--duration", "3d"]);
    assert_eq!(report["start"], "2026-01-05T00:00:00Z");
    let changes = scalings(&report);
    let times: Vec<(f64, u64)> = changes.iter().map(|(at, to, _)| (*at, *to)).collect();
    let expected = |day: f64| [(day * 86_400.0 + 7.0 * 3600.0, 3), (day * 86_400.0 + 17.0 * 3600.0 + 10.0, 0)];
    assert_eq!(times, [0.0, 1.0, 2.0].map(expected).concat());
    assert!(changes[0].2.contains("schedule office"), "{changes:?}");
    // The Saturday before the change to summer time, and the Monday after it.
    let report = document(&["--duration", "3d", "--start", "2026-03-28T00:00:00+01:00"]);
    let hours: Vec<f64> = scalings(&report).iter().map(|(at, ..)| (at / 360.0).round() / 10.0).collect();
    assert_eq!(hours, [55.0, 65.0]);

    let wrong = std::fs::read_to_string(&manifest).unwrap().replace("Europe/Berlin", "Mars/Olympus");
    let wrong = file(directory.path(), "wrong.yaml", &wrong);
    let ran = run(&wrong, &[]);
    let words = "wrong.yaml: spec.scaling.schedules[0].timeZone: \"Mars/Olympus\" is no time zone";
    assert!(ran.code == 2 && ran.err.contains(words), "{ran:?}");
}

#[test]
fn manifests_are_compared_each_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let now = file(directory.path(), "now.yaml", MANIFEST);
    let slow = MANIFEST.replace("jobsPerWorker: 20", "jobsPerWorker: 400");
    let renamed = file(directory.path(), "slow.yaml", slow.replace("name: people", "name: slow"));
    let then = file(directory.path(), "then.yaml", &slow);
    let run = |other: &std::path::Path| {
        let policies = ["--policy", "ours", "--policy", "keda"];
        let args = ["simulate", "-f", text(&now), "-f", text(other), "--shape", "burst", "-o", "json"];
        let ran = jobqueue(&[&args[..], &policies].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let runs = report["runs"].as_array().unwrap().iter();
        runs.map(|run| (run["policy"].as_str().unwrap().to_owned(), run["mostWorkers"].as_u64().unwrap()))
            .collect::<Vec<_>>()
    };
    let named = |names: [&str; 3], most: [u64; 3]| names.map(str::to_owned).into_iter().zip(most).collect::<Vec<_>>();
    assert_eq!(run(&renamed), named(["ours:people", "ours:slow", "keda"], [6, 2, 6]));
    assert_eq!(run(&then), named(["ours:now", "ours:then", "keda"], [6, 2, 6]));
    let twice = jobqueue(&["simulate", "-f", text(&now), "-f", text(&now), "--shape", "burst"]);
    assert!(twice.code == 2 && twice.err.contains("given twice"), "{twice:?}");
    let ran = jobqueue(&["status", "-f", text(&now), "-f", text(&then)]);
    assert!(ran.code == 2 && ran.err.contains("several manifests"), "{ran:?}");
}

#[test]
fn the_bound_is_labelled_and_below_every_run_that_keeps_to_it() {
    let report = document(&["--shape", "sawtooth", "--bound-wait", "30"]);
    let (bounds, runs): (Vec<_>, Vec<_>) =
        report["runs"].as_array().unwrap().iter().partition(|run| run["isBound"] == true);
    let [bound] = bounds[..] else { panic!("{report}") };
    let labels = [&bound["policy"], &bound["targetWaitSeconds"], &bound["targetKept"], &bound["p95WaitSeconds"]];
    assert_eq!(labels, [&"bound".into(), &30.0.into(), &true.into(), &serde_json::Value::Null]);
    let cost = bound["workerSeconds"].as_f64().unwrap();
    let kept = runs.iter().filter(|run| run["maxWaitSeconds"].as_f64() <= Some(30.0));
    let costs: Vec<f64> = kept.map(|run| run["workerSeconds"].as_f64().unwrap()).collect();
    assert!(costs.len() >= 2 && costs.iter().all(|spent| *spent >= cost) && cost > 1000.0, "{report}");
    assert!(runs.iter().all(|run| run["p99WaitSeconds"].as_f64() >= run["p95WaitSeconds"].as_f64()));
    // Six workers of two slots do 360 jobs of a second in half a minute, and the burst is 720.
    let ran = simulate(&["--shape", "burst", "--policy", "bound", "--bound-wait", "1"]);
    let line: Vec<&str> = ran.out.lines().nth(1).unwrap().split_whitespace().collect();
    assert!(line[1] == "bound" && line[5] == "<=fixed" && line[6].starts_with(">="), "{}", ran.out);
}

#[test]
fn a_trace_says_how_long_each_job_takes() {
    let directory = tempfile::tempdir().unwrap();
    let trace = file(directory.path(), "jobs.csv", "seconds,job_seconds\n60,100\n60,2\n300,7\n");
    let report = document(&["--load", text(&trace), "--policy", "fixed:3", "--policy", "bound", "--bound-wait", "0"]);
    let [fixed, bound] = report["runs"].as_array().unwrap().as_slice() else { panic!("{report}") };
    assert_eq!((&fixed["done"], &fixed["maxWaitSeconds"]), (&3.into(), &0.0.into()));
    // Two slots: one worker for the first two jobs, and one for the third; five seconds to start each.
    assert_eq!(bound["workerSeconds"].as_f64(), Some(5.0 + 100.0 + 5.0 + 7.0), "{bound}");
}

#[test]
fn a_moment_is_explained_with_what_was_seen() {
    let args = ["--shape", "burst", "--policy", "ours", "--policy", "keda", "--explain"];
    let ran = simulate(&[&args[..], &["30.3s"]].concat());
    let expected = "
burst, ours, 30.25 s after the start (2026-01-05T00:00:30.250+00:00)

720 jobs waiting and running at 20 per worker take 36 workers; maxReplicas is 6, otherwise 36

Workers      0 -> 6 asked for; 0 starting, 0 ready, 0 busy, 0 draining; the work takes 36
Backlog      720 waiting, 0 running; the oldest waits 0.2s
";
    assert!(ran.code == 0 && ran.out.contains(expected), "{}", ran.out);
    for words in ["ASKED BY", "JobsPerWorker", "LIMIT", "MaxReplicas", "a busy worker does not known"] {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    // Long after it: nothing happens there, and it is looked at all the same.
    let report = document(&[&args[..], &["2026-01-05T00:15:00Z"]].concat());
    let [ours, keda] = report["runs"].as_array().unwrap().as_slice() else { panic!("{report}") };
    let explained = &ours["explained"];
    assert_eq!((&explained["at"], &explained["ready"], &explained["desired"]), (&900.0.into(), &0.into(), &0.into()));
    assert_eq!((&explained["decision"]["wanted"], keda.get("explained")), (&0.into(), None));
    let cases = [
        (["--policy", "keda", "--explain", "9s"], "--policy ours"),
        (["--policy", "ours", "--explain", "3h"], "1200 s long"),
        (["--policy", "ours", "--explain", "noon"], "90s or 20m"),
    ];
    for (options, words) in cases {
        let ran = simulate(&[&["--shape", "burst"], &options[..]].concat());
        assert!(ran.code == 2 && ran.err.contains(words), "{options:?}: {}", ran.err);
    }
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let trace = file(directory.path(), "x.csv", "seconds,jobs\n1,2\n0,2\n");
    let ran = simulate(&["--load", text(&trace)]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("x.csv: line 3: 0 s comes after 1 s"), "{}", ran.err);
    let cases: [(&[&str], i32, &str); 6] = [
        (&["--load", "/nowhere.csv"], 5, "/nowhere.csv"),
        (&[], 2, "--load"),
        (&["--shape", "square"], 2, "stuck-database"),
        (&["--shape", "burst", "--policy", "hpa"], 2, "fixed:N"),
        (&["--shape", "burst", "--duration", "soon"], 2, "20m"),
        (&["--shape", "burst", "--start", "monday"], 2, "2026-11-23T00:00:00+01:00"),
    ];
    for (args, code, words) in cases {
        let ran = simulate(args);
        assert_eq!(ran.code, code, "{args:?}: {}", ran.err);
        assert!(ran.err.contains(words), "{args:?}: {}", ran.err);
    }
    let ran = jobqueue(&["simulate", "--shape", "burst"]);
    assert!(ran.code == 2 && ran.err.contains("-f FILE"), "{}", ran.err);
}

#[test]
fn the_table_and_the_picture_of_the_page_are_what_the_commands_beside_them_give() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("docs/simulate.md")).unwrap();
    let command = page.lines().find_map(|line| line.strip_prefix("    jobqueue simulate -f examples/")).unwrap();
    let (manifest, options) = command.split_once(' ').unwrap();
    let manifest = root.join("examples").join(manifest);
    let simulate = ["simulate", "-f", text(&manifest)];
    let ran = jobqueue(&[&simulate[..], &options.split(' ').collect::<Vec<_>>()].concat());
    let cells = ran.out.lines().skip(1).map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        // Of the bound there is no wait.
        let wait = columns[3].trim_end_matches('s').trim_matches('-');
        (wait.to_owned(), columns[6].trim_start_matches(">=").to_owned())
    });
    let header = |line: &&str| line.starts_with("| load | ours ");
    let rows = page.lines().skip_while(|line| !header(line)).skip(2).take_while(|line| line.starts_with('|'));
    let shown = rows.flat_map(|row| row.split('|').skip(2).filter(|cell| !cell.trim().is_empty())).map(|cell| {
        let (wait, cost) = cell.split_once(" s, ").unwrap_or(("", cell));
        (wait.trim().to_owned(), cost.trim().replace(',', ""))
    });
    let (cells, shown): (Vec<_>, Vec<_>) = (cells.collect(), shown.collect());
    assert_eq!(cells.len(), 30, "five loads, five policies, and the bound: {}", ran.out);
    assert_eq!(shown, cells, "scripts/simulated-loads writes it anew");

    let directory = tempfile::tempdir().unwrap();
    let picture = directory.path().join("simulate.svg");
    let (_, drawn) = page.split_once("(`--shape burst").unwrap();
    let (shapes, _) = drawn.split_once(" --plot docs/simulate.svg`").unwrap();
    let rate: Vec<&str> = options.split(' ').skip_while(|option| *option != "--jobs-per-second").collect();
    let shapes: Vec<&str> = ["--shape", "burst"].into_iter().chain(shapes.split_whitespace()).collect();
    let ran = jobqueue(&[&simulate[..], &rate, &shapes, &["--plot", text(&picture)]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let drawn = std::fs::read_to_string(&picture).unwrap();
    assert!(
        drawn == std::fs::read_to_string(root.join("docs/simulate.svg")).unwrap(),
        "docs/simulate.svg is another: scripts/simulated-loads"
    );
}
