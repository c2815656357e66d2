"""Each bad input ends in the failed registry with its cause; the good jobs beside it are done."""

import json
import os
import pickle
import zlib

from rq.job import Job, JobStatus

from e2e.harness import backlog, companies
from e2e.harness.companies import FUNCTION, Expected
from e2e.harness.producer import Producer, call
from e2e.harness.waiting import until


class Command:
    """Unpickled by a trusting reader, it runs a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def changed(line, change):
    record = json.loads(line)
    change(record["Company"])
    return json.dumps(record, ensure_ascii=False)


def bomb(size):
    """Zeros, a thousand to one; cut into pieces so that the test itself stays small."""
    squeeze = zlib.compressobj(9)
    piece = bytes(1 << 20)
    return b"".join(squeeze.compress(piece) for _ in range(size >> 20)) + squeeze.flush()


def deep_pickle(depth):
    """('function', None, [[[...]]], {}) without recursion."""
    nest = b"]" * depth + b"a" * (depth - 1)
    return zlib.compress(b"\x80\x04(X" + len(FUNCTION).to_bytes(4, "little") + FUNCTION.encode() + b"N" + nest + b"}t.")


def bad_inputs(line, witness):
    """name -> (data field, what the message must contain, in lower case)"""

    def without_name(company):
        del company["Name"]

    def no_date(company):
        company["StartDate"] = "the ides of March"

    def long_name(company):
        company["Name"] = "某" * 5000

    deep_text = '{"Company": ' + "[" * 10_000 + "]" * 10_000 + "}"
    return {
        "cut short": (call(FUNCTION, line[: len(line) // 2]), ["json"]),
        "missing field": (call(FUNCTION, changed(line, without_name)), ["name"]),
        "not a date": (call(FUNCTION, changed(line, no_date)), ["founded_date", "the ides of march"]),
        "too long": (call(FUNCTION, changed(line, long_name)), ["name"]),
        "calls something": (
            zlib.compress(pickle.dumps((FUNCTION, None, (Command(witness),), {}))),
            ["run code", "system"],
        ),
        "zlib bomb": (bomb(300 << 20), ["limit"]),
        "deep pickle": (deep_pickle(10_000), ["limit"]),
        "deep json call": (
            zlib.compress(
                json.dumps([FUNCTION, None]).encode()[:-1] + b", " + b"[" * 10_000 + b"]" * 10_000 + b", {}]"
            ),
            [],
        ),
        "deep json text": (call(FUNCTION, deep_text), ["json"]),
        "unknown function": (call("ParseCompany.destroy_company", line), ["parsecompany.destroy_company"]),
        "no payload at all": (b"\x00\x01\x02", ["decode"]),
    }


def test_each_names_its_cause(redis, database, start_worker, tmp_path, measure):
    lines = companies.make(200, seed=9)
    witness = tmp_path / "the payload ran".replace(" ", "-")
    producer = Producer(redis)
    bad = bad_inputs(lines[0], witness)
    good_ids = producer.enqueue(lines[:100])
    bad_ids = dict(zip(bad, producer.enqueue_data([data for data, _ in bad.values()], run=1), strict=True))
    [gone] = producer.enqueue_data([b""], run=2)
    redis.delete(f"rq:job:{gone}")
    good_ids += producer.enqueue(lines[100:], first=100)
    worker = start_worker()
    until(
        lambda: backlog.read(redis).finished == len(lines) and backlog.drained(redis),
        lambda: f"the good ones are done: {backlog.read(redis)}\n{worker.output()}",
        seconds=120,
    )
    failed = {member.decode() for member in redis.zrange("rq:failed:companies", 0, -1)}
    assert failed == set(bad_ids.values())
    assert redis.zrange("rq:jobqueue:gone:companies", 0, -1) == [gone.encode()]
    messages = {}
    for name, (_, needles) in bad.items():
        job = Job.fetch(bad_ids[name], connection=redis)
        assert job.get_status() == JobStatus.FAILED
        messages[name] = job.latest_result().exc_string
        assert messages[name].strip(), name
        for needle in needles:
            assert needle in messages[name].lower(), (name, messages[name])
        assert len(messages[name]) < 4000, f"{name}: a message, not the payload"
    assert not witness.exists(), "the payload ran"
    expected = Expected(lines)
    assert database.counts() == (expected.companies, expected.partners, expected.companies)
    assert worker.alive()
    measure(
        resident_mib=worker.resident_kib() / 1024,
        **{name: " ".join(text.split())[:160] for name, text in messages.items()},
    )
