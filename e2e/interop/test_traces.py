"""Traces of jobs: what a collector of OpenTelemetry gets to see of them, and what one that is away costs."""

import fractions
import json
import re
import socket
import subprocess
import time
import urllib.request

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Kind
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from e2e.harness import backlog, certificates, companies
from e2e.harness.collector import Collector
from e2e.harness.companies import FUNCTION
from e2e.harness.waiting import until
from e2e.harness.workers import JobQueueWorker, binary, wait_until_registered, worker_config

pytestmark = pytest.mark.ours

TRACE = "0af7651916cd43dd8448eb211c80319c"


def traceparent(span, flags="01"):
    return f"00-{TRACE}-{span}-{flags}"


@pytest.fixture
def collector():
    listening = Collector()
    yield listening
    listening.close()


@pytest.fixture
def start(tmp_path, redis_server, redis, database):
    """Starts a worker that sends its traces to a URL; `environment` is more of its environment. `registers` is false
    for one that serves no queue of RQ."""
    workers = []

    def worker(url, environment=None, registers=True, **settings):
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "100", **(environment or {})}
        name = f"traced{len(workers)}"
        one = JobQueueWorker(tmp_path, redis_server.url, database.url, ["companies"], name, env=environment, **settings)
        workers.append(one)
        if registers:
            wait_until_registered(redis, one, number=1)
        return one

    yield worker
    for one in workers:
        one.stop(seconds=15)


def of_jobs(collector, number):
    """Their spans by the jobs' ids, once there are so many."""
    until(
        lambda: len(collector.named("process companies")) >= number,
        lambda: f"{number} jobs are traced, there is {collector.spans}",
    )
    spans = collector.named("process companies")
    assert len(spans) == number, spans
    return {span.attributes["messaging.message.id"]: span for span in spans}


@pytest.mark.parametrize("serializer", ["pickle", "json"])
def test_a_job_is_traced_from_its_producer_to_the_commit(serializer, queue, json_queue, collector, start, lines):
    meta = {"progress": 1, "traceparent": traceparent("b7ad6b7169203331"), "tracestate": "vendor=x"}
    (queue if serializer == "pickle" else json_queue).enqueue(FUNCTION, lines[0], job_id="one", meta=meta)
    worker = start(
        collector.url,
        {
            "OTEL_SERVICE_NAME": "companies-worker",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test,service.version=mine",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-token=secret",
        },
    )
    job = of_jobs(collector, 1)["one"]
    assert (job.trace, job.parent, job.state) == (TRACE, "b7ad6b7169203331", "vendor=x")
    assert job.kind == Kind.SPAN_KIND_CONSUMER
    assert job.status.code == Status.STATUS_CODE_UNSET
    expected = {
        "messaging.system": "rq",
        "messaging.destination.name": "companies",
        "messaging.operation.type": "process",
        "jobqueue.attempt": 1,
        "jobqueue.outcome": "applied",
    }
    assert expected.items() <= job.attributes.items()
    assert job.attributes["jobqueue.rows"] >= 1 and job.attributes["jobqueue.wait_seconds"] >= 0
    for name in ("extract", "write", "complete"):
        [child] = collector.named(name)
        assert (child.trace, child.parent) == (TRACE, job.id)
        assert job.began <= child.began <= child.ended <= job.ended
    assert job.resource["service.name"] == "companies-worker"
    assert job.resource["jobqueue.name"] == "companies"
    assert job.resource["service.version"] == "mine", "the environment wins"
    assert job.resource["deployment.environment.name"] == "test"
    assert re.fullmatch(r".+-[0-9a-f]{8}", job.resource["service.instance.id"])
    assert {headers["x-token"] for headers in collector.headers} == {"secret"}
    assert "secret" not in worker.output()


def test_a_write_links_to_all_its_jobs(queue, collector, start, lines):
    parents = {f"job-{number}": f"{number + 1:016x}" for number in range(20)}
    for (job_id, span), line in zip(parents.items(), lines, strict=False):
        queue.enqueue(FUNCTION, line, job_id=job_id, meta={"traceparent": traceparent(span)})
    start(collector.url)
    jobs = of_jobs(collector, 20)
    assert {job_id: span.parent for job_id, span in jobs.items()} == parents
    ids = {(span.trace, span.id) for span in jobs.values()}
    for name in ("write", "complete"):
        stages = collector.named(name)
        linked = [link for stage in stages for link in stage.links]
        assert sorted(linked) == sorted(ids), f"each job is in one {name}, and all are linked"
        for stage in stages:
            assert stage.attributes["messaging.batch.message_count"] == len(stage.links)
            for job in jobs.values():
                if (job.trace, job.id) in stage.links and job.id != stage.parent:
                    assert (stage.trace, stage.id) in job.links
                    assert f"{name} began" in job.events


