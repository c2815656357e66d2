//! A guarded connection to servers that mean no harm: it does what any other does.

use jobqueue_queue::{Guard, QueueError, TlsOptions};
use jobqueue_testkit::{Authority, Redis, Sentinel, free_port};

use crate::{certificates, guarded, guarded_with_tls, poll};

#[tokio::test]
async fn a_queue_is_read_and_a_restart_survived() {
    let mut redis = Redis::start(&["--requirepass", "s3cret"]);
    let url = format!("redis://:s3cret@127.0.0.1:{}/2", redis.port());
    let connection = guarded(&url, Guard::default());
    redis.cli(&["-a", "s3cret", "-n", "2", "LPUSH", "rq:queue:q", "a", "b"]);
    assert_eq!(poll(&connection).await.unwrap().waiting, 2);
    redis.kill();
    assert!(matches!(poll(&connection).await, Err(QueueError::Unavailable { .. })));
    redis.revive();
    let began = std::time::Instant::now();
    while poll(&connection).await.is_err() {
        assert!(began.elapsed().as_secs() < 20, "it is not reached again");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let wrong = guarded(&format!("redis://:wrong@127.0.0.1:{}/2", redis.port()), Guard::default());
    assert!(matches!(poll(&wrong).await, Err(QueueError::Denied { .. })));
}

#[tokio::test]
async fn an_authority_and_a_certificate_of_ones_own_are_used() {
    let authority = Authority::new();
    let (_server, port) = authority.redis(true, &[]);
    let url = format!("rediss://127.0.0.1:{port}");
    let ours = certificates::ours(&authority);
    assert_eq!(poll(&guarded_with_tls(&url, &ours, Guard::default())).await.unwrap().waiting, 0);
    for (what, tls) in [
        ("a stranger's certificate", TlsOptions::default()),
        ("no certificate", TlsOptions { ca: Some(authority.pem("ca.pem")), ..TlsOptions::default() }),
    ] {
        let error = poll(&guarded_with_tls(&url, &tls, Guard::default())).await.unwrap_err();
        assert!(matches!(error, QueueError::Denied { .. }), "{what}: {error:?}");
    }
}

#[tokio::test]
async fn the_nodes_of_a_cluster_are_asked() {
    // By default the bus listens at the port plus 10000, which may be taken.
    let bus = free_port().to_string();
    let node = Redis::start(&["--cluster-enabled", "yes", "--cluster-port", &bus]);
    node.cli(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    jobqueue_testkit::until("the cluster is up", std::time::Duration::from_secs(20), || {
        node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
    });
    node.cli(&["LPUSH", "{rq}:queue:q", "a", "b", "c"]);
    let connection = guarded(&format!("redis+cluster://127.0.0.1:{}", node.port()), Guard::default());
    assert_eq!(poll(&connection).await.unwrap().waiting, 3);
}

#[tokio::test]
async fn workers_and_texts_beyond_the_limits_are_left_out_by_the_script() {
    let _alone = crate::LARGE_ANSWERS.lock().await;
    let redis = Redis::start(&[]);
    let fill = "for i = 1, 6000 do redis.call('HSET', 'rq:worker:w' .. i, 'last_heartbeat', '2026-01-01T00:00:00Z', \
                'state', 'idle', 'hostname', string.rep('h', 2000)); redis.call('SADD', 'rq:workers:q', 'rq:worker:w' .. i) \
                end; for i = 1, 10 do redis.call('HSET', 'rq:jobqueue-trouble:q', i, string.rep('x', 1000000)) end";
    redis.cli(&["EVAL", fill, "0"]);
    let stats = poll(&guarded(&redis.url(), Guard::default())).await.unwrap();
    assert_eq!(stats.workers.len(), 5_000);
    assert!(stats.workers.iter().all(|worker| worker.hostname.len() == 253));
}

/// The Sentinel asks for the password of the data nodes, and names a master at an address that is allowed.
#[tokio::test]
async fn the_master_behind_a_sentinel_is_asked_and_the_new_one_after_a_failover() {
    let login = ["--requirepass", "s3cret", "--masterauth", "s3cret"];
    let mut master = Redis::start(&login);
    let replica_of = format!("127.0.0.1 {}", master.port());
    let replica = Redis::start(&[&login[..], &["--replicaof", &replica_of]].concat());
    let sentinel = Sentinel::start(&master, "s3cret");
    let url = format!("redis+sentinel://:s3cret@127.0.0.1:{},127.0.0.1:{}/mymaster/0", free_port(), sentinel.port());
    let connection = guarded(&url, Guard::default());
    master.cli(&["-a", "s3cret", "LPUSH", "rq:queue:q", "a", "b"]);
    assert_eq!(poll(&connection).await.unwrap().waiting, 2);
    jobqueue_testkit::until("the replica has it", std::time::Duration::from_secs(10), || {
        replica.cli(&["-a", "s3cret", "LLEN", "rq:queue:q"]) == "2"
    });
    master.kill();
    let began = std::time::Instant::now();
    loop {
        match poll(&connection).await {
            Ok(stats) => break assert_eq!(stats.waiting, 2),
            Err(error) => assert!(began.elapsed().as_secs() < 30, "{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
