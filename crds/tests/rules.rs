//! The rules between fields are written twice: as CEL in the CustomResourceDefinition, and in Rust for commands that have no
//! API server. Here thousands of drawn manifests are held to both: what one says of a manifest, the other says too.

use std::collections::BTreeSet;

use jobqueue_crds::{JobQueue, JobQueueSpec, Problem, crd, validate, validate_update};
use kube_cel::{CompiledSchema, ErrorKind, Validator, apply_defaults, compile_schema};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

const DRAWN: usize = 2_000;

/// The rules of the CustomResourceDefinition, as the API server applies them.
struct Cel {
    schema: Value,
    compiled: CompiledSchema,
    validator: Validator,
}

impl Cel {
    fn new() -> Self {
        let crd = serde_json::to_value(crd()).expect("a definition is JSON");
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        // RE2, which the API server has, takes `[[]` for a bracket; Rust's regex wants it escaped, as RE2 takes it too.
        let schema = schema.to_string().replace("[[]", r"[\\\\[]");
        let schema: Value = serde_json::from_str(&schema).expect("the same JSON");
        Self { compiled: compile_schema(&schema), schema, validator: Validator::new() }
    }

    /// With the defaults that the API server fills in.
    fn defaulted(&self, manifest: &Value) -> Value {
        apply_defaults(&self.schema, manifest)
    }

    /// The messages of the rules that are broken, each once.
    fn messages(&self, new: &Value, old: Option<&Value>) -> BTreeSet<String> {
        let errors = self.validator.validate_compiled(&self.compiled, new, old).err().into_iter();
        let errors = errors.flat_map(kube_cel::ValidationErrors::into_vec).map(|error| {
            assert_eq!(error.kind, ErrorKind::ValidationFailure, "{}: {}", error.rule, error.message);
            error.message
        });
        errors.collect()
    }

    /// The messages of all rules that a spec is held to.
    fn rules(&self) -> BTreeSet<String> {
        fn walk(schema: &Value, found: &mut BTreeSet<String>) {
            let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
            found.extend(rules.filter_map(|rule| rule["message"].as_str()).map(str::to_owned));
            let fields = schema["properties"].as_object().into_iter().flat_map(|fields| fields.values());
            for below in fields.chain([&schema["items"], &schema["additionalProperties"]]).filter(|it| it.is_object()) {
                walk(below, found);
            }
        }
        let mut found = BTreeSet::new();
        walk(&self.schema["properties"]["spec"], &mut found);
        found
    }
}

/// The same of the rules in Rust. Left out is what the API server holds lists to without CEL: that schedules have different
/// names, which is their key (`x-kubernetes-list-map-keys`).
fn messages(problems: Vec<Problem>) -> BTreeSet<String> {
    let is_list_key = |path: &str| path.starts_with("spec.scaling.schedules[") && path.ends_with("].name");
    problems.into_iter().filter(|problem| !is_list_key(&problem.path)).map(|problem| problem.message).collect()
}

fn spec(manifest: &Value) -> JobQueueSpec {
    let queue: JobQueue = serde_json::from_value(manifest.clone()).expect("a JobQueue");
    queue.spec
}

/// Draws manifests that the schema takes. About half of what a rule may forbid is in each.
struct Draw(StdRng);

impl Draw {
    fn new() -> Self {
        Self(StdRng::seed_from_u64(1))
    }

