//! The rules between fields, for those who have no API server: whoever changes one changes the CEL rule of the same
//! message beside the type, and the other way round. `tests/rules.rs` holds both to thousands of drawn manifests.

use std::collections::BTreeMap;
use std::fmt;

use jobqueue_api::{OnConflict, Protocol};

use crate::{
    DatabaseSpec, JobQueueSpec, OnQueueFailure, ScalingMode, ScalingSpec, ScheduleSpec, spec::default_replicas,
};

/// Something wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, e.g. `spec.queue.names`.
    pub path: String,
    /// What.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// What the CEL rules say of a new object: every problem, in the order of the fields.
pub fn validate(spec: &JobQueueSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut rule = |holds: bool, path: &str, message: &str| {
        if !holds {
            problems.push(Problem::new(path, message));
        }
    };
    queue_rules(spec, &mut rule);
    database_rules(spec, &mut rule);
    ingest_rules(spec, &mut rule);
    rule(
        spec.retry.backoff_seconds <= spec.retry.max_backoff_seconds,
        "spec.retry",
        "backoffSeconds may not exceed maxBackoffSeconds",
    );
    scaling_rules(spec, &mut rule);
    schedule_rules(spec, &mut rule);
    worker_rules(spec, &mut rule);
    problems
}

/// What the CEL rules say of a change from `old` to `new`, in addition to [`validate`].
pub fn validate_update(old: &JobQueueSpec, new: &JobQueueSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    if new.queue.settings.protocol != old.queue.settings.protocol {
        problems.push(Problem::new("spec.queue.protocol", "protocol is immutable: make a new JobQueue instead"));
    }
    // Who writes only `replicas` expects workers. A manifest that comes back, or no longer has the field, expects none.
    let is_alone = new.scaling.mode == old.scaling.mode && new.scaling.mode != ScalingMode::Manual;
    if is_alone && new.replicas != old.replicas && new.replicas != default_replicas() {
        let words = "replicas can be changed in scaling.mode: Manual only: change the mode too, or leave replicas out";
        problems.push(Problem::new("spec.replicas", words));
    }
    problems
}

const ONE_URL: &str = "give exactly one of url and urlSecretKeyRef";
const REDIS_URL: &str = "a Redis URL starts with redis://, rediss://, redis+sentinel:// or redis+cluster://";
const DATABASE_URL: &str = "a database URL starts with postgres://, mysql://, mariadb:// or sqlite:";
pub(crate) const LINK_LOCAL: &str = "a link-local address (169.254.0.0/16, fe80::/10) is no place for a server";

/// What is wrong with a Redis URL, as far as its scheme and its hosts say; for URLs that admission does not see.
pub fn redis_url_problem(url: &str) -> Option<&'static str> {
    url_problem(url, is_redis, REDIS_URL)
}

/// What is wrong with a database URL, as far as its scheme and its hosts say.
pub fn database_url_problem(url: &str) -> Option<&'static str> {
    url_problem(url, is_database, DATABASE_URL)
}

fn url_problem(url: &str, is_ours: fn(&str) -> bool, scheme: &'static str) -> Option<&'static str> {
    let url = url.to_ascii_lowercase();
    if !is_ours(&url) {
        return Some(scheme);
    }
    is_link_local(&url).then_some(LINK_LOCAL)
}

fn url_rules(
    url: Option<&str>,
    path: &str,
    is_ours: fn(&str) -> bool,
    scheme: &str,
    rule: &mut impl FnMut(bool, &str, &str),
) {
    let url = url.map(str::to_ascii_lowercase);
    rule(url.as_deref().is_none_or(is_ours), path, scheme);
    rule(!url.as_deref().is_some_and(is_link_local), path, LINK_LOCAL);
}

fn is_redis(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| {
        let (kind, topology) = scheme.split_once('+').unwrap_or((scheme, "sentinel"));
        ["redis", "rediss"].contains(&kind) && ["sentinel", "cluster"].contains(&topology)
    })
}

fn is_database(url: &str) -> bool {
    ["postgres://", "postgresql://", "mysql://", "mariadb://", "sqlite:"].iter().any(|scheme| url.starts_with(scheme))
}

/// Whether a host of a URL (in lower case) is link-local: where clouds keep the credentials of their machines.
/// Addresses come after `/`, `@` or `,`.
fn is_link_local(url: &str) -> bool {
    url.split(['/', '@', ',']).skip(1).any(|host| {
        let v6 = host.strip_prefix("[fe").is_some_and(
            |rest| matches!(rest.as_bytes(), [b'8' | b'9' | b'a' | b'b', digit, b':', ..] if digit.is_ascii_hexdigit()),
        );
        v6 || host.starts_with("169.254.")
    })
}

fn queue_rules(spec: &JobQueueSpec, rule: &mut impl FnMut(bool, &str, &str)) {
    let names = &spec.queue.settings.names;
    let unique = names.iter().enumerate().all(|(index, name)| !names[..index].contains(name));
    rule(unique, "spec.queue.names", "each name may appear once");
    let redis = &spec.queue.redis;
    rule(redis.url.is_some() != redis.url_secret_key_ref.is_some(), "spec.queue.redis", ONE_URL);
    url_rules(redis.url.as_deref(), "spec.queue.redis.url", is_redis, REDIS_URL, rule);
}

