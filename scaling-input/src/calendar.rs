//! From `spec.scaling.schedules` to the decision's calendar, with what the API server's rules cannot check.

use jobqueue_crds::{JobQueueSpec, Problem, ScheduleSpec};
use jobqueue_scaling::{Calendar, Schedule};

/// The schedules of one queue.
///
/// # Errors
/// The field of a schedule that cannot be understood: a cron expression, a time zone.
pub fn calendar(spec: &JobQueueSpec) -> Result<Calendar, Problem> {
    let schedules = spec.scaling.schedules.iter().enumerate().map(|(index, schedule)| {
        let ScheduleSpec { name, start, end, time_zone, min_replicas, max_replicas } = schedule;
        Schedule::new(name, (start, end), time_zone, (*min_replicas, *max_replicas)).map_err(|error| Problem {
            path: format!("spec.scaling.schedules[{index}].{}", error.field()),
            message: error.to_string(),
        })
    });
    Ok(Calendar::new(schedules.collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use jobqueue_crds::JobQueue;

    use super::*;

    fn queue(schedule: &str) -> JobQueue {
        let text = format!(
            "{{apiVersion: jobqueue.dev/v1alpha1, kind: JobQueue, metadata: {{name: q}}, spec: {{queue: {{names: [q], redis: \
             {{url: 'redis://r'}}}}, scaling: {{schedules: [{schedule}]}}}}}}"
        );
        JobQueue::one_from_yaml(&text, None).expect("valid")
    }

    #[test]
    fn a_schedule_arrives_as_it_is_written() {
        let queue =
            queue("{name: office, start: 0 8 * * 1-5, end: 0 18 * * 1-5, timeZone: Europe/Berlin, minReplicas: 2}");
        let mut calendar = calendar(&queue.spec).expect("understood");
        let floor = |text: &str, calendar: &mut Calendar| {
            let moment = DateTime::parse_from_rfc3339(text).expect("a moment").to_utc();
            calendar.at(moment).floor.map(|floor| floor.replicas)
        };
        assert_eq!(floor("2026-11-24T07:00:00Z", &mut calendar), Some(2));
        assert_eq!(floor("2026-11-24T17:00:00Z", &mut calendar), None);
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let path = |schedule: &str| calendar(&queue(schedule).spec).expect_err("wrong").path;
        let zone = "{name: a, start: 0 8 * * *, end: 0 9 * * *, timeZone: Mars/Olympus, minReplicas: 2}";
        assert_eq!(path(zone), "spec.scaling.schedules[0].timeZone");
        let end = "{name: a, start: 0 8 * * *, end: 0 25 * * *, minReplicas: 2}";
        assert_eq!(path(end), "spec.scaling.schedules[0].end");
    }
}
