"""Hundreds of SIGKILLs at random moments, of Redis and the database too: nothing is lost or done twice."""

import time

from redis.exceptions import RedisError

from e2e.harness import backlog, companies
from e2e.harness.campaign import Campaign, disturb
from e2e.harness.companies import Expected
from e2e.harness.producer import Producer

WORKERS = 3
LEASE = 2
SETTINGS = {
    "queue": {"leaseSeconds": LEASE},
    "retry": {"maxAttempts": 1000},
    "worker": {"batchSize": 40, "concurrency": 2},
}


def ended(redis):
    """Jobs that ended, or None while Redis is away."""
    try:
        now = backlog.read(redis)
    except RedisError:
        return None
    return now.finished + now.failed


def test_nothing_lost_and_nothing_twice(full, redis_server, redis, database, start_worker, rng, measure):
    count, kills = (50_000, 200) if full else (4_000, 20)
    lines = companies.make(count, seed=5, bad=0.01)
    expected = Expected(lines)
    Producer(redis).enqueue(lines)
    start = time.monotonic()
    campaign = Campaign(rng, [lambda: start_worker(**SETTINGS)] * WORKERS, LEASE)
    campaign.run(
        kills,
        lambda: (ended(redis) or 0) / count,
        {
            kills // 4: redis_server.restart,
            kills // 2: lambda: disturb(database),
            3 * kills // 4: redis_server.restart,
            kills - 1: lambda: disturb(database),
        },
    )
    campaign.end(
        lambda: ended(redis) == count and backlog.drained(redis), lambda: f"all end: {backlog.read(redis)}", seconds=300
    )
    measure(jobs=count, kills=kills, seconds=time.monotonic() - start)
    assert database.companies() == expected.rows
    assert database.counts() == (expected.companies, expected.partners, expected.companies)
    now = backlog.read(redis)
    assert (now.finished, now.failed) == (expected.companies, expected.failed)
    assert redis.zcard("rq:wip:companies") == 0
    assert not list(redis.scan_iter("rq:execution*", count=10_000)), "no run is left open"
