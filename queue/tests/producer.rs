//! What a producer writes, read back from a real Redis; and that a batch is in once whatever happens in between.

use chrono::Utc;
use jobqueue_queue::producer::{Destination, JobOptions, ProduceError, Producer, ProducerRetry, Progress, Shape};
use jobqueue_queue::{Connection, ConnectionUrl, Serializer, Timeouts, TlsOptions};

fn connection() -> Connection {
    let url: ConnectionUrl = jobqueue_testkit::redis().url().parse().expect("the testkit's URL");
    Connection::new(&url, &TlsOptions::default(), Timeouts::default()).expect("plain settings")
}

fn job_options() -> JobOptions {
    JobOptions {
        function: "ParseCompany.parse_company".into(),
        serializer: Serializer::Json,
        timeout: 180,
        result_ttl: Some(60),
        failure_ttl: None,
        retry: Some(ProducerRetry { max: 2, intervals: vec![10, 30] }),
    }
}

fn destination(shape: Shape) -> Destination {
    Destination { queue: jobqueue_testkit::unique("produced"), key_prefix: "rq".into(), shape, at_front: false }
}

fn at(bytes: u64) -> Progress {
    Progress { bytes, lines: bytes / 2, jobs: bytes / 2, crc32: 7, done: false }
}

async fn strings(connection: &Connection, words: &[&str]) -> Vec<String> {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    connection.query(&command).await.expect("Redis answers")
}

#[tokio::test]
async fn an_rq_job_has_the_fields_that_rq_writes() {
    let connection = connection();
    let destination = destination(Shape::Job(job_options()));
    let queue = destination.queue.clone();
    let producer = Producer::new(connection.clone(), destination);
    let run = producer.begin(None, &Progress::default()).await.unwrap();
    let records = ["it's", "b"];
    let ids = producer.enqueue(&run, &producer.batch(&records), 0, &at(4), Utc::now()).await.unwrap();

    assert_eq!(strings(&connection, &["LRANGE", &format!("rq:queue:{queue}"), "0", "-1"]).await, ids);
    let known = strings(&connection, &["SMEMBERS", "rq:queues"]).await;
    assert!(known.contains(&format!("rq:queue:{queue}")));
    let fields = ["status", "origin", "timeout", "result_ttl", "retries_left", "retry_intervals", "description"];
    let key = format!("rq:job:{}", ids[0]);
    let words: Vec<&str> = ["HMGET", &key].into_iter().chain(fields).collect();
    assert_eq!(
        strings(&connection, &words).await,
        ["queued", &queue, "180", "60", "2", "[10,30]", "ParseCompany.parse_company(\"it's\")"]
    );
    producer.finish(&run).await.unwrap();
}

#[tokio::test]
async fn a_batch_sent_again_is_in_once() {
    for shape in [Shape::Job(job_options()), Shape::Element, Shape::Entry] {
        let length = match shape {
            Shape::Entry => "XLEN",
            Shape::Job(_) | Shape::Element => "LLEN",
        };
        let destination = destination(shape);
        let key = match &destination.shape {
            Shape::Job(_) => format!("rq:queue:{}", destination.queue),
            Shape::Element | Shape::Entry => destination.queue.clone(),
        };
        let connection = connection();
        let producer = Producer::new(connection.clone(), destination);
        let run = producer.begin(Some("/f"), &Progress::default()).await.unwrap();
        let records = ["a", "b"];
        let batch = producer.batch(&records);
        for _ in 0..3 {
            producer.enqueue(&run, &batch, 0, &at(4), Utc::now()).await.unwrap();
        }
        let count: u64 = connection.query(redis::cmd(length).arg(&key)).await.unwrap();
        assert_eq!(count, 2, "{key}");
        assert_eq!(producer.progress("/f").await.unwrap(), Some(at(4)));
        producer.finish(&run).await.unwrap();
        assert!(producer.progress("/f").await.unwrap().unwrap().done);
    }
}

#[tokio::test]
async fn a_run_that_was_taken_over_or_forgotten_writes_nothing_more() {
    let connection = connection();
    let destination = destination(Shape::Element);
    let key = destination.queue.clone();
    let producer = Producer::new(connection.clone(), destination);
    let records = ["a"];
    let batch = producer.batch(&records);

    let old = producer.begin(Some("/f"), &Progress::default()).await.unwrap();
    let new = producer.begin(Some("/f"), &Progress::default()).await.unwrap();
    let refused = producer.enqueue(&old, &batch, 0, &at(2), Utc::now()).await;
    assert!(matches!(refused, Err(ProduceError::Taken)), "{refused:?}");
    let gap = producer.enqueue(&new, &batch, 2, &at(4), Utc::now()).await;
    assert!(matches!(gap, Err(ProduceError::Lost { bytes: 0 })), "{gap:?}");
    let count: u64 = connection.query(redis::cmd("LLEN").arg(&key)).await.unwrap();
    assert_eq!(count, 0);
}

#[tokio::test]
async fn at_front_is_the_head_of_the_queue() {
    let connection = connection();
    let destination = Destination { at_front: true, ..destination(Shape::Element) };
    let key = destination.queue.clone();
    let producer = Producer::new(connection.clone(), destination);
    let run = producer.begin(None, &Progress::default()).await.unwrap();
    let records = ["a", "b"];
    producer.enqueue(&run, &producer.batch(&records), 0, &at(4), Utc::now()).await.unwrap();
    assert_eq!(strings(&connection, &["LRANGE", &key, "0", "-1"]).await, ["b", "a"]);
}
