//! Opens the database of a command, with its recipe checked against it.

use jobqueue_crds::JobQueue;
use jobqueue_ingest::{DatabaseUrl, Recipe, Sink, SinkError, SinkOptions, TimeZone};

use crate::common::exit::{Exit, Failure};
use crate::common::output::Output;
use crate::common::target::{Target, required, usage};
use crate::common::tls::replace_for_database;

impl Target {
    /// The database's URL, if one is given anywhere, to connect to.
    pub(crate) fn database_if_given(&self) -> anyhow::Result<Option<DatabaseUrl>> {
        let manifest = self.manifest.as_ref().and_then(|manifest| manifest.spec.database.as_ref());
        let written = manifest.filter(|database| self.database.is_none() && database.url.is_some());
        replace_for_database(written.and_then(|database| database.tls.as_ref()))?;
        self.database_as_written()
    }

    /// The same, to look at only.
    pub(crate) fn database_as_written(&self) -> anyhow::Result<Option<DatabaseUrl>> {
        let manifest = self.manifest.as_ref().and_then(|manifest| manifest.spec.database.as_ref());
        let text = self.database.as_deref().or_else(|| manifest.and_then(|database| database.url.as_deref()));
        text.map(|text| text.parse().map_err(|error| usage(&error))).transpose()
    }

    /// The time zone in which the manifest uses the database, if it says one.
    pub(crate) fn time_zone(&self) -> anyhow::Result<Option<TimeZone>> {
        self.manifest.as_ref().map_or(Ok(None), time_zone)
    }

    /// The database's URL.
    pub(crate) fn database(&self) -> anyhow::Result<DatabaseUrl> {
        if let Some(url) = self.database_if_given()? {
            return Ok(url);
        }
        let manifest = self.manifest.as_ref().and_then(|manifest| manifest.spec.database.as_ref());
        let secret = manifest.and_then(|database| database.url_secret_key_ref.as_ref());
        required(None, secret, "the database", "--database URL", "JOBQUEUE_DATABASE_URL")
            .and_then(|text| text.parse().map_err(|error| usage(&error)))
    }
}

/// `spec.database.timeZone`.
pub(crate) fn time_zone(manifest: &JobQueue) -> anyhow::Result<Option<TimeZone>> {
    let zone = manifest.spec.database.as_ref().and_then(|database| database.settings.time_zone.as_deref());
    zone.map(|zone| {
        zone.parse().map_err(|error| Failure::new(Exit::Usage, format!("spec.database.timeZone: {error}")).into())
    })
    .transpose()
}

/// Connects, checks the recipe against the schema, and makes sure of the ledger.
pub(crate) async fn open(target: &Target, recipe: &Recipe, output: Output) -> anyhow::Result<Box<dyn Sink>> {
    let sink = connect(&target.database()?, target.time_zone()?).await?;
    check(sink.as_ref(), recipe, output).await?;
    sink.ensure_ledger().await.map_err(sink_failure)?;
    Ok(sink)
}

/// Connects.
pub(crate) async fn connect(url: &DatabaseUrl, time_zone: Option<TimeZone>) -> anyhow::Result<Box<dyn Sink>> {
    let options = SinkOptions { time_zone, ..SinkOptions::default() };
    jobqueue_ingest::sink::connect(url, options).await.map_err(sink_failure)
}

/// Every way in which the recipe and the schema disagree; what may go wrong all the same is a warning.
pub(crate) async fn check(sink: &dyn Sink, recipe: &Recipe, output: Output) -> anyhow::Result<()> {
    sink.validate(recipe).await.map_err(sink_failure)?.map_err(|problems| {
        let list: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
        let message = format!("the recipe does not fit the database in {} place(s):\n{}", list.len(), list.join("\n"));
        anyhow::Error::from(Failure::new(Exit::Usage, message))
    })?;
    for warning in sink.warnings(recipe).await.map_err(sink_failure)? {
        output.warn(&warning.to_string());
    }
    Ok(())
}

/// The database's failure with its exit code, and what to check.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
pub(crate) fn sink_failure(error: SinkError) -> anyhow::Error {
    Failure::new(Exit::from(&error), error.to_string()).hint_if(error.remedy()).into()
}

impl From<&SinkError> for Exit {
    fn from(error: &SinkError) -> Self {
        match error {
            SinkError::Unavailable { .. }
            | SinkError::Unwritable { .. }
            | SinkError::Disconnected { .. }
            | SinkError::Denied { .. }
            | SinkError::SchemaMismatch { .. } => Self::Unreachable,
            SinkError::Config(_) => Self::Usage,
        }
    }
}