def test_a_failed_job_is_an_error_without_its_data(queue, collector, start, lines):
    bad = json.loads(lines[0])
    bad["Company"] = "a-very-secret-name"
    meta = {"traceparent": traceparent("b7ad6b7169203331")}
    job = queue.enqueue(FUNCTION, json.dumps(bad), job_id="bad", meta=meta)
    start(collector.url)
    span = of_jobs(collector, 1)["bad"]
    assert job.get_status(refresh=True) == JobStatus.FAILED
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert span.attributes["error.type"] == "record" and span.attributes["jobqueue.outcome"] == "failed"
    assert span.status.message == "the recipe does not fit the record; the failed registry has the details"
    assert not [body for body in collector.bodies if b"secret" in body]


def test_what_a_producer_does_not_sample_is_not_sent(queue, collector, start, lines):
    queue.enqueue(FUNCTION, lines[0], job_id="quiet", meta={"traceparent": traceparent("00000000000000a1", "00")})
    queue.enqueue(FUNCTION, lines[1], job_id="alone")
    queue.enqueue(FUNCTION, lines[2], job_id="told", meta={"traceparent": traceparent("00000000000000a2")})
    ratio = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}
    worker = start(collector.url, ratio)
    until(lambda: not backlog.unfinished(queue.connection, "companies"), worker.output)
    assert worker.stop() == 0
    assert set(of_jobs(collector, 1)) == {"told"}


@pytest.mark.parametrize(
    "meta",
    [
        {"traceparent": traceparent("b7ad6b7169203331").upper()},
        {"traceparent": "00-" + "0" * 32 + "-b7ad6b7169203331-01"},
        {"traceparent": 7},
        {"traceparent": traceparent("b7ad6b7169203331"), "log": "x" * 20_000},
        {"traceparent": traceparent("b7ad6b7169203331"), "not data": fractions.Fraction(1, 2)},
    ],
    ids=["upper case", "no trace", "a number", "long", "an object"],
)
def test_a_meta_that_cannot_be_read_fails_no_job(meta, queue, workers, collector, start, lines):
    job = queue.enqueue(FUNCTION, lines[0], job_id="one", meta=meta)
    start(collector.url)
    workers.reaches(job, JobStatus.FINISHED)
    span = of_jobs(collector, 1)["one"]
    assert span.trace != TRACE and not span.parent, "a trace of its own"


@pytest.mark.parametrize("protocol", ["List", "Stream"])
def test_records_and_entries_have_it_as_a_field(protocol, redis, collector, start, lines):
    parent = traceparent("b7ad6b7169203331")
    if protocol == "List":
        redis.rpush("companies", json.dumps({**json.loads(lines[0]), "traceparent": parent}))
    else:
        redis.xadd("companies", {"record": lines[0], "traceparent": parent})
    [recipe] = worker_config(["companies"])["ingest"]
    del recipe["functions"]
    start(collector.url, registers=False, queue={"protocol": protocol}, ingest=[recipe])
    [job] = of_jobs(collector, 1).values()
    assert (job.trace, job.parent) == (TRACE, "b7ad6b7169203331")
    assert job.attributes["messaging.system"] == "redis"


def test_a_collector_with_tls(queue, start, tmp_path, lines):
    authority = certificates.make(tmp_path, "IP:127.0.0.1")
    collector = Collector(authority)
    start(collector.url, {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(authority / "ca.crt")})
    queue.enqueue(FUNCTION, lines[0], job_id="one")
    assert of_jobs(collector, 1)["one"].attributes["jobqueue.outcome"] == "applied"
    collector.close()


def end_of(worker):
    began = time.monotonic()
    assert worker.stop(seconds=30) == 0, worker.output()
    return time.monotonic() - began


@pytest.mark.parametrize("kind", ["refuses", "hangs"])
def test_a_dead_collector_costs_no_job_and_no_time_at_the_end(kind, queue, redis, start, database, lines):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if kind == "hangs":
            listener.listen(64)  # connects, and is never answered
        url = f"http://user:hidden@127.0.0.1:{listener.getsockname()[1]}"
        worker = start(url, {"JOBQUEUE_LISTEN": "127.0.0.1:0", "OTEL_BSP_MAX_QUEUE_SIZE": "10"})
        for line in lines:
            queue.enqueue(FUNCTION, line, meta={"traceparent": traceparent("b7ad6b7169203331")})
        until(lambda: not backlog.unfinished(redis, "companies"), worker.output)
        names = [row[0] for row in database.query("SELECT name FROM company_regist_info")]
        assert sorted(names) == sorted(companies.names(lines))
        port = re.search(r"answering .*127\.0\.0\.1:(\d+)", worker.output())
        assert port, worker.output()
        until(lambda: dropped(port[1]) > 0, lambda: f"spans are dropped\n{worker.output()}")
        took = end_of(worker)
    assert took < (1.5 if kind == "refuses" else 4), f"{took:.1f} s\n{worker.output()}"
    assert "hidden" not in worker.output()
    if kind == "refuses":
        assert worker.output().count("the collector does not take traces") == 1


