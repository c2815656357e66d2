"""Several sources and one database: equal names, numbers or ids in different sources have separate effects.

So have those of a key that was deleted and filled again.
"""

import json

import pytest
from redis import Redis
from rq import Queue

from e2e.harness.redis_server import RedisServer
from e2e.harness.waiting import until
from e2e.harness.workers import JobQueueWorker

pytestmark = pytest.mark.ours

RECORD = {"RQ": "job.args[0]", "List": "job.args[0]", "Stream": "job.fields.record"}
TEXTS = [json.dumps({"text": f"note {number}"}) for number in range(20)]


@pytest.fixture
def serve(database, redis_server, tmp_path):
    """Starts a worker of one source, whose name it writes beside each text."""
    database.query("CREATE TABLE notes (id INTEGER PRIMARY KEY, source TEXT, text TEXT)")
    started = []

    def start(source, protocol, name="notes", url=redis_server.url, **queue):
        recipe = [
            {
                "record": RECORD[protocol],
                "tables": [{"table": "notes", "columns": {"source": json.dumps(source), "text": "record.text"}}],
            }
        ]
        worker = JobQueueWorker(
            tmp_path,
            url,
            database.url,
            [name],
            f"worker{len(started)}",
            queue={"protocol": protocol, **queue},
            ingest=recipe,
        )
        started.append(worker)
        until(lambda: "at work" in worker.output(), worker.output)

    yield start
    for worker in started:
        worker.stop(seconds=15)


@pytest.fixture
def noted(database, serve):
    """Waits until each source wrote each of the texts so often, and no more."""

    def wait_for(**times):
        wanted = {source: len(TEXTS) * number for source, number in times.items()}

        def counts():
            return dict(database.query("SELECT source, count(*) FROM notes GROUP BY source"))

        until(
            lambda: all(counts().get(source, 0) >= number for source, number in wanted.items()),
            lambda: f"{wanted}, there are {counts()}",
            15,
        )
        each = database.query("SELECT source, text, count(*) FROM notes GROUP BY source, text")
        assert counts() == wanted
        assert {(source, number) for source, _, number in each} == set(times.items())

    return wait_for


@pytest.fixture
def second_server(tmp_path):
    server = RedisServer(tmp_path / "second")
    yield server
    server.stop()


def fill_stream(redis, name="notes"):
    """With ids of our choosing, as whoever copies a stream does."""
    for number, text in enumerate(TEXTS, 1):
        redis.xadd(name, {"record": text}, id=f"1700000000000-{number}")


def fill_list(redis, name="notes"):
    redis.rpush(name, *TEXTS)


FILL = {"List": fill_list, "Stream": fill_stream}


def test_two_groups_of_one_stream(redis, serve, noted):
    serve("a", "Stream", consumerGroup="a")
    serve("b", "Stream", consumerGroup="b")
    fill_stream(redis)
    noted(a=1, b=1)


@pytest.mark.parametrize("protocol", FILL)
def test_two_servers(protocol, redis, redis_server, second_server, serve, noted):
    for source, server in (("a", redis_server), ("b", second_server)):
        FILL[protocol](server.client())
        serve(source, protocol, url=server.url)
    noted(a=1, b=1)


@pytest.mark.parametrize("protocol", FILL)
def test_two_databases_of_a_server(protocol, redis, redis_server, serve, noted):
    for source, number in (("a", 0), ("b", 1)):
        FILL[protocol](redis_server.client(db=number))
        serve(source, protocol, url=redis_server.url.replace("/0", f"/{number}"))
    noted(a=1, b=1)


@pytest.mark.parametrize("protocol", FILL)
def test_two_keys(protocol, redis, serve, noted):
    for name in ("a", "b"):
        FILL[protocol](redis, name)
        serve(name, protocol, name=name)
    noted(a=1, b=1)


@pytest.mark.parametrize("protocol", FILL)
@pytest.mark.parametrize("what", ["the key", "everything"])
def test_deleted_and_filled_again(what, protocol, redis, serve, noted):
    serve("a", protocol)
    for times in (1, 2, 3):
        FILL[protocol](redis)
        noted(a=times)
        if what == "everything":
            redis.flushall()
        else:
            redis.delete("notes")


def copy_under_prefix(source: Redis, target: Redis, ids, prefix):
    """The same ids with the same times, as whoever moves to another prefix or server writes them."""
    for job_id in ids:
        target.hset(f"{prefix}:job:{job_id}", mapping=source.hgetall(f"rq:job:{job_id}"))
    target.sadd(f"{prefix}:queues", f"{prefix}:queue:notes")
    target.rpush(f"{prefix}:queue:notes", *ids)


def enqueue(redis):
    queue = Queue("notes", connection=redis)
    return [queue.enqueue("notes.write", text, job_id=f"note-{number}").id for number, text in enumerate(TEXTS)]


def test_two_prefixes(redis, serve, noted):
    ids = enqueue(redis)
    copy_under_prefix(redis, redis, ids, "team-a")
    serve("a", "RQ")
    serve("b", "RQ", keyPrefix="team-a")
    noted(a=1, b=1)


def test_two_servers_of_rq(redis, redis_server, second_server, serve, noted):
    ids = enqueue(redis)
    copy_under_prefix(redis, second_server.client(), ids, "rq")
    serve("a", "RQ")
    serve("b", "RQ", url=second_server.url)
    noted(a=1, b=1)


def test_an_rq_queue_flushed_and_filled_again_with_the_same_records(redis, second_server, serve, noted):
    ids = enqueue(redis)
    copy_under_prefix(redis, second_server.client(), ids, "rq")
    serve("a", "RQ")
    for times in (1, 2):
        noted(a=times)
        redis.flushall()
        copy_under_prefix(second_server.client(), redis, ids, "rq")
    noted(a=3)
