//! `jobqueue stop`: asks the workers that have jobs in hand to stop them, and says what came of it.

use std::time::Duration;

use clap::Args;
use jobqueue_queue::{Asked, Protocol, Standing, Stopper};
use serde::Serialize;
use tokio::time::Instant;

use crate::common::exit::{Exit, Failure, queue_failure};
use crate::common::global_args::GlobalArgs;
use crate::common::output::Output;
use crate::common::target::Target;

const HELP: &str = "\
A stopped job is among the failed jobs, without another attempt. What it had committed already stays.

Examples:
  jobqueue stop 43eaaa8a-6697-4702-b6d6-7b0d3a1d677d
  jobqueue stop 1795900000000-0 --protocol Stream --queue companies
  jobqueue failed requeue --queue companies --id 43eaaa8a-6697-4702-b6d6-7b0d3a1d677d";

/// How long a worker may take to stop a job.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Flags of `stop`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct StopArgs {
    /// Ids of running jobs
    #[arg(value_name = "JOB", required = true)]
    jobs: Vec<String>,
}

/// What came of one request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    id: String,
    stopped: bool,
    /// Where the job stands now.
    status: String,
    /// Who had it in hand.
    worker: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(global: &GlobalArgs, args: &StopArgs, output: Output) -> anyhow::Result<Exit> {
    let target = Target::from_args(global)?;
    let queues = if target.protocol == Protocol::Rq { &target.queues[..] } else { target.some_queues()? };
    let (prefix, group) = (&target.key_prefix, &target.consumer_group);
    let stopper = Stopper::new(target.redis()?, target.protocol, prefix, group, queues).map_err(queue_failure)?;
    let mut all = Vec::new();
    for job in &args.jobs {
        let answer = stop(&stopper, job, output).await?;
        if answer.stopped {
            output.say(&format!("stopped job {job}"));
        }
        all.push(answer);
    }
    if output.is_machine() {
        output.document(&all)?;
    }
    if let Some(unknown) = all.iter().find(|job| job.status == "unknown") {
        let message = format!("there is no job {} that a worker has taken", unknown.id);
        let hint = "`jobqueue status` shows what runs; for lists and streams name the queue with --queue";
        return Err(Failure::new(Exit::NotFound, message).hint(hint).into());
    }
    Ok(if all.iter().all(|job| job.stopped) { Exit::Ok } else { Exit::Records })
}

async fn stop(stopper: &Stopper, job: &str, output: Output) -> anyhow::Result<Answer> {
    let told = |status: &str, worker: Option<String>| Answer {
        id: job.to_owned(),
        stopped: status == "stopped",
        status: status.to_owned(),
        worker,
    };
    let worker = match stopper.standing(job).await.map_err(queue_failure)? {
        Standing::Running { worker } => worker,
        Standing::Unknown => return Ok(told("unknown", None)),
        Standing::Stopped => return Ok(told("stopped", None)),
        Standing::Other(status) => {
            output.warn(&format!("job {job} is {status}, no worker has it in hand"));
            return Ok(told(&status, None));
        }
    };
    if stopper.ask(job).await.map_err(queue_failure)? == Asked::Unheard {
        output.warn(&format!("worker {worker} has job {job} and does not listen: it is gone, or may not subscribe"));
        return Ok(told("running", Some(worker)));
    }
    let asked = Instant::now();
    loop {
        match stopper.standing(job).await.map_err(queue_failure)? {
            Standing::Running { .. } if asked.elapsed() < PATIENCE => tokio::time::sleep(LOOK).await,
            Standing::Running { .. } => {
                let seconds = PATIENCE.as_secs();
                output.warn(&format!("worker {worker} was asked to stop job {job} and has not within {seconds} s"));
                return Ok(told("running", Some(worker)));
            }
            Standing::Stopped => return Ok(told("stopped", Some(worker))),
            Standing::Unknown => {
                output.warn(&format!("job {job} was done before it could be stopped"));
                return Ok(told("finished", Some(worker)));
            }
            Standing::Other(status) => {
                output.warn(&format!("job {job} is {status}: it could not be stopped before"));
                return Ok(told(&status, Some(worker)));
            }
        }
    }
}
