//! The names of conditions and of their reasons. Closed sets: what is listed in the documentation is what appears.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumCount, EnumIter, EnumString, IntoStaticStr};

/// Types of conditions; all are always present, and each is a state rather than a transition.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    EnumCount,
    EnumIter,
    IntoStaticStr,
)]
pub enum ConditionType {
    /// The queue is served as specified; also while idle at zero, paused or limited.
    Ready,
    /// A change of the spec is being carried out.
    Reconciling,
    /// It cannot go on without a person: a missing Secret, an invalid recipe, an image that cannot be pulled.
    Stalled,
    /// Redis answers.
    QueueReachable,
    /// The database answers, as the workers report it.
    DatabaseReachable,
    /// As many workers are ready as were asked for.
    WorkersAvailable,
    /// The number of workers is what the targets ask for.
    ScaledToTarget,
    /// A limit keeps the number of workers below what the targets ask for.
    ScalingLimited,
    /// `scaling.mode: Paused`.
    Paused,
    /// Work goes on, but something needs a look.
    Degraded,
}

/// Reasons of conditions.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    EnumIter,
    IntoStaticStr,
)]
pub enum Reason {
    /// Everything is as specified.
    AsSpecified,
    /// Not looked at yet.
    Pending,
    /// There is nothing to do.
    Idle,
    /// Workers are at work.
    Working,
    /// The condition does not apply to this queue.
    NotApplicable,
    /// A new spec is being carried out.
    SpecChanged,
    /// Workers are being replaced.
    RollingOut,
    /// The operator cannot carry out the spec yet, and tries again.
    Retrying,
    /// The workers' Deployment was rolled back by hand.
    RolledBack,
    /// Workers are to be replaced because the operator changed, after those of other queues.
    RolloutQueued,
    /// The spec breaks a rule.
    InvalidSpec,
    /// The recipe breaks a rule, or does not fit the database.
    InvalidRecipe,
    /// A Secret that the spec names does not exist.
    SecretNotFound,
    /// A Secret lacks the key that the spec names.
    SecretKeyNotFound,
    /// A connection URL cannot be understood.
    InvalidUrl,
    /// The workers' image cannot be pulled.
    ImagePullFailed,
    /// A quota, a policy or missing rights forbid the workers, or an object that they need.
    WorkersForbidden,
    /// A Deployment of the name that the workers' would have belongs to something else.
    NameTaken,
    /// No node takes the workers.
    Unschedulable,
    /// A volume of a worker's pod cannot be attached or mounted.
    MountFailed,
    /// The sandbox of a worker's pod, which is its network, cannot be set up.
    SandboxFailed,
    /// Somebody paused the workers' Deployment.
    DeploymentPaused,
    /// The rollout of the workers' Deployment makes no progress.
    ProgressDeadlineExceeded,
    /// Workers crash at start.
    WorkersCrashing,
    /// Workers start.
    WorkersStarting,
    /// Something else scales our Deployment.
    ScalerConflict,
    /// The server answers.
    Reachable,
    /// The server cannot be reached.
    Unreachable,
    /// The server refuses our credentials or certificate.
    Denied,
    /// A key in Redis holds something else than the protocol expects.
    WrongData,
    /// Redis may evict keys: its `maxmemory-policy` is not `noeviction`.
    EvictionPossible,
    /// Jobs fail at an unusual rate.
    JobsFailing,
    /// The targets are met, or being met.
    OnTarget,
    /// `maxReplicas` is reached.
    MaxReplicas,
    /// The database's connection budget is used up.
    ConnectionBudget,
    /// `maxReplicas` of a schedule that is in force.
    Schedule,
    /// More workers would not raise the total rate, or the database reports errors.
    DatabaseSaturated,
    /// Fewer workers are tried for a while: they may do as much.
    Probing,
    /// `maxStep` limits this change.
    StepLimited,
    /// Workers with jobs in hand stay: `scaleDown.protectBusy`.
    ProtectBusy,
    /// A change waits for its stabilization window.
    Stabilizing,
    /// No limit applies.
    NotLimited,
    /// `scaling.mode: Paused`.
    ModePaused,
    /// `scaling.mode: Manual`.
    ModeManual,
    /// `scaling.mode: Auto`.
    ModeAuto,
}
