//! The sliders of the simulator's page: sliders over a list of values that has the present one in it.

use jobqueue_crds::{JobQueueSpec, ScalingMode};

use crate::text::{self, whole};

const WORKERS: [f64; 25] = [
    0., 1., 2., 3., 4., 5., 6., 8., 10., 12., 15., 20., 25., 30., 40., 50., 60., 80., 100., 150., 200., 300., 500.,
    1_000., 2_000.,
];
/// A target of 0 is none.
const TARGETS: [f64; 21] =
    [0., 1., 2., 3., 5., 7., 10., 15., 20., 30., 45., 60., 90., 120., 180., 300., 600., 900., 1_800., 3_600., 7_200.];
const COUNTS: [f64; 18] =
    [0., 1., 2., 3., 5., 10., 20., 30., 50., 100., 200., 500., 1_000., 2_000., 5_000., 10_000., 20_000., 50_000.];
const JOBS: [f64; 22] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1., 2., 3., 5., 10., 20., 30., 60., 120., 300., 600., 1_800.,
    3_600.,
];
const STARTS: [f64; 13] = [0., 1., 2., 3., 5., 10., 15., 20., 30., 60., 120., 300., 600.];
const TIMES: [f64; 10] = [0.25, 0.5, 0.75, 1., 1.5, 2., 3., 5., 10., 20.];

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slider {
    MaxWait,
    Drain,
    JobsPerWorker,
    MinReplicas,
    MaxReplicas,
    Arrivals,
    JobSeconds,
    StartSeconds,
    Database,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Workers,
    Jobs,
    Times,
    PerSecond,
}

impl Slider {
    pub(crate) const ALL: [Self; 9] = [
        Self::MaxWait,
        Self::Drain,
        Self::JobsPerWorker,
        Self::MinReplicas,
        Self::MaxReplicas,
        Self::Arrivals,
        Self::JobSeconds,
        Self::StartSeconds,
        Self::Database,
    ];

    /// Whether it is of the manifest; the others are of jobs, pods and database.
    pub(crate) fn is_setting(self) -> bool {
        matches!(self, Self::MaxWait | Self::Drain | Self::JobsPerWorker | Self::MinReplicas | Self::MaxReplicas)
    }

    /// Its name in the address of the page, which for a setting is the manifest's.
    pub(crate) fn name(self) -> &'static str {
        self.parts().0
    }

    pub(crate) fn label(self) -> &'static str {
        self.parts().1
    }

    fn parts(self) -> (&'static str, &'static str, Unit, &'static [f64]) {
        match self {
            Self::MaxWait => ("maxWaitSeconds", "Every job begins within", Unit::Seconds, &TARGETS),
            Self::Drain => ("drainSeconds", "Every job has ended within", Unit::Seconds, &TARGETS),
            Self::JobsPerWorker => ("jobsPerWorker", "Jobs per worker", Unit::Jobs, &COUNTS),
            Self::MinReplicas => ("minReplicas", "The fewest workers", Unit::Workers, &WORKERS),
            Self::MaxReplicas => ("maxReplicas", "The most workers", Unit::Workers, &WORKERS),
            Self::Arrivals => ("arrivals", "Arrivals, compared with what was seen", Unit::Times, &TIMES),
            Self::JobSeconds => ("jobSeconds", "A job takes", Unit::Seconds, &JOBS),
            Self::StartSeconds => ("startSeconds", "A worker takes to start", Unit::Seconds, &STARTS),
            Self::Database => ("databaseRate", "All workers together do at most", Unit::PerSecond, &COUNTS),
        }
    }

    /// A value of it in words.
    pub(crate) fn shown(self, value: f64) -> String {
        let unit = self.parts().2;
        if value <= 0.0
            && (unit == Unit::PerSecond || matches!(self, Self::MaxWait | Self::Drain | Self::JobsPerWorker))
        {
            return if unit == Unit::PerSecond { "no limit" } else { "no target" }.to_owned();
        }
        match unit {
            Unit::Seconds => seconds(value),
            Unit::Workers if (value - 1.0).abs() < f64::EPSILON => "1 worker".to_owned(),
            Unit::Workers => format!("{} workers", text::count(whole(value))),
            Unit::Jobs => text::jobs(whole(value)),
            Unit::Times => format!("× {value}"),
            Unit::PerSecond => format!("{} jobs/s", text::count(whole(value))),
        }
    }
}

