//! The workers' Deployment: restricted by default, and the user's template merged over it.

use jobqueue_crds::{DatabaseSpec, JobQueueSpec, SecretKeyRef, SecretRef, TlsSpec};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, ConfigMap, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource,
            HTTPGetAction, KeyToPath, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
            ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecretKeySelector, SecretProjection,
            SecurityContext, TopologySpreadConstraint, Volume, VolumeMount, VolumeProjection,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{
    BuildError, BuildInput, CONFIG_HASH, CONTAINER, NETWORK_POLICY, NO_DISRUPTION_BUDGET, PROTECT_BUSY, Rendition,
    SECRET_HASH, SECRET_VERSION, config_map, template_patch,
};
use crate::{names::selector_labels, state::applied::Surge};

const CONFIG_DIRECTORY: &str = "/etc/jobqueue";
const REDIS_TLS: &str = "/etc/jobqueue-redis-tls";
const DATABASE_TLS: &str = "/etc/jobqueue-database-tls";
/// Health and metrics.
pub(super) const PORT: i32 = 9090;
/// What keeps Karpenter and the cluster autoscaler from emptying a node to save it.
const STAYS: [(&str, &str); 2] =
    [("karpenter.sh/do-not-disrupt", "true"), ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false")];
/// How much longer than `drainSeconds` the kubelet waits before it kills.
const GRACE_BEYOND_DRAIN: i64 = 5;

pub(super) fn deployment(input: &BuildInput<'_>, config: Option<&ConfigMap>) -> Result<Deployment, BuildError> {
    let queue = input.queue;
    let selector = selector_labels(queue);
    let mut metadata = super::metadata(queue);
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(SECRET_VERSION.to_owned(), input.secret_version.to_owned());
    let mut mark = |name: &str| annotations.insert(name.to_owned(), "true".to_owned());
    if queue.spec.worker.network_policy.is_some() {
        mark(NETWORK_POLICY);
    }
    if queue.spec.worker.pod_disruption_budget.as_ref().is_some_and(|budget| !budget.enabled) {
        mark(NO_DISRUPTION_BUDGET);
    }
    if queue.spec.scaling.scale_down.protect_busy {
        mark(PROTECT_BUSY);
    }
    Ok(Deployment {
        metadata,
        spec: DeploymentSpec {
            replicas: Some(i32::try_from(input.replicas).unwrap_or(i32::MAX)),
            // A rollout must be able to go on while workers cannot get ready, and never doubles the load.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(Surge::within(input.room, input.replicas).into()),
                    max_unavailable: Some(IntOrString::String("25%".into())),
                }),
            }),
            revision_history_limit: Some(3),
            selector: LabelSelector { match_labels: Some(selector), ..LabelSelector::default() },
            template: with_user_template(pod_template(input, config), input)?,
            ..DeploymentSpec::default()
        },
        status: None,
    })
}

fn with_user_template(ours: PodTemplateSpec, input: &BuildInput<'_>) -> Result<PodTemplateSpec, BuildError> {
    let (of_all, own) = (input.workers.template(), input.queue.spec.worker.template.as_ref());
    if of_all.is_empty() && own.is_none() {
        return Ok(ours);
    }
    let mut value = serde_json::to_value(ours).expect("a pod template serialises");
    let merged = value.as_object_mut().expect("a pod template is an object");
    // The queue's own comes last, and wins.
    for patch in [of_all].into_iter().chain(own) {
        template_patch::merge(merged, patch);
    }
    let mut template: PodTemplateSpec =
        serde_json::from_value(value).map_err(|error| BuildError::Template(error.to_string()))?;
    // The selector's labels are what makes a pod ours.
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.extend(selector_labels(input.queue));
    Ok(template)
}

