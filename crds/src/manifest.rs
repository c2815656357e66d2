//! Reading manifests: every JobQueue of a multi-document YAML file, or every problem in it.

use serde::Deserialize;
use serde_json::Value;

use crate::schema::{check_spec, did_you_mean};
use crate::yaml_words::{Words, other_keys};
use crate::{JobQueue, Problem, validate};

/// What a name may look like, for people; [`is_dns_name`] decides.
pub(crate) const NAME_RULE: &str = "lower case letters, digits and - only, at most 63, no - at the ends";

const API_VERSION: &str = "jobqueue.dev/v1alpha1";

/// Why a manifest cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not YAML; the text has line and column.
    #[error("document {document} is not valid YAML: {cause}")]
    Yaml {
        /// Counted from 1.
        document: usize,
        /// The parser's words.
        cause: String,
    },
    /// There is nothing for us in it.
    #[error("no JobQueue in the manifest{}", found_kinds(.kinds))]
    Empty {
        /// The kinds that are in it.
        kinds: Vec<String>,
    },
    /// One was wanted and there are more.
    #[error("the manifest has several JobQueues ({}): name one", .names.join(", "))]
    Several {
        /// Their names.
        names: Vec<String>,
    },
    /// The one that was named is not there.
    #[error("no JobQueue named {name} in the manifest, which has {}", .names.join(", "))]
    NotFound {
        /// The name asked for.
        name: String,
        /// Those that are there.
        names: Vec<String>,
    },
    /// Rules are broken.
    #[error("{}", problem_list(.name, .problems))]
    Invalid {
        /// The JobQueue's name, as far as it has one.
        name: String,
        /// All of them.
        problems: Vec<Problem>,
    },
}

impl JobQueue {
    /// Every JobQueue of a YAML text, checked by the schema and the rules; documents of other kinds are passed over.
    pub fn from_yaml(text: &str) -> Result<Vec<Self>, ManifestError> {
        let mut queues = Vec::new();
        let mut kinds = Vec::new();
        for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
            let value = parse(document).map_err(|cause| ManifestError::Yaml { document: index + 1, cause })?;
            if value.is_null() {
                continue;
            }
            let kind = value["kind"].as_str().unwrap_or("a document without a kind");
            if kind == "JobQueue" || looks_like_ours(&value) {
                queues.push(read(value)?);
            } else {
                kinds.push(kind.to_owned());
            }
        }
        if queues.is_empty() { Err(ManifestError::Empty { kinds }) } else { Ok(queues) }
    }

    /// What the JobQueues of a manifest say otherwise to `kubectl`, which reads YAML 1.1: bare words that are booleans to
    /// it, and keys that are no text. Each with its path and the remedy. Nothing is said of a text that is no YAML.
    pub fn yaml_warnings(text: &str) -> Vec<Problem> {
        let words = Words::find(text);
        let read = words.as_ref().map_or(text, Words::text);
        let mut warnings = Vec::new();
        for document in serde_yaml::Deserializer::from_str(read) {
            let Ok(document) = serde_yaml::Value::deserialize(document) else { break };
            if document.get("kind").and_then(serde_yaml::Value::as_str) == Some("JobQueue") {
                warnings.extend(other_keys(&document));
                warnings.extend(words.iter().flat_map(|words| words.problems(&document)));
            }
        }
        warnings
    }

    /// The JobQueue called `name`, or the only one.
    pub fn one_from_yaml(text: &str, name: Option<&str>) -> Result<Self, ManifestError> {
        let mut queues = Self::from_yaml(text)?;
        let names = || queues.iter().filter_map(|queue| queue.metadata.name.clone()).collect::<Vec<_>>();
        let index = match name {
            Some(name) => queues
                .iter()
                .position(|queue| queue.metadata.name.as_deref() == Some(name))
                .ok_or_else(|| ManifestError::NotFound { name: name.to_owned(), names: names() })?,
            None if queues.len() > 1 => return Err(ManifestError::Several { names: names() }),
            None => 0,
        };
        Ok(queues.swap_remove(index))
    }
}

/// One document as JSON. Duplicate keys are errors, `<<` merges.
fn parse(document: serde_yaml::Deserializer<'_>) -> Result<Value, String> {
    let mut yaml = serde_yaml::Value::deserialize(document).map_err(|error| error.to_string())?;
    // The parser's words for a key that is null do not name it.
    let key = other_keys(&yaml).into_iter().next();
    yaml.apply_merge().map_err(|error| error.to_string())?;
    serde_json::to_value(yaml).map_err(|error| key.map_or_else(|| error.to_string(), |key| key.to_string()))
}

fn looks_like_ours(value: &Value) -> bool {
    value["apiVersion"].as_str().is_some_and(|version| version.starts_with("jobqueue.dev/"))
}

fn read(mut value: Value) -> Result<JobQueue, ManifestError> {
    let name = value["metadata"]["name"].as_str().unwrap_or("(no name)").to_owned();
    let mut problems = envelope_problems(&value);
    match value.get_mut("spec") {
        Some(spec) => problems.extend(check_spec(spec)),
        None => problems.push(Problem::new("spec", "required, but missing")),
    }
    if !problems.is_empty() {
        return Err(ManifestError::Invalid { name, problems });
    }
    let queue: JobQueue = serde_json::from_value(value).map_err(|error| ManifestError::Invalid {
        name: name.clone(),
        problems: vec![Problem::new("spec", error.to_string())],
    })?;
    let problems = validate(&queue.spec);
    if problems.is_empty() { Ok(queue) } else { Err(ManifestError::Invalid { name, problems }) }
}

