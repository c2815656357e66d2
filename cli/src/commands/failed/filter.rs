//! Which of the failed jobs are meant.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use clap::Args;
use jobqueue_queue::PayloadLimits;
use jobqueue_queue::admin::FailedJob;

use super::Registry;
use crate::common::exit::queue_failure;

/// Jobs fetched at a time; their payloads come along.
const PAGE: usize = 500;

/// Filters; a job must pass all that are given.
#[derive(Debug, Clone, Args)]
pub(super) struct Filters {
    /// Only jobs whose error contains this text
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// Only jobs of this function
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Only jobs that failed since: `90s`, `15m`, `2h`, `7d` ago, a date, or a time as 2026-01-31T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<Since>,
    /// Only this job; may be repeated
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
    /// At most so many jobs
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

/// A moment, or an age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Moment(DateTime<Utc>),
    Ago(TimeDelta),
}

impl Since {
    fn moment(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Moment(moment) => moment,
            Self::Ago(age) => now.checked_sub_signed(age).unwrap_or(DateTime::<Utc>::MIN_UTC),
        }
    }
}

impl Filters {
    /// Whether anything narrows the choice.
    pub(super) fn are_given(&self) -> bool {
        self.error.is_some()
            || self.function.is_some()
            || self.since.is_some()
            || !self.id.is_empty()
            || self.limit.is_some()
    }

    fn passes(&self, job: &FailedJob, now: DateTime<Utc>) -> bool {
        let since = self.since.map(|since| since.moment(now));
        self.error.as_ref().is_none_or(|text| job.error.contains(text.as_str()))
            && self.function.as_ref().is_none_or(|name| job.function() == Some(name.as_str()))
            && since.is_none_or(|since| job.failed_at.is_some_and(|failed| failed >= since))
    }

    /// Calls `take` with every job that is meant, page by page, so that only a page is in memory.
    pub(super) async fn select(
        &self,
        registries: &[Registry],
        mut take: impl FnMut(&Registry, FailedJob) -> anyhow::Result<()>,
    ) -> anyhow::Result<u64> {
        let now = Utc::now();
        let mut taken = 0;
        for registry in registries {
            for page in self.candidates(registry).await?.chunks(PAGE) {
                let jobs = registry.jobs.fetch(page, &PayloadLimits::default()).await.map_err(queue_failure)?;
                for job in jobs.into_iter().filter(|job| self.passes(job, now)) {
                    if self.limit.is_some_and(|limit| taken >= limit) {
                        return Ok(taken);
                    }
                    taken += 1;
                    take(registry, job)?;
                }
            }
        }
        Ok(taken)
    }

    async fn candidates(&self, registry: &Registry) -> anyhow::Result<Vec<String>> {
        if self.id.is_empty() {
            return registry.jobs.ids().await.map_err(queue_failure);
        }
        let mut ids = Vec::new();
        for id in &self.id {
            if registry.jobs.contains(id).await.map_err(queue_failure)? {
                ids.push(id.clone());
            }
        }
        Ok(ids)
    }

    /// Ids that were asked for by name and are in none of the registries.
    pub(super) async fn missing(&self, registries: &[Registry]) -> anyhow::Result<Vec<String>> {
        let mut missing = self.id.clone();
        for registry in registries.iter().filter(|_| !self.id.is_empty()) {
            let here = self.candidates(registry).await?;
            missing.retain(|id| !here.contains(id));
        }
        Ok(missing)
    }
}

fn parse_since(text: &str) -> Result<Since, String> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Ok(Since::Moment(moment.with_timezone(&Utc)));
    }
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Ok(Since::Moment(date.and_time(chrono::NaiveTime::MIN).and_utc()));
    }
    let age = || {
        let number: i64 = text.get(..text.len().checked_sub(1)?)?.parse().ok().filter(|number| *number >= 0)?;
        match text.as_bytes().last()? {
            b's' => TimeDelta::try_seconds(number),
            b'm' => TimeDelta::try_minutes(number),
            b'h' => TimeDelta::try_hours(number),
            b'd' => TimeDelta::try_days(number),
            _ => None,
        }
    };
    age().map(Since::Ago).ok_or_else(|| "neither an age such as 15m or 2h, a date, nor an RFC 3339 time".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_dates_and_times_are_read() {
        assert_eq!(parse_since("90s"), Ok(Since::Ago(TimeDelta::seconds(90))));
        assert_eq!(parse_since("7d"), Ok(Since::Ago(TimeDelta::days(7))));
        let midnight = "2026-01-31T00:00:00Z".parse().unwrap();
        assert_eq!(parse_since("2026-01-31"), Ok(Since::Moment(midnight)));
        assert_eq!(parse_since("2026-01-31T01:00:00+01:00"), Ok(Since::Moment(midnight)));
        for wrong in ["", "m", "5", "-5m", "5y", "5µ", "yesterday"] {
            assert!(parse_since(wrong).is_err(), "{wrong}");
        }
    }
}
