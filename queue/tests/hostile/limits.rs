//! What the scripts leave out of a Redis that has too much in it: the server that runs them means no harm, and whoever writes
//! into it may. Held to limits that an answer just reaches, so that one worker or one letter more is refused.

use jobqueue_queue::{Guard, Protocol, ReplyLimits};
use jobqueue_testkit::Redis;

use crate::{guarded, poll, poll_as};

/// The workers and reports that the script answers at most, and the bytes of a text of theirs.
const MOST: usize = 5_000;
const LONGEST: usize = 512;

/// What is in Redis: more than that, of both protocols. ARGV: how many workers and reports, and how long a text.
const FILL: &str = "
    local many, text = tonumber(ARGV[1]), string.rep('7', tonumber(ARGV[2]))
    local function worker(key)
      for _, field in ipairs({'last_heartbeat', 'state', 'hostname', 'successful_job_count', 'failed_job_count',
          'total_working_time', 'jobqueue_concurrency', 'current_job_working_time'}) do
        redis.call('HSET', key, field, text)
      end
    end
    for i = 1, many do
      redis.call('SADD', 'rq:workers:q', 'rq:worker:' .. text .. i)
      worker('rq:worker:' .. text .. i)
      redis.call('ZADD', 'jobqueue:{q}:workers', i, text .. i)
      worker('jobqueue:{q}:worker:' .. text .. i)
      for _, reports in ipairs({'rq:jobqueue-trouble:q', 'jobqueue:{q}:trouble'}) do
        redis.call('HSET', reports, i, string.rep(text, 5))
      end
    end
    redis.call('RPUSH', 'rq:queue:q', 'j')
    redis.call('HSET', 'rq:job:j', 'enqueued_at', text)";

const PROTOCOLS: [Protocol; 2] = [Protocol::Rq, Protocol::List];

fn filled(many: usize, length: usize) -> Redis {
    let redis = Redis::start(&[]);
    redis.cli(&["EVAL", FILL, "0", &many.to_string(), &length.to_string()]);
    redis
}

fn within(limits: ReplyLimits) -> Guard {
    Guard { limits, ..Guard::default() }
}

#[tokio::test]
async fn workers_and_reports_beyond_the_limit_are_left_out() {
    let redis = filled(MOST + 1, 1);
    // The answer with its seven parts, a row of ten for each worker, and the reports.
    let values = 1 + 4 + 7 + MOST * (1 + 10) + MOST;
    for protocol in PROTOCOLS {
        let connection = guarded(&redis.url(), within(ReplyLimits { values, ..ReplyLimits::default() }));
        let stats = poll_as(protocol, &connection).await.unwrap_or_else(|error| panic!("{protocol:?}: {error}"));
        assert_eq!(stats.workers.len(), MOST, "{protocol:?}");
        let fewer = guarded(&redis.url(), within(ReplyLimits { values: values - 1, ..ReplyLimits::default() }));
        poll_as(protocol, &fewer).await.unwrap_err();
    }
}

#[tokio::test]
async fn texts_beyond_the_limit_are_cut() {
    let redis = filled(1, 2_000);
    for (reports, text) in [(true, 4 * LONGEST), (false, LONGEST)] {
        if !reports {
            redis.cli(&["DEL", "rq:jobqueue-trouble:q", "jobqueue:{q}:trouble"]);
        }
        for protocol in PROTOCOLS {
            let connection = guarded(&redis.url(), within(ReplyLimits { text, ..ReplyLimits::default() }));
            let stats = poll_as(protocol, &connection).await.unwrap_or_else(|error| panic!("{protocol:?}: {error}"));
            assert_eq!(stats.workers.len(), 1, "{protocol:?}");
            let less = guarded(&redis.url(), within(ReplyLimits { text: text - 1, ..ReplyLimits::default() }));
            poll_as(protocol, &less).await.unwrap_err();
        }
    }
}

/// A worker of RQ 3 leaves no working time, but a run.
#[tokio::test]
async fn the_beginning_of_a_run_is_cut() {
    let redis = Redis::start(&[]);
    redis.cli(&["SADD", "rq:workers:q", "rq:worker:w"]);
    redis.cli(&["HSET", "rq:worker:w", "last_heartbeat", "2026-01-01T00:00:00Z"]);
    redis.cli(&["SADD", "rq:worker:w:executions", "j:e"]);
    redis.cli(&["HSET", "rq:execution:j:e", "created_at", &"7".repeat(2_000)]);
    let text = LONGEST;
    let stats = poll(&guarded(&redis.url(), within(ReplyLimits { text, ..ReplyLimits::default() }))).await.unwrap();
    assert_eq!(stats.workers.len(), 1);
}