/// What is wrong outside of `spec`.
fn envelope_problems(value: &Value) -> Vec<Problem> {
    const FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    let mut problems = Vec::new();
    let kind = value["kind"].as_str();
    if kind != Some("JobQueue") {
        problems.push(Problem::new("kind", format!("{} is not JobQueue", kind.unwrap_or("(none)"))));
    }
    if value["apiVersion"] != API_VERSION {
        let found = value["apiVersion"].as_str().unwrap_or("(none)");
        problems.push(Problem::new("apiVersion", format!("{found} is not {API_VERSION}")));
    }
    for name in value.as_object().into_iter().flatten().map(|(name, _)| name) {
        if !FIELDS.contains(&name.as_str()) {
            let hint = did_you_mean(name, FIELDS.into_iter());
            problems.push(Problem::new(name.as_str(), format!("unknown field{hint}")));
        }
    }
    match value["metadata"]["name"].as_str() {
        None => problems.push(Problem::new("metadata.name", "required, but missing")),
        Some(name) if !is_dns_name(name) => {
            let text = format!("{name:?} is not a name: {NAME_RULE}");
            problems.push(Problem::new("metadata.name", text));
        }
        Some(_) => {}
    }
    problems
}

/// An RFC 1123 label: the name also becomes a label's value and part of other objects' names.
fn is_dns_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len()) && name.chars().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

fn found_kinds(kinds: &[String]) -> String {
    if kinds.is_empty() { String::new() } else { format!(", which has {}", kinds.join(", ")) }
}

fn problem_list(name: &str, problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    let count = if problems.len() == 1 { "one problem".into() } else { format!("{} problems", problems.len()) };
    format!("JobQueue {name} has {count}:{}", lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fixtures::COMPANIES;

    fn error(text: &str) -> String {
        JobQueue::from_yaml(text).expect_err("problems").to_string()
    }

    #[test]
    fn reads_the_jobqueues_of_several_documents() {
        let text =
            format!("---\nkind: Secret\n---\n{COMPANIES}---\n{}", COMPANIES.replace("name: companies", "name: b"));
        let names: Vec<_> = JobQueue::from_yaml(&text).expect("valid").into_iter().map(|q| q.metadata.name).collect();
        assert_eq!(names, [Some("companies".to_owned()), Some("b".to_owned())]);
        assert_eq!(JobQueue::one_from_yaml(&text, Some("b")).expect("b").metadata.name.as_deref(), Some("b"));
        let several = JobQueue::one_from_yaml(&text, None).expect_err("two");
        assert_eq!(several.to_string(), "the manifest has several JobQueues (companies, b): name one");
        let missing = JobQueue::one_from_yaml(&text, Some("c")).expect_err("none");
        assert_eq!(missing.to_string(), "no JobQueue named c in the manifest, which has companies, b");
    }

    #[test]
    fn reports_what_is_wrong_with_the_text() {
        assert_eq!(error(""), "no JobQueue in the manifest");
        assert_eq!(error("kind: Secret"), "no JobQueue in the manifest, which has Secret");
        assert!(error("a: [").starts_with("document 1 is not valid YAML: "), "{}", error("a: ["));
        assert!(error("a: 1\na: 2").contains("duplicate"), "{}", error("a: 1\na: 2"));
    }

    #[test]
    fn a_bare_word_that_kubectl_reads_as_a_boolean_is_named() {
        let bare = format!("kind: ConfigMap\ndata: {{no: x}}\n---\n{COMPANIES}")
            .replace("            name: ", "            no: ");
        let said: Vec<String> = JobQueue::yaml_warnings(&bare).iter().map(ToString::to_string).collect();
        let path = "spec.ingest[0].tables[0].columns.no";
        assert_eq!(
            said,
            [format!("{path}: kubectl reads the bare key `no` as the boolean false; put it in quotes: \"no\"")]
        );
        JobQueue::from_yaml(&bare).expect("it is valid all the same");
        assert_eq!(JobQueue::yaml_warnings(&bare.replace(" no: ", " \"no\": ")), []);
        // What kubectl makes of it is refused.
        let read = error(&bare.replace(" no: ", " \"false\": "));
        assert!(read.contains("spec.ingest[0].tables[0]") && read.contains("put the name in quotes"), "{read}");
        assert!(error("kind: JobQueue\n~: 1").contains("the bare key `null` is not text"));
    }

    #[test]
    fn reports_every_problem_of_the_envelope() {
        let text = "apiVersion: jobqueue.dev/v1\nkind: Jobqueue\nmetadata: {name: My_Queue}\nspecs: {}";
        assert_eq!(
            error(text).lines().collect::<Vec<_>>(),
            [
                "JobQueue My_Queue has 5 problems:",
                "  kind: Jobqueue is not JobQueue",
                "  apiVersion: jobqueue.dev/v1 is not jobqueue.dev/v1alpha1",
                "  specs: unknown field; did you mean spec?",
                "  metadata.name: \"My_Queue\" is not a name: lower case letters, digits and - only, at most 63, no - at the ends",
                "  spec: required, but missing",
            ]
        );
    }

    #[test]
    fn rules_between_fields_are_checked() {
        let text = COMPANIES.replace("minReplicas: 0", "minReplicas: 30");
        assert_eq!(
            error(&text),
            "JobQueue companies has one problem:\n  spec.scaling: minReplicas may not exceed maxReplicas"
        );
    }
}