fn pod_template(input: &BuildInput<'_>, config: Option<&ConfigMap>) -> PodTemplateSpec {
    let config_hash = config.map(|config| (CONFIG_HASH, config_map::hash(config)));
    let annotations = config_hash.into_iter().chain([(SECRET_HASH, input.secret_mark.to_owned())]);
    // Earlier operators had none of these: they come when the pods are replaced for another reason.
    let stays = input.queue.spec.scaling.scale_down.protect_busy && input.rendition == Rendition::Present;
    let stays = STAYS.into_iter().filter(|_| stays);
    let annotations = annotations.chain(stays.map(|(name, value)| (name, value.to_owned())));
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(selector_labels(input.queue)),
            annotations: Some(annotations.map(|(key, value)| (key.to_owned(), value)).collect()),
            ..ObjectMeta::default()
        }),
        spec: Some(pod_spec(input, config)),
    }
}

fn pod_spec(input: &BuildInput<'_>, config: Option<&ConfigMap>) -> PodSpec {
    let spec = &input.queue.spec;
    // OpenShift gives each namespace a range of users, and admits no other.
    let user = (!input.workers.platform_user).then_some(65532);
    PodSpec {
        containers: vec![container(input)],
        volumes: Some(volumes(input, config)).filter(|volumes| !volumes.is_empty()),
        termination_grace_period_seconds: Some(i64::from(spec.worker.settings.drain_seconds) + GRACE_BEYOND_DRAIN),
        // A worker needs nothing of Kubernetes.
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: user,
            run_as_group: user,
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        topology_spread_constraints: Some(vec![TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".into(),
            when_unsatisfiable: "ScheduleAnyway".into(),
            label_selector: Some(LabelSelector {
                match_labels: Some(selector_labels(input.queue)),
                ..LabelSelector::default()
            }),
            ..TopologySpreadConstraint::default()
        }]),
        ..PodSpec::default()
    }
}

fn container(input: &BuildInput<'_>) -> Container {
    let spec = &input.queue.spec;
    let ours = spec.ingest.is_some();
    Container {
        name: CONTAINER.into(),
        image: Some(spec.worker.image.clone().unwrap_or_else(|| input.workers.image.clone())),
        env: Some(environment(input)),
        ports: ours.then(|| {
            vec![ContainerPort { name: Some("metrics".into()), container_port: PORT, ..ContainerPort::default() }]
        }),
        readiness_probe: ours.then(|| probe("/readyz", 2)),
        liveness_probe: ours.then(|| probe("/healthz", 10)),
        resources: Some(ResourceRequirements {
            requests: Some(quantities([("cpu", "100m"), ("memory", "64Mi")])),
            limits: Some(quantities([("memory", "512Mi")])),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
            ..SecurityContext::default()
        }),
        // What a worker says when it gives up (an invalid recipe) becomes the reason of a condition.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(mounts(input)).filter(|mounts| !mounts.is_empty()),
        ..Container::default()
    }
}

fn quantities<const N: usize>(items: [(&str, &str); N]) -> std::collections::BTreeMap<String, Quantity> {
    items.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))).into()
}

fn probe(path: &str, period_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::Int(PORT),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        ..Probe::default()
    }
}

/// URLs reach the worker by reference, so that no password stands in the Deployment.
fn environment(input: &BuildInput<'_>) -> Vec<EnvVar> {
    let spec = &input.queue.spec;
    let redis = &spec.queue.redis;
    let mut variables = vec![
        EnvVar {
            name: "POD_NAME".into(),
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector { field_path: "metadata.name".into(), api_version: None }),
                ..EnvVarSource::default()
            }),
            ..EnvVar::default()
        },
        url_variable("JOBQUEUE_REDIS_URL", redis.url.as_ref(), redis.url_secret_key_ref.as_ref()),
    ];
    if let Some(DatabaseSpec { url, url_secret_key_ref, .. }) = &spec.database {
        variables.push(url_variable("JOBQUEUE_DATABASE_URL", url.as_ref(), url_secret_key_ref.as_ref()));
    }
    if spec.ingest.is_some() {
        // A worker that waits is back sooner than one that the kubelet restarts, later and later.
        variables.push(plain("JOBQUEUE_WAIT_FOR_TABLES", "true"));
        variables.push(plain("JOBQUEUE_CONFIG", &format!("{CONFIG_DIRECTORY}/{}", config_map::FILE)));
        if input.rendition == Rendition::Present {
            // Not in the file, where a worker that knows no versions would take it for a mistyped field.
            variables.push(plain("JOBQUEUE_CONFIG_VERSION", &config_map::version(input.queue)));
        }
    }
    let database_password = spec.database.as_ref().and_then(|database| database.password_file.as_deref());
    let files = [("REDIS", redis.password_file.as_deref()), ("DATABASE", database_password)];
    let file = |(server, path): (&str, Option<&str>)| Some(plain(&format!("JOBQUEUE_{server}_PASSWORD_FILE"), path?));
    variables.extend(files.into_iter().filter_map(file));
    variables.extend(certificates("REDIS", REDIS_TLS, redis.tls.as_ref()));
    variables.extend(certificates("DATABASE", DATABASE_TLS, database_tls(spec)));
    variables
}

