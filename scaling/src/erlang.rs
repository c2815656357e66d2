//! Erlang's formula C (A. K. Erlang, 1917): how long random arrivals wait for one of several workers.

/// One job in so many may wait longer than the target.
const LATE_PART: f64 = 0.05;

/// The fewest of at most `most` workers with whom no more than 5 of 100 jobs wait longer than `wait` seconds: `load` workers
/// are busy on average, and a job takes `job_seconds`.
pub(crate) fn workers(load: f64, job_seconds: f64, wait: f64, most: u32) -> u32 {
    // Blocking by Erlang's formula B, one worker more at a time; C follows from it.
    let mut blocked = 1.0;
    for workers in 1..=most {
        let count = f64::from(workers);
        blocked = load * blocked / (count + load * blocked);
        if count <= load {
            continue;
        }
        let waits = blocked / (1.0 - load / count * (1.0 - blocked));
        if waits * (-(count - load) * wait / job_seconds.max(f64::MIN_POSITIVE)).exp() <= LATE_PART {
            return workers;
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_tables_of_the_formula_say() {
        // C(2, 1) = 1/3, C(3, 1) = 1/11, C(4, 1) = 1/49: four for at once, two for waiting a while.
        assert_eq!(workers(1.0, 1.0, 0.0, 100), 4);
        assert_eq!(workers(1.0, 1.0, 2.0, 100), 2);
        // 120 of 100 busy ones: 3.7 of 100 jobs wait.
        assert_eq!(workers(100.0, 1.0, 0.0, 1000), 119);
        assert_eq!(workers(100.0, 1.0, 1e9, 1000), 101);
        assert_eq!(workers(100.0, 1.0, 0.0, 20), 20);
    }
}