    fn sometimes(&mut self) -> bool {
        self.0.random_bool(0.5)
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.0.random_range(0..of.len())].clone()
    }

    fn several<T>(&mut self, least: usize, most: usize, mut draw: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.0.random_range(least..=most);
        (0..count).map(|_| draw(self)).collect()
    }

    /// An object with these fields, some of them.
    fn some_of(&mut self, fields: Value) -> Value {
        let Value::Object(fields) = fields else { panic!("an object") };
        fields.into_iter().filter(|_| self.sometimes()).collect()
    }

    fn small(&mut self) -> u32 {
        self.0.random_range(1..=4)
    }

    fn manifest(&mut self) -> Value {
        let mut spec = json!({
            "queue": self.queue(), "scaling": self.scaling(), "worker": self.worker(),
            "retry": {"backoffSeconds": self.small(), "maxBackoffSeconds": self.small()},
        });
        let optional = json!({
            "database": self.database(), "ingest": self.several(1, 2, Self::recipe), "replicas": self.small(),
        });
        let chosen = self.some_of(optional);
        spec.as_object_mut().expect("an object").extend(chosen.as_object().cloned().unwrap_or_default());
        json!({"apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue", "metadata": {"name": "q"}, "spec": spec})
    }

    fn queue(&mut self) -> Value {
        let redis = json!({"url": self.url(), "urlSecretKeyRef": {"name": "redis", "key": "url"}});
        json!({
            "protocol": self.one(&["RQ", "List", "Stream"]), "names": self.several(1, 3, |draw| draw.one(&["a", "b", "c"])),
            "redis": self.some_of(redis),
        })
    }

    fn database(&mut self) -> Value {
        let fields = json!({
            "url": self.url(), "urlSecretKeyRef": {"name": "database", "key": "url"}, "budget": "shared",
            "maxConnections": self.small(),
        });
        self.some_of(fields)
    }

    /// From pieces of URLs, in an order that makes one more often than not.
    fn url(&mut self) -> String {
        const SCHEMES: [&str; 18] = [
            "redis",
            "rediss",
            "REDIS",
            "redis+sentinel",
            "rediss+cluster",
            "Redis+Cluster",
            "redis+unix",
            "redis+",
            "xredis",
            "postgres",
            "postgresql",
            "PostgreSQL",
            "mysql",
            "MariaDB",
            "sqlite",
            "sqlites",
            "http",
            "",
        ];
        const HOSTS: [&str; 18] = [
            "a",
            "169.254.1.2",
            "169.254",
            "1690254.1.2",
            "10.169.254.1",
            "[fe80::1]",
            "[FE9F::1]",
            "[feb0::1]",
            "[fe80]",
            "[fe8g::1]",
            "[fec0::1]",
            "[fe8::1]",
            "[::fe80:1]",
            "fe80::1",
            "[fe80",
            "[Fea",
            "%5Bfe80::1]",
            "",
        ];
        let mut url = self.one(&SCHEMES).to_owned();
        url.push_str(self.one(&["://", "://", "://", ":", ":/", "//"]));
        for _ in 0..self.0.random_range(1..=3) {
            let account = self.one(&["", "", "u@", "u:p@", "u:[fe80:@", ","]);
            let end = self.one(&["", "/", ":1", ",", "/0?a=b,"]);
            url = [url.as_str(), account, self.one(&HOSTS), end].concat();
        }
        url
    }

    fn recipe(&mut self) -> Value {
        let mut recipe = json!({"tables": self.several(1, 2, |draw| {
            let mut table = draw.table();
            if draw.sometimes() {
                table["children"] = draw.several(0, 2, Self::table).into();
            }
            table
        })});
        if self.sometimes() {
            recipe["functions"] = self.one(&[json!([]), json!(["f"]), json!([])]);
        }
        recipe
    }

    fn table(&mut self) -> Value {
        let columns = self.one(&["a", "a", "a", "true", "false", "True"]);
        let optional = json!({
            "onConflict": self.one(&["Fail", "Ignore", "Update"]), "key": self.several(0, 1, |_| "a"),
        });
        let mut table = self.some_of(optional);
        table["table"] = "t".into();
        table["columns"] = json!({columns: "1"});
        table
    }

    fn scaling(&mut self) -> Value {
        let fields = json!({
            "mode": self.one(&["Auto", "Manual", "Paused"]), "minReplicas": self.small(), "maxReplicas": self.small(),
            "onQueueFailure": self.one(&["Hold", "Static"]), "staticReplicas": self.small(),
            "schedules": self.several(0, 3, Self::schedule),
        });
        self.some_of(fields)
    }

    fn schedule(&mut self) -> Value {
        let times = ["0 8 * * *", "0 9 * * *", "0 9 * * 1"];
        let fields = json!({"minReplicas": self.small(), "maxReplicas": self.small()});
        let mut schedule = self.some_of(fields);
        schedule["name"] = self.one(&["a", "b", "c"]).into();
        schedule["start"] = self.one(&times).into();
        schedule["end"] = self.one(&times).into();
        schedule
    }

    fn worker(&mut self) -> Value {
        let grace = json!({"terminationGracePeriodSeconds": self.small()});
        let grace = self.some_of(grace);
        let template = self.one(&[json!({}), json!({"metadata": {}}), json!({"spec": grace})]);
        let fields = json!({"concurrency": self.small(), "drainSeconds": self.small(), "template": template});
        self.some_of(fields)
    }
}