def dropped(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return float(re.search(r"^jobqueue_worker_spans_dropped_total (\S+)", text, re.M)[1])


def test_settings_that_cannot_be_followed_are_told_and_stop_nothing(queue, workers, start, lines):
    worker = start("http://127.0.0.1:4317", {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    workers.reaches(queue.enqueue(FUNCTION, lines[0]), JobStatus.FINISHED)
    assert "only http/protobuf" in worker.output()


class TestEnqueue:
    """`jobqueue enqueue` as the producer: a job's trace begins with it."""

    @pytest.fixture
    def enqueue(self, redis_server, tmp_path):
        def run(lines, *flags, **environment):
            (tmp_path / "records.jsonl").write_text("\n".join(lines), encoding="utf-8")
            command = [binary("jobqueue"), "enqueue", tmp_path / "records.jsonl", "--redis", redis_server.url]
            environment = {"KUBECONFIG": "/nowhere", **environment}
            began = time.monotonic()
            done = subprocess.run([*command, *flags], env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            return done, time.monotonic() - began

        return run

    RQ = ("--queue", "companies", "--function", FUNCTION)

    @pytest.mark.parametrize("serializer", ["pickle", "json"])
    def test_the_trace_of_a_job_begins_with_the_command(self, serializer, redis, collector, enqueue, start, lines):
        is_json = serializer == "json"
        done, _ = enqueue(
            lines[:3],
            *self.RQ,
            *(["--json-serializer"] if is_json else []),
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
        )
        ids = [line.split(" : ")[1] for line in done.stdout.splitlines()]
        sent = {span.attributes["messaging.message.id"]: span for span in collector.named("send companies")}
        assert sorted(sent) == sorted(ids) and len(ids) == 3
        assert len({span.trace for span in sent.values()}) == 3, "each job has a trace of its own"
        for job_id, span in sent.items():
            assert span.kind == Kind.SPAN_KIND_PRODUCER and not span.parent
            assert span.resource["service.name"] == "jobqueue-enqueue"
            assert span.resource["deployment.environment.name"] == "test"
            job = Job.fetch(job_id, connection=redis, serializer=JSONSerializer if is_json else None)
            assert job.meta == {"traceparent": f"00-{span.trace}-{span.id}-01"}, "rq reads it"
            assert list(job.args) == [lines[ids.index(job_id)]]
        start(collector.url)
        done = of_jobs(collector, 3)
        assert {job_id: (span.trace, span.parent) for job_id, span in done.items()} == {
            job_id: (span.trace, span.id) for job_id, span in sent.items()
        }

    def test_an_entry_of_a_stream_has_it_as_a_field(self, redis, collector, enqueue, lines):
        done, _ = enqueue(
            lines[:2], "--protocol", "stream", "--queue", "records", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url
        )
        ids = [line.split(" : ")[1] for line in done.stdout.splitlines()]
        entries = {entry_id.decode(): fields for entry_id, fields in redis.xrange("records")}
        assert sorted(entries) == sorted(ids)
        for span in collector.named("send records"):
            fields = entries[span.attributes["messaging.message.id"]]
            assert fields[b"traceparent"].decode() == f"00-{span.trace}-{span.id}-01"
            assert fields[b"record"].decode() in lines[:2]

    @pytest.mark.parametrize("protocol", ["list", "rq"])
    def test_without_a_collector_jobs_carry_nothing(self, protocol, redis, collector, enqueue, lines):
        """Nor does the element of a list, which is the record, with one."""
        if protocol == "rq":
            done, _ = enqueue(lines[:1], *self.RQ)
            assert not redis.hexists("rq:job:" + done.stdout.split(" : ")[1].strip(), "meta")
        else:
            traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
            enqueue(lines[:1], "--protocol", "list", "--queue", "records", **traced)
            assert redis.lrange("records", 0, -1) == [lines[0].encode()]
        assert not collector.spans

    def test_what_is_not_sampled_says_so_to_the_worker(self, redis, collector, enqueue, start, lines):
        done, _ = enqueue(
            lines[:1], *self.RQ, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_TRACES_SAMPLER="always_off"
        )
        job = Job.fetch(done.stdout.split(" : ")[1].strip(), connection=redis)
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", job.meta["traceparent"])
        worker = start(collector.url)
        until(lambda: not backlog.unfinished(redis, "companies"), worker.output)
        assert worker.stop() == 0
        assert not collector.spans, "its decision holds"

    @pytest.mark.parametrize("kind", ["refuses", "hangs"])
    def test_a_dead_collector_keeps_no_job_waiting(self, kind, redis, enqueue, lines):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            if kind == "hangs":
                listener.listen(64)
            url = f"http://user:hidden@127.0.0.1:{listener.getsockname()[1]}"
            done, took = enqueue(lines, *self.RQ, OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_BSP_MAX_QUEUE_SIZE="10")
        assert redis.llen("rq:queue:companies") == len(lines)
        assert took < 4, f"{took:.1f} s"
        assert re.search(r"\d+ span\(s\) of traces were dropped", done.stderr), done.stderr
        assert "hidden" not in done.stderr

    def test_a_setting_that_cannot_be_followed_is_told_and_stops_nothing(self, redis, enqueue, lines):
        done, _ = enqueue(
            lines[:1],
            *self.RQ,
            OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4317",
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        )
        assert "no traces are sent: OTEL_EXPORTER_OTLP_PROTOCOL" in done.stderr
        assert redis.llen("rq:queue:companies") == 1