/// Seconds with as many digits as are read.
pub(crate) fn seconds(value: f64) -> String {
    match value {
        value if value < 0.1 => format!("{:.0} ms", value * 1000.0),
        value if value < 10.0 => format!("{} s", (value * 10.0).round() / 10.0),
        value if value < 120.0 => format!("{value:.0} s"),
        value => text::span(whole(value)),
    }
}

/// A slider where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Position {
    pub(crate) slider: Slider,
    /// What it can be set to.
    pub(crate) values: Vec<f64>,
    /// Which of them it is set to.
    pub(crate) index: usize,
    /// Which of them is the present one.
    pub(crate) present: usize,
}

impl Position {
    /// Its values are the usual ones and the present one, so that nothing changes where nobody moves it.
    fn new(slider: Slider, present: f64, given: &str) -> Self {
        let (.., usual) = slider.parts();
        let least = if slider == Slider::MaxReplicas { 1.0 } else { 0.0 };
        let mut values: Vec<f64> = usual.iter().copied().chain([present]).filter(|value| *value >= least).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let present = values.iter().position(|value| value.total_cmp(&present).is_eq()).unwrap_or_default();
        let index = given.parse().ok().filter(|index| *index < values.len()).unwrap_or(present);
        Self { slider, values, index, present }
    }

    pub(crate) fn value(&self) -> f64 {
        self.values[self.index]
    }

    fn present(&self) -> f64 {
        self.values[self.present]
    }
}

/// All of them, in the order of [`Slider::ALL`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sliders(pub(crate) Vec<Position>);