fn database_rules(spec: &JobQueueSpec, rule: &mut impl FnMut(bool, &str, &str)) {
    rule(spec.ingest.is_none() || spec.database.is_some(), "spec", "ingest needs database");
    rule(
        spec.ingest.is_some() || spec.database.is_none(),
        "spec",
        "database is used by ingest only: give ingest too, or remove database",
    );
    let Some(DatabaseSpec { url, url_secret_key_ref, budget, settings, .. }) = &spec.database else { return };
    let max_connections = settings.max_connections;
    rule(url.is_some() != url_secret_key_ref.is_some(), "spec.database", ONE_URL);
    url_rules(url.as_deref(), "spec.database.url", is_database, DATABASE_URL, rule);
    rule(budget.is_none() || max_connections.is_some(), "spec.database", "a budget needs maxConnections");
    rule(
        max_connections.is_none_or(|connections| connections >= spec.worker.settings.concurrency),
        "spec.database.maxConnections",
        "database.maxConnections allows no worker: it must be at least worker.concurrency",
    );
}

fn ingest_rules(spec: &JobQueueSpec, rule: &mut impl FnMut(bool, &str, &str)) {
    const UPDATE: &str = "onConflict: Update needs key, the columns that identify a row";
    const QUOTES: &str = "no column can be called true or false: kubectl reads the bare words yes, on, y and no, off, n so; put the name in quotes";
    let quoted = |columns: &BTreeMap<String, String>| !columns.contains_key("true") && !columns.contains_key("false");
    let recipes = spec.ingest.as_deref().unwrap_or_default();
    rule(
        spec.queue.settings.protocol == Protocol::Rq || recipes.iter().all(|recipe| recipe.functions.is_empty()),
        "spec",
        "ingest[].functions are RQ function names: remove them, or use protocol: RQ",
    );
    for (r, recipe) in recipes.iter().enumerate() {
        for (t, table) in recipe.tables.iter().enumerate() {
            let at = format!("spec.ingest[{r}].tables[{t}]");
            rule(table.on_conflict != OnConflict::Update || !table.key.is_empty(), &at, UPDATE);
            rule(quoted(&table.columns), &at, QUOTES);
            for (c, child) in table.children.iter().enumerate() {
                let at = format!("{at}.children[{c}]");
                rule(child.on_conflict != OnConflict::Update || !child.key.is_empty(), &at, UPDATE);
                rule(quoted(&child.columns), &at, QUOTES);
            }
        }
    }
}

fn scaling_rules(spec: &JobQueueSpec, rule: &mut impl FnMut(bool, &str, &str)) {
    let scaling = &spec.scaling;
    let (min, max) = (scaling.min_replicas, scaling.max_replicas);
    rule(min <= max, "spec.scaling", "minReplicas may not exceed maxReplicas");
    rule(
        (scaling.on_queue_failure == OnQueueFailure::Static) == scaling.static_replicas.is_some(),
        "spec.scaling",
        "staticReplicas goes with onQueueFailure: Static, and only with it",
    );
    rule(
        scaling.static_replicas.is_none_or(|replicas| replicas >= min && replicas <= max),
        "spec.scaling",
        "staticReplicas must lie between minReplicas and maxReplicas",
    );
}

fn schedule_rules(spec: &JobQueueSpec, rule: &mut impl FnMut(bool, &str, &str)) {
    let ScalingSpec { schedules, max_replicas, .. } = &spec.scaling;
    for (index, schedule) in schedules.iter().enumerate() {
        let at = format!("spec.scaling.schedules[{index}]");
        let ScheduleSpec { name, start, end, min_replicas: min, max_replicas: max, .. } = schedule;
        let first = schedules[..index].iter().all(|other| other.name != *name);
        rule(first, &format!("{at}.name"), "each name may appear once");
        rule(min.is_some() || max.is_some(), &at, "a schedule needs minReplicas, maxReplicas or both");
        let ordered = min.is_none_or(|min| max.is_none_or(|max| min <= max));
        rule(ordered, &at, "minReplicas of a schedule may not exceed its maxReplicas");
        rule(start != end, &at, "a schedule starts and ends at different times");
        let possible = min.is_none_or(|min| min <= *max_replicas);
        rule(possible, &at, "minReplicas of a schedule may not exceed maxReplicas");
    }
}

fn worker_rules(spec: &JobQueueSpec, rule: &mut impl FnMut(bool, &str, &str)) {
    let grace = spec.worker.template.as_ref().and_then(|template| template.get("spec"));
    let grace = grace.and_then(|pod| pod.get("terminationGracePeriodSeconds")).and_then(serde_json::Value::as_i64);
    rule(
        grace.is_none_or(|seconds| i64::from(spec.worker.settings.drain_seconds) < seconds),
        "spec.worker",
        "drainSeconds must be less than template.spec.terminationGracePeriodSeconds, or the kubelet kills workers that \
         are still draining",
    );
}

