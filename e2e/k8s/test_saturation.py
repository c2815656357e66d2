"""A database that is the bottleneck, a real one: no more workers than it has a use for, and no job notices.

How slow it is does not depend on this machine: a trigger waits in the database, which costs no processor. Where it
holds a lock meanwhile, any number of workers get as much done as one; without the lock, each does as much as it would
alone.
"""

import re

import pytest

from e2e.harness import companies
from e2e.harness.kube import conditions, replicas
from e2e.harness.manifests import companies as manifest
from e2e.harness.waiting import until

SLOW = """CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN {lock} PERFORM pg_sleep(0.1); RETURN NULL; END $$"""
ONE_BY_ONE = SLOW.format(lock="PERFORM pg_advisory_xact_lock(1);")
SIDE_BY_SIDE = SLOW.format(lock="")
TRIGGER = "CREATE TRIGGER slow BEFORE INSERT ON company_regist_info FOR EACH STATEMENT EXECUTE FUNCTION slow()"
PER_WORKER = 1_000  # waiting jobs that make a worker

pytestmark = pytest.mark.usefixtures("operator")


class Load:
    """A queue whose backlog first takes one worker, then as many as there may be, for as long as the test looks."""

    def __init__(self, namespace, redis, producer):
        self.namespace, self.redis, self.producer, self.lines = namespace, redis, producer, []
        self.stock = companies.make(PER_WORKER, seed=7, partners=0.0)
        self.most = self.level = 0

    def serve(self, redis_url, database, connections, most):
        """Workers that write five records at once over one connection each; all of them have an account for so many.
        The scaling is as it comes, but for how many jobs make a worker."""
        account = f"limited_{database.name}"
        database.execute(
            f"CREATE ROLE {account} LOGIN PASSWORD 'secret' CONNECTION LIMIT {connections}",
            f"GRANT ALL ON SCHEMA public TO {account}",
            f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {account}",
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {account}",
            TRIGGER,
        )
        self.namespace.secret(
            "warehouse", redis=redis_url, database=re.sub(r"//\w+:", f"//{account}:", database.remote_url)
        )
        self.namespace.apply(
            manifest(
                database={"maxConnections": None},
                worker={"concurrency": 1, "batchSize": 5},
                scaling={
                    "maxReplicas": most,
                    "targets": {"jobsPerWorker": PER_WORKER, "drainSeconds": None, "maxWaitSeconds": None},
                    "idleSeconds": None,
                    "scaleDown": None,
                },
            )
        )
        self.most = most
        return account

    def for_one(self):
        """As much as takes one worker, until that one has done a good part of it."""
        self.add()
        self.until(lambda: self.finished() >= PER_WORKER / 3, "one worker does a part", 120)
        assert self.asked_for() == 1, self.namespace.conditions_text()

    def for_all(self):
        """From now on there is always more than all workers' share."""
        self.level = self.most * PER_WORKER

    def add(self):
        self.producer.enqueue(self.stock, first=len(self.lines))
        self.lines += self.stock

    def until(self, condition, what, within):
        def poll():
            while self.redis.llen("rq:queue:companies") < self.level:
                self.add()
            # No job may notice: none has failed, none waits for another attempt.
            assert self.redis.zcard("rq:failed:companies") == self.redis.zcard("rq:scheduled:companies") == 0
            return condition()

        return until(
            poll, lambda: f"{what}; {self.asked_for()} workers\n{self.namespace.conditions_text()}", within, 0.2
        )

    def limit(self):
        """What is said of the database as a limit; None where it is none."""
        found = conditions(self.namespace.queue()).get("ScalingLimited")
        return found["message"] if found and found["reason"] == "DatabaseSaturated" else None

    def asked_for(self):
        deployment = self.namespace.deployment()
        return deployment and replicas(deployment)

    def finished(self):
        return self.redis.zcard("rq:finished:companies")

    def ends_exactly(self, database, within=300):
        database.execute("DROP TRIGGER slow ON company_regist_info")
        self.level = 0
        self.until(lambda: self.finished() == len(self.lines), f"all of {len(self.lines)} are finished", within)
        assert database.companies() == companies.Expected(self.lines).rows


@pytest.fixture
def load(namespace, redis, producer):
    return Load(namespace, redis, producer)


@pytest.mark.takes(180)
def test_workers_that_a_slow_database_has_no_use_for(redis_server, database, load, measure):
    database.execute(ONE_BY_ONE)
    load.serve(redis_server.url, database, connections=8, most=6)
    load.for_one()
    load.for_all()
    load.until(lambda: load.asked_for() == 6, "all are asked for", 30)
    message = load.until(load.limit, "it is told that the database is saturated", 240)
    found = re.search(
        r"the database is saturated \((\d+) workers did ([\d.]+) jobs/s, (\d+) workers? did ([\d.]+)/s\)", message
    )
    assert found, message
    more, more_rate, fewer, fewer_rate = map(float, found.groups())
    assert more / fewer > more_rate / fewer_rate, message
    few = load.until(lambda: load.asked_for() < 6 and load.asked_for(), "workers go", 180)

    database.execute(SIDE_BY_SIDE)
    load.until(lambda: load.asked_for() == 6, "all are back", 600)
    load.until(lambda: not load.limit(), "nothing is said of it any more", 60)
    load.ends_exactly(database)
    measure(jobs=len(load.lines), workers_meanwhile=few, said=message)


@pytest.mark.takes(160)
def test_workers_that_find_no_connection(redis_server, database, load, measure):
    database.execute(SIDE_BY_SIDE)
    account = load.serve(redis_server.url, database, connections=2, most=4)
    load.for_one()
    load.for_all()
    message = load.until(load.limit, "it is told that the database refuses some", 240)
    assert re.search(r"the database takes nothing from \d of \d workers, otherwise 4", message), message
    load.until(lambda: load.asked_for() == 2, "as many stay as have a connection", 180)

    database.execute(f"ALTER ROLE {account} CONNECTION LIMIT 20")
    load.until(lambda: load.asked_for() == 4, "all are back", 600)
    load.ends_exactly(database)
    measure(jobs=len(load.lines), said=message)