impl Sliders {
    /// As the present settings say, and as they are given by name.
    pub(crate) fn new<'a>(spec: &JobQueueSpec, jobs: f64, start: f64, given: impl Fn(&str) -> &'a str) -> Self {
        let targets = &spec.scaling.targets;
        let target = |target: Option<u32>| target.map_or(0.0, f64::from);
        let present = |slider| match slider {
            Slider::MaxWait => target(targets.max_wait_seconds),
            Slider::Drain => target(targets.drain_seconds),
            Slider::JobsPerWorker => target(targets.jobs_per_worker),
            Slider::MinReplicas => f64::from(spec.scaling.min_replicas),
            Slider::MaxReplicas => f64::from(spec.scaling.max_replicas),
            Slider::Arrivals => 1.0,
            Slider::JobSeconds => jobs,
            Slider::StartSeconds => start,
            Slider::Database => 0.0,
        };
        Self(
            Slider::ALL
                .into_iter()
                .map(|slider| Position::new(slider, present(slider), given(slider.name())))
                .collect(),
        )
    }

    pub(crate) fn value(&self, slider: Slider) -> f64 {
        self.0[slider as usize].value()
    }

    /// Whether a setting of the manifest is another one than now.
    pub(crate) fn changes_settings(&self) -> bool {
        self.0.iter().any(|position| position.slider.is_setting() && position.index != position.present)
    }

    /// The manifest with these settings.
    pub(crate) fn applied(&self, spec: &JobQueueSpec) -> JobQueueSpec {
        let mut spec = spec.clone();
        if !self.changes_settings() {
            return spec;
        }
        let count = |slider| u32::try_from(whole(self.value(slider))).unwrap_or(u32::MAX);
        let target = |slider| Some(count(slider)).filter(|target| *target > 0);
        let scaling = &mut spec.scaling;
        // A person, or nobody, would decide.
        scaling.mode = ScalingMode::Auto;
        scaling.targets.max_wait_seconds = target(Slider::MaxWait);
        scaling.targets.drain_seconds = target(Slider::Drain);
        scaling.targets.jobs_per_worker = target(Slider::JobsPerWorker);
        scaling.min_replicas = count(Slider::MinReplicas);
        scaling.max_replicas = count(Slider::MaxReplicas);
        spec
    }

    /// The lines of the manifest that set what is not so now; empty where nothing changes.
    pub(crate) fn manifest(&self, spec: &JobQueueSpec) -> String {
        let (now, then) = (&spec.scaling, self.applied(spec).scaling);
        let mut scaling = serde_yaml::Mapping::new();
        let mut set = |name: &str, value: Option<serde_yaml::Value>| {
            scaling.extend(value.map(|value| (name.into(), value)));
        };
        set("mode", (now.mode != then.mode).then(|| serde_yaml::to_value(then.mode).unwrap_or_default()));
        set("minReplicas", (now.min_replicas != then.min_replicas).then(|| then.min_replicas.into()));
        set("maxReplicas", (now.max_replicas != then.max_replicas).then(|| then.max_replicas.into()));
        // As a whole: a target that is left out is none.
        let targets = || serde_yaml::to_value(&then.targets).unwrap_or_default();
        set("targets", (now.targets != then.targets).then(targets));
        if scaling.is_empty() {
            return String::new();
        }
        let whole = serde_yaml::Mapping::from_iter([(
            "spec".into(),
            serde_yaml::Mapping::from_iter([("scaling".into(), scaling.into())]).into(),
        )]);
        serde_yaml::to_string::<serde_yaml::Mapping>(&whole).unwrap_or_default()
    }

    /// The present value of a slider in words.
    pub(crate) fn now(position: &Position) -> String {
        position.slider.shown(position.present())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec() -> JobQueueSpec {
        let scaling = json!({"maxReplicas": 7, "targets": {"maxWaitSeconds": 33}});
        let queue = json!({"names": ["q"], "redis": {"url": "redis://redis"}});
        serde_json::from_value(json!({"queue": queue, "scaling": scaling})).expect("a manifest")
    }

    #[test]
    fn nothing_changes_where_nobody_moves_a_slider() {
        let sliders = Sliders::new(&spec(), 0.4, 5.0, |_| "");
        assert!(!sliders.changes_settings());
        assert_eq!((sliders.applied(&spec()), sliders.manifest(&spec()).as_str()), (spec(), ""));
        assert_eq!([Slider::MaxWait, Slider::MaxReplicas].map(|slider| whole(sliders.value(slider))), [33, 7]);
        assert_eq!(Slider::ALL.map(|slider| sliders.0[slider as usize].slider), Slider::ALL);
    }

    #[test]
    fn the_lines_of_the_manifest_set_what_the_sliders_say() {
        let moved = |name: &str| match name {
            "maxWaitSeconds" => "0",
            "drainSeconds" => "5",
            "maxReplicas" => "8",
            "minReplicas" => "99999",
            _ => "x",
        };
        let sliders = Sliders::new(&spec(), 0.4, 5.0, moved);
        let lines = sliders.manifest(&spec());
        assert_eq!(lines, "spec:\n  scaling:\n    maxReplicas: 10\n    targets:\n      drainSeconds: 7\n");
        let mut whole = serde_json::to_value(spec()).expect("JSON");
        let set: serde_json::Value = serde_yaml::from_str(&lines).expect("YAML");
        whole["scaling"]["maxReplicas"] = set["spec"]["scaling"]["maxReplicas"].clone();
        whole["scaling"]["targets"] = set["spec"]["scaling"]["targets"].clone();
        let whole: JobQueueSpec = serde_json::from_value(whole).expect("a manifest");
        assert_eq!(whole, sliders.applied(&spec()));
    }

    #[test]
    fn values_have_words() {
        let shown = [
            Slider::MaxWait.shown(0.0),
            Slider::MaxWait.shown(90.0),
            Slider::MinReplicas.shown(0.0),
            Slider::MaxReplicas.shown(1.0),
            Slider::JobSeconds.shown(0.02),
            Slider::Database.shown(0.0),
            Slider::Arrivals.shown(1.5),
        ];
        assert_eq!(shown, ["no target", "90 s", "0 workers", "1 worker", "20 ms", "no limit", "× 1.5"]);
    }
}