#[test]
fn cel_and_rust_say_the_same_of_a_new_manifest() {
    let cel = Cel::new();
    let mut draw = Draw::new();
    let (mut broken, mut taken) = (BTreeSet::new(), 0);
    for _ in 0..DRAWN {
        let manifest = cel.defaulted(&draw.manifest());
        let found = cel.messages(&manifest, None);
        assert_eq!(found, messages(validate(&spec(&manifest))), "CEL, and Rust, of {manifest:#}");
        taken += usize::from(found.is_empty());
        broken.extend(found);
    }
    assert!(taken > 10, "{taken} of {DRAWN} break no rule");
    // Rules about a change have a test of their own.
    let changes = [
        "protocol is immutable: make a new JobQueue instead",
        "replicas can be changed in scaling.mode: Manual only: change the mode too, or leave replicas out",
    ];
    let untried: Vec<String> = cel.rules().into_iter().filter(|rule| !broken.contains(rule)).collect();
    assert_eq!(untried, changes, "no drawn manifest breaks these rules");
}

#[test]
fn cel_and_rust_say_the_same_of_a_change() {
    let cel = Cel::new();
    let mut draw = Draw::new();
    let mut broken = BTreeSet::new();
    for _ in 0..DRAWN / 4 {
        let [old, new] = [(), ()].map(|()| cel.defaulted(&draw.manifest()));
        let mut problems = validate(&spec(&new));
        problems.extend(validate_update(&spec(&old), &spec(&new)));
        let found = cel.messages(&new, Some(&old));
        assert_eq!(found, messages(problems), "CEL, and Rust, of a change from {old:#} to {new:#}");
        broken.extend(found);
    }
    assert_eq!(broken, cel.rules(), "every rule is broken by a drawn change");
}

#[test]
fn drawn_manifests_are_what_the_schema_takes() {
    // The rules in Rust come after the schema: its problems would hide theirs.
    let mut draw = Draw::new();
    for _ in 0..DRAWN / 50 {
        let manifest = draw.manifest();
        let expected: Vec<String> = validate(&spec(&manifest)).iter().map(ToString::to_string).collect();
        let read = JobQueue::from_yaml(&manifest.to_string()).map(|_| Vec::new());
        let found =
            read.unwrap_or_else(|error| error.to_string().lines().skip(1).map(|it| it.trim().to_owned()).collect());
        assert_eq!(found, expected, "{manifest:#}");
    }
}

#[test]
fn cel_and_rust_take_the_same_names() {
    let cel = Cel::new();
    let mut draw = Draw::new();
    for _ in 0..DRAWN / 20 {
        let parts = draw.several(0, 5, |draw| draw.one(&["a", "z9", "-", "A", ".", "_", "ä", "aaaaaaaaaaaaaaaaaaaa"]));
        let manifest = json!({"apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue", "metadata": {"name": parts.concat()},
            "spec": {"queue": {"names": ["q"], "redis": {"url": "redis://a"}}}});
        let refused = cel.messages(&cel.defaulted(&manifest), None);
        let read = JobQueue::from_yaml(&manifest.to_string());
        assert_eq!(refused.is_empty(), read.is_ok(), "{refused:?}, {read:?}");
    }
}
