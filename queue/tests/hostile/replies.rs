//! What hostile servers answer: each answer ends in one sentence, memory stays within bounds, and others are served meanwhile.

use std::time::{Duration, Instant};

use jobqueue_queue::{Guard, QueueError};
use jobqueue_testkit::Redis;

use crate::server::{ATTACKS, Attack, Server};
use crate::{guarded, poll, resident};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_attack_ends_in_a_sentence_with_server_command_and_limit() {
    let _alone = crate::LARGE_ANSWERS.lock().await;
    for attack in ATTACKS {
        let server = Server::attacking(attack);
        let connection = guarded(&server.url(), Guard::default());
        let began = Instant::now();
        let error = poll(&connection).await.unwrap_err();
        let message = error.to_string();
        assert!(began.elapsed() < Duration::from_secs(6), "{attack:?}: {:?}", began.elapsed());
        let place = format!("redis://127.0.0.1:{}/0", server.port);
        assert!(message.contains(&place), "{attack:?}: {message}");
        let limit = match attack {
            Attack::SlowDrip | Attack::Silence => {
                assert!(matches!(error, QueueError::Unavailable { .. }), "{attack:?}: {error:?}");
                continue;
            }
            Attack::EndlessArray | Attack::EndlessSmallArrays | Attack::ManyWorkers => "with more than 200000 values",
            Attack::HugeText | Attack::EndlessLine => "with more than 1048576 bytes of one text",
            Attack::MegabyteTexts => "with more than 8388608 bytes",
            Attack::DeepNesting => "with more than 8 arrays within each other",
            Attack::JustBelowTheLimits => "answered much, and did not come to an end in time",
        };
        assert!(matches!(error, QueueError::Data(_)), "{attack:?}: {error:?}");
        assert!(message.contains(limit), "{attack:?}: {message}");
        if !limit.starts_with("answered") {
            assert!(message.contains("answered EVALSHA"), "{attack:?}: {message}");
        }
        // It is not dialled again at once.
        assert_eq!(server.connections(), 1, "{attack:?}");
        assert_eq!(poll(&connection).await.unwrap_err().to_string(), message, "{attack:?}");
        assert_eq!(server.connections(), 1, "{attack:?}");
    }
}

/// Many hostile servers at once, each polled as often as it may be, and one that is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_many_servers_attack_memory_is_bounded_and_another_is_polled_in_time() {
    let _alone = crate::LARGE_ANSWERS.lock().await;
    let redis = Redis::start(&[]);
    let friendly = guarded(&redis.url(), Guard::default());
    poll(&friendly).await.unwrap();
    let before = resident();
    let mut attacks = tokio::task::JoinSet::new();
    for attack in ATTACKS.iter().cycle().take(6 * ATTACKS.len()) {
        let attack = *attack;
        attacks.spawn(async move {
            let server = Server::attacking(attack);
            let connection = guarded(&server.url(), Guard::default());
            loop {
                poll(&connection).await.unwrap_err();
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        });
    }
    let (mut delays, mut most) = (Vec::new(), 0);
    for _ in 0..40 {
        let began = Instant::now();
        poll(&friendly).await.unwrap();
        delays.push(began.elapsed());
        most = most.max(resident());
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    attacks.shutdown().await;
    delays.sort();
    let worst = delays[delays.len() - 1];
    println!("{} MiB more at worst; the median poll took {:?}, the slowest {worst:?}", most - before, delays[20]);
    assert!(worst < Duration::from_secs(1), "{delays:?}");
    // The limit of the chart is 256 MiB.
    assert!(most - before < 160, "{before} MiB before, {most} MiB at worst");
}