fn database_tls(spec: &JobQueueSpec) -> Option<&TlsSpec> {
    spec.database.as_ref()?.tls.as_ref()
}

/// The files of a server's certificates, as the worker looks for them.
fn certificates(server: &str, directory: &str, tls: Option<&TlsSpec>) -> Vec<EnvVar> {
    let Some(TlsSpec { ca_secret_key_ref, client_certificate_secret_ref }) = tls else { return Vec::new() };
    let variable = |what: &str, file: &str| plain(&format!("JOBQUEUE_{server}_{what}"), &format!("{directory}/{file}"));
    let authority = ca_secret_key_ref.iter().map(|_| variable("CA", "ca.crt"));
    let client = client_certificate_secret_ref.iter();
    let client = client.flat_map(|_| [variable("CERT", "tls.crt"), variable("KEY", "tls.key")]);
    authority.chain(client).collect()
}

fn plain(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), value: Some(value.into()), ..EnvVar::default() }
}

fn url_variable(name: &str, url: Option<&String>, secret: Option<&SecretKeyRef>) -> EnvVar {
    EnvVar {
        name: name.into(),
        value: url.cloned(),
        value_from: secret.map(|SecretKeyRef { name, key }| EnvVarSource {
            secret_key_ref: Some(SecretKeySelector { name: name.clone(), key: key.clone(), optional: None }),
            ..EnvVarSource::default()
        }),
    }
}

fn volumes(input: &BuildInput<'_>, config: Option<&ConfigMap>) -> Vec<Volume> {
    let config = config.map(|config| Volume {
        name: "config".into(),
        config_map: Some(ConfigMapVolumeSource {
            name: config.metadata.name.clone().unwrap_or_default(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    });
    let spec = &input.queue.spec;
    let redis = tls_volume("redis-tls", spec.queue.redis.tls.as_ref());
    config.into_iter().chain(redis).chain(tls_volume("database-tls", database_tls(spec))).collect()
}

fn tls_volume(name: &str, tls: Option<&TlsSpec>) -> Option<Volume> {
    let TlsSpec { ca_secret_key_ref, client_certificate_secret_ref } = tls?;
    let file = |key: &str, path: &str| KeyToPath { key: key.into(), path: path.into(), ..KeyToPath::default() };
    let ca = ca_secret_key_ref.as_ref().map(|SecretKeyRef { name, key }| secret_files(name, vec![file(key, "ca.crt")]));
    let client = client_certificate_secret_ref
        .as_ref()
        .map(|SecretRef { name }| secret_files(name, vec![file("tls.crt", "tls.crt"), file("tls.key", "tls.key")]));
    Some(Volume {
        name: name.into(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(ca.into_iter().chain(client).collect()),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    })
}

fn secret_files(name: &str, items: Vec<KeyToPath>) -> VolumeProjection {
    VolumeProjection {
        secret: Some(SecretProjection { name: name.into(), items: Some(items), optional: None }),
        ..VolumeProjection::default()
    }
}

fn mounts(input: &BuildInput<'_>) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str| VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    let spec = &input.queue.spec;
    let config = spec.ingest.as_ref().map(|_| mount("config", CONFIG_DIRECTORY));
    let tls = spec.queue.redis.tls.as_ref().map(|_| mount("redis-tls", REDIS_TLS));
    let database = database_tls(spec).map(|_| mount("database-tls", DATABASE_TLS));
    config.into_iter().chain(tls).chain(database).collect()
}