/// A valid spec for tests to break.
#[cfg(test)]
pub(crate) mod fixtures {
    use crate::JobQueue;

    /// The design's example.
    pub(crate) const COMPANIES: &str = include_str!("../tests/companies.yaml");

    pub(crate) fn companies() -> JobQueue {
        JobQueue::one_from_yaml(COMPANIES, None).expect("a valid manifest")
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::companies;
    use super::*;

    fn problems(change: impl FnOnce(&mut JobQueueSpec)) -> Vec<String> {
        let mut queue = companies();
        change(&mut queue.spec);
        validate(&queue.spec).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn schedules_are_checked_one_by_one() {
        let schedule = |name: &str, min_replicas, max_replicas| ScheduleSpec {
            name: name.into(),
            start: "0 8 * * *".into(),
            end: "0 9 * * *".into(),
            time_zone: "UTC".into(),
            min_replicas,
            max_replicas,
        };
        let with = |schedules: Vec<ScheduleSpec>| problems(|spec| spec.scaling.schedules = schedules);
        assert!(with(vec![schedule("a", Some(1), None), schedule("b", None, Some(2))]).is_empty());
        let twice = with(vec![schedule("a", Some(1), None), schedule("a", None, None)]);
        assert_eq!(
            twice,
            [
                "spec.scaling.schedules[1].name: each name may appear once",
                "spec.scaling.schedules[1]: a schedule needs minReplicas, maxReplicas or both",
            ]
        );
        assert_eq!(with(vec![schedule("a", Some(3), Some(2))]).len(), 1);
        assert_eq!(with(vec![schedule("a", Some(10_000), None)]).len(), 1);
        let mut same = schedule("a", Some(1), None);
        same.end.clone_from(&same.start);
        assert_eq!(with(vec![same]).len(), 1);
    }

    #[test]
    fn replicas_change_in_manual_mode_or_with_the_mode() {
        let change = |(from, to): (ScalingMode, ScalingMode), (before, after): (i32, i32)| {
            let (mut old, mut new) = (companies().spec, companies().spec);
            (old.scaling.mode, old.replicas, new.scaling.mode, new.replicas) = (from, before, to, after);
            validate_update(&old, &new).into_iter().map(|problem| problem.to_string()).collect::<Vec<_>>()
        };
        let modes = [ScalingMode::Auto, ScalingMode::Manual, ScalingMode::Paused];
        for from in modes {
            for to in modes {
                // By a person, by an autoscaler, and by a manifest that comes back or has no `replicas` any more.
                let refused = [(3, 3), (3, 5), (3, 0), (3, 1)].map(|numbers| !change((from, to), numbers).is_empty());
                let alone = from == to && to != ScalingMode::Manual;
                assert_eq!(refused, [false, alone, alone, false], "{from:?} to {to:?}");
            }
        }
        let [problem] = change((ScalingMode::Auto, ScalingMode::Auto), (1, 2)).try_into().expect("one problem");
        assert!(problem.starts_with("spec.replicas: replicas can be changed"), "{problem}");
    }

    #[test]
    fn redis_urls_have_a_scheme_of_redis() {
        let with = |url: &str| {
            let url = Some(url.to_owned());
            problems(|spec| (spec.queue.redis.url, spec.queue.redis.url_secret_key_ref) = (url, None))
        };
        for url in ["redis://a", "REDISS://a", "redis+sentinel://a,b/m/0", "rediss+cluster://a"] {
            assert!(with(url).is_empty(), "{url}: {:?}", with(url));
        }
        for url in ["a:6379", "http://a", "redis:a", "redis+unix:///a", "unix:///run/redis.sock", "postgres://a/b"] {
            assert_eq!(with(url), [format!("spec.queue.redis.url: {REDIS_URL}")], "{url}");
        }
    }

    #[test]
    fn database_urls_have_a_scheme_of_a_database() {
        let with = |url: &str| {
            let url = Some(url.to_owned());
            problems(|spec| {
                let database = spec.database.as_mut().expect("companies has one");
                (database.url, database.url_secret_key_ref) = (url, None);
            })
        };
        for url in ["postgres://a/b", "postgresql://a/b", "mysql://a/b", "MariaDB://a/b", "sqlite:file"] {
            assert!(with(url).is_empty(), "{url}: {:?}", with(url));
        }
        for url in ["redis://a", "postgres:a", "a/b"] {
            assert_eq!(with(url), [format!("spec.database.url: {DATABASE_URL}")], "{url}");
        }
    }

    #[test]
    fn link_local_hosts_are_refused() {
        for url in [
            "redis://169.254.169.254",
            "redis://u:p@169.254.0.1:6379/0",
            "redis+sentinel://a,169.254.1.2/m/0",
            "postgres://[fe80::1]/b",
            "redis://[febf::1]",
        ] {
            assert!(is_link_local(url), "{url}");
        }
        for url in [
            "redis://10.169.254.1",
            "redis://169.254",
            "redis://[fec0::1]",
            "redis://[2001:db8::fe80]",
            "redis://fe80",
            "redis://[fe80",
        ] {
            assert!(!is_link_local(url), "{url}");
        }
    }
}
