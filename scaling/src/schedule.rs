//! Floors and ceilings by time of day: which of a queue's schedules are in force at a moment of the wall clock, and until
//! when. The moment is an argument; what depends on the time zone is settled by its rules, not by the machine's.
//!
//! A schedule is in force from each moment that `start` names to the next one that `end` names; at a moment that is both, it
//! is not. In the hour that a change to summer time skips, `start` and `end` come when the hour is over; in the hour that comes
//! twice, they come once, the first time.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, FixedOffset, Timelike, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use serde::{Deserialize, Serialize};

/// A schedule's name: short, so that a reason can carry it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScheduleName([u8; ScheduleName::LONGEST]);

impl ScheduleName {
    /// Bytes that a name may have.
    pub const LONGEST: usize = 32;

    /// The name.
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(Self::LONGEST);
        std::str::from_utf8(&self.0[..end]).expect("made from text")
    }
}

impl FromStr for ScheduleName {
    type Err = ScheduleError;

    fn from_str(name: &str) -> Result<Self, ScheduleError> {
        let fits = (1..=Self::LONGEST).contains(&name.len()) && !name.contains('\0');
        if !fits {
            return Err(ScheduleError::Name(format!("{name:?} does not have 1 to {} bytes", Self::LONGEST)));
        }
        let mut bytes = [0; Self::LONGEST];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for ScheduleName {
    type Error = ScheduleError;

    fn try_from(name: String) -> Result<Self, ScheduleError> {
        name.parse()
    }
}

impl From<ScheduleName> for String {
    fn from(name: ScheduleName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Debug for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl fmt::Display for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong with a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Its name.
    #[error("{0}")]
    Name(String),
    /// When it starts.
    #[error("{0}")]
    Start(String),
    /// When it ends.
    #[error("{0}")]
    End(String),
    /// Where.
    #[error("{0:?} is no time zone of the IANA database, such as Europe/Berlin or UTC")]
    TimeZone(String),
}

impl ScheduleError {
    /// The field, as a manifest has it.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Name(_) => "name",
            Self::Start(_) => "start",
            Self::End(_) => "end",
            Self::TimeZone(_) => "timeZone",
        }
    }
}

/// A floor, a ceiling or both, from each `start` to the next `end`.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    name: ScheduleName,
    start: Cron,
    end: Cron,
    zone: Tz,
    floor: Option<u32>,
    ceiling: Option<u32>,
}

impl Schedule {
    /// `start` and `end` are five-field cron expressions, in the time zone `zone` (an IANA name).
    pub fn new(
        name: &str,
        (start, end): (&str, &str),
        zone: &str,
        (floor, ceiling): (Option<u32>, Option<u32>),
    ) -> Result<Self, ScheduleError> {
        let zone = zone.parse::<Tz>().map_err(|_| ScheduleError::TimeZone(zone.to_owned()))?;
        let starts = parse(start, zone).map_err(ScheduleError::Start)?;
        let ends = parse(end, zone).map_err(ScheduleError::End)?;
        if starts == ends {
            return Err(ScheduleError::End(format!("{end:?} is when it starts")));
        }
        Ok(Self { name: name.parse()?, start: starts, end: ends, zone, floor, ceiling })
    }

    /// When it ends, if it is in force at `now`, and when the next of its moments comes.
    fn at(&self, now: DateTime<Utc>) -> (Option<DateTime<FixedOffset>>, Option<DateTime<Utc>>) {
        let local = now.with_timezone(&self.zone);
        let last = |cron: &Cron| cron.find_previous_occurrence(&local, true).ok();
        let next = |cron: &Cron| cron.find_next_occurrence(&local, false).ok();
        let (next_start, next_end) = (next(&self.start), next(&self.end));
        let in_force = last(&self.start).is_some_and(|started| last(&self.end).is_none_or(|ended| ended < started));
        let change = [next_start.filter(|_| !in_force), next_end.filter(|_| in_force)];
        let until = next_end.filter(|_| in_force).map(|end| end.fixed_offset());
        (until, change.into_iter().flatten().min().map(|moment| moment.to_utc()))
    }
}

fn parse(pattern: &str, zone: Tz) -> Result<Cron, String> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let cron =
        parser.parse(pattern).map_err(|error| format!("{pattern:?} is no cron expression of five fields: {error}"))?;
    // A leap day is at most eight years away.
    let some_time = DateTime::UNIX_EPOCH.with_timezone(&zone);
    cron.find_next_occurrence(&some_time, false).map_err(|_| format!("{pattern:?} names no day that ever comes"))?;
    Ok(cron)
}

/// A floor or a ceiling that is in force.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// The schedule's name.
    pub schedule: ScheduleName,
    /// How many workers.
    pub replicas: u32,
    /// Until when, in its time zone.
    pub until: DateTime<FixedOffset>,
}

/// What schedules say at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// The highest floor.
    pub floor: Option<Bound>,
    /// The lowest ceiling.
    pub ceiling: Option<Bound>,
}

/// What the schedules that are in force at `now` say together, and when that changes.
pub fn bounds(schedules: &[Schedule], now: DateTime<Utc>) -> (Bounds, Option<DateTime<Utc>>) {
    let now = now.with_nanosecond(0).unwrap_or(now);
    let mut bounds = Bounds::default();
    let mut changes = None::<DateTime<Utc>>;
    for schedule in schedules {
        let (until, change) = schedule.at(now);
        changes = [changes, change].into_iter().flatten().min();
        let Some(until) = until else { continue };
        let bound = |replicas| Bound { schedule: schedule.name, replicas, until };
        if let Some(floor) = schedule.floor
            && bounds.floor.is_none_or(|highest| floor > highest.replicas)
        {
            bounds.floor = Some(bound(floor));
        }
        if let Some(ceiling) = schedule.ceiling
            && bounds.ceiling.is_none_or(|lowest| ceiling < lowest.replicas)
        {
            bounds.ceiling = Some(bound(ceiling));
        }
    }
    (bounds, changes)
}

/// Schedules that are asked several times a second: what they said holds until it changes.
#[derive(Debug, Clone, Default)]
pub struct Calendar {
    schedules: Vec<Schedule>,
    /// From when, until when, what.
    known: Option<Box<Known>>,
}

type Known = (DateTime<Utc>, Option<DateTime<Utc>>, Bounds);

impl Calendar {
    /// Of these schedules.
    pub fn new(schedules: Vec<Schedule>) -> Self {
        Self { schedules, known: None }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.schedules.is_empty()
    }

    /// What holds at `now`.
    pub fn at(&mut self, now: DateTime<Utc>) -> Bounds {
        if self.schedules.is_empty() {
            return Bounds::default();
        }
        match self.known.as_deref().copied() {
            Some((from, until, known)) if from <= now && until.is_none_or(|until| now < until) => known,
            _ => {
                let (found, until) = bounds(&self.schedules, now);
                self.known = Some(Box::new((now, until, found)));
                found
            }
        }
    }

    /// When they will say something else than they said last; none: never, or nobody has asked.
    pub fn until(&self) -> Option<DateTime<Utc>> {
        self.known.as_deref().and_then(|(_, until, _)| *until)
    }
}
