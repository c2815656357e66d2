"""SIGKILL at random moments, hundreds of times, with Redis and the database killed in between: nothing lost, nothing twice."""
import time
from concurrent.futures import ThreadPoolExecutor

from harness import backlog, companies
from harness.companies import Expected
from harness.producer import Producer
from harness.waiting import until
from redis.exceptions import RedisError

CREW = 3
SETTINGS = {"queue": {"leaseSeconds": 2}, "retry": {"maxAttempts": 1000}, "worker": {"batchSize": 40, "concurrency": 2}}


def progress(redis):
    """Jobs that ended, or None while Redis is away."""
    try:
        now = backlog.read(redis)
    except RedisError:
        return None
    return now.finished + now.failed


def disturb_database(database):
    """Killed and restarted; SQLite, which has no server, is held by a stranger for a while instead."""
    if database.kind != "sqlite":
        database.restart()
        return
    held = database.connect()
    held.isolation_level = None
    held.execute("BEGIN IMMEDIATE")
    time.sleep(1.5)  # the disturbance itself, not a wait for anything
    held.execute("ROLLBACK")
    held.close()


def test_nothing_lost_and_nothing_twice(full, redis_server, redis, database, crew, rng, measure):
    count, kills = (50_000, 200) if full else (4_000, 20)
    lines = companies.make(count, seed=5, bad=0.01)
    expected = Expected(lines)
    Producer(redis).enqueue(lines)
    start = time.monotonic()
    workers = [crew(**SETTINGS) for _ in range(CREW)]
    aside = ThreadPoolExecutor(1)
    disturbances = {kills // 4: redis_server.restart, kills // 2: lambda: disturb_database(database),
                    3 * kills // 4: redis_server.restart, kills - 1: lambda: disturb_database(database)}
    for kill in range(kills):
        wanted = min((kill + rng.random()) * count / kills, count - 1)
        patience = time.monotonic() + 3
        while (progress(redis) or 0) < wanted and time.monotonic() < patience:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.03)
        slot = rng.randrange(CREW)
        workers[slot].kill()
        other = None
        if kill in disturbances:
            other = aside.submit(disturbances[kill])
        workers[slot] = crew(**SETTINGS)
        if other:
            other.result()  # one that failed fails here, and not as a database that never answers again
    until(lambda: progress(redis) == count and backlog.drained(redis),
          lambda: f"all end: {backlog.read(redis)}\n{workers[0].output()}", seconds=300)
    measure(jobs=count, kills=kills, seconds=time.monotonic() - start)
    assert database.companies() == expected.rows
    assert database.counts() == (expected.companies, expected.partners, expected.companies)
    now = backlog.read(redis)
    assert (now.finished, now.failed) == (expected.companies, expected.failed)
    assert redis.zcard("rq:wip:companies") == 0
    assert not list(redis.scan_iter("rq:execution*", count=10_000)), "no run is left open"
