//! How many jobs a second one worker's bookkeeping alone allows: `throughput REDIS_URL [JOBS] [BATCH] [SLOTS]` puts jobs
//! on a fresh queue, then claims and settles them without doing anything in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use chrono::Utc;
use jobqueue_queue::{
    Backend, Completion, Connection, Outcome, Protocol, QueueConfig, Serializer, Timeouts, TlsOptions, connect, payload,
};
use serde_json::{Map, Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().ok_or("which Redis? redis://host/db")?;
    let jobs: usize = args.next().map_or(Ok(20_000), |text| text.parse())?;
    let batch: usize = args.next().map_or(Ok(200), |text| text.parse())?;
    let slots: usize = args.next().map_or(Ok(2), |text| text.parse())?;
    let connection = Connection::new(&url.parse()?, &TlsOptions::default(), Timeouts::default())?;
    let name = format!("throughput-{}", std::process::id());
    enqueue(&connection, &name, jobs).await?;
    let worker = connect(&connection, QueueConfig::new(Protocol::Rq, vec![name.clone()], name))?;
    worker.register().await?;
    let done = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..slots {
        tasks.spawn(work(Arc::clone(&worker), Arc::clone(&done), jobs, batch));
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{jobs} jobs in {seconds:.2} s: {:.0}/s", jobs as f64 / seconds);
    worker.deregister().await?;
    Ok(())
}

async fn work(
    worker: Arc<dyn Backend>,
    done: Arc<AtomicUsize>,
    jobs: usize,
    batch: usize,
) -> Result<(), jobqueue_queue::QueueError> {
    while done.load(Ordering::SeqCst) < jobs {
        let claim = worker.claim(batch).await?;
        let started_at = Utc::now();
        let completions: Vec<Completion> = claim
            .deliveries
            .into_iter()
            .map(|delivery| Completion {
                delivery,
                outcome: Outcome::Finished { result: Value::Null },
                started_at,
                ended_at: Utc::now(),
            })
            .collect();
        done.fetch_add(worker.settle(&completions).await?.len(), Ordering::SeqCst);
    }
    Ok(())
}

async fn enqueue(connection: &Connection, queue: &str, jobs: usize) -> Result<(), jobqueue_queue::QueueError> {
    let record = json!({"Company": {"Name": "ACME", "Partners": ["a", "b", "c"], "No": "x".repeat(300)}}).to_string();
    let data = payload::encode_call("ParseCompany.parse_company", &[json!(record)], &Map::new(), Serializer::Pickle);
    let ids: Vec<usize> = (0..jobs).collect();
    for chunk in ids.chunks(500) {
        let mut commands = Vec::new();
        for i in chunk {
            let id = format!("{queue}-{i}");
            let mut set = redis::cmd("HSET");
            set.arg(format!("rq:job:{id}")).arg("data").arg(&data);
            set.arg("created_at").arg("2026-11-23T23:43:46.082897Z").arg("status").arg("queued");
            set.arg("origin").arg(queue).arg("timeout").arg(180);
            let mut push = redis::cmd("RPUSH");
            push.arg(format!("rq:queue:{queue}")).arg(&id);
            commands.extend([set, push]);
        }
        connection.pipeline(&commands).await?;
    }
    Ok(())
}
