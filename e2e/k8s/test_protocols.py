"""The ways to a queue besides plain RQ on plain Redis: lists, streams, TLS with a client certificate."""

import pytest
from redis import Redis

from e2e.harness import certificates, companies
from e2e.harness.addresses import in_url
from e2e.harness.companies import Expected
from e2e.harness.manifests import companies as manifest
from e2e.harness.manifests import manual
from e2e.harness.process import Process, free_port
from e2e.harness.producer import Producer
from e2e.harness.waiting import until

pytestmark = pytest.mark.usefixtures("operator")


def rows(database, expected, seconds=60):
    until(
        lambda: database.counts()[:2] == (expected.companies, expected.partners),
        lambda: str(database.counts()),
        seconds,
        0.1,
    )
    assert database.companies() == expected.rows


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize("protocol", ["List", "Stream"])
def test_lists_and_streams(namespace, redis, database, protocol):
    recipe = manifest()["spec"]["ingest"]
    del recipe[0]["functions"]
    recipe[0]["record"] = "job.args[0]" if protocol == "List" else "job.fields.record"
    namespace.apply(
        manifest(
            queue={"protocol": protocol, "names": ["lines"]},
            ingest=recipe,
            scaling={"targets": {"jobsPerWorker": 100, "drainSeconds": None}},
        )
    )
    namespace.reaches("Ready", "True", "Idle")
    lines = companies.make(200, seed=81)
    for line in lines:
        if protocol == "List":
            redis.rpush("lines", line)
        else:
            redis.xadd("lines", {"record": line})
    namespace.scales(lambda number: number > 0, within=5)
    rows(database, Expected(lines))
    namespace.scales(0, within=30)


def named(namespace, host, port):
    """The Service `redis` in the namespace, for a server on this machine."""
    name = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "redis"},
        "spec": {"clusterIP": "None", "ports": [{"port": port}]},
    }
    place = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv6" if ":" in host else "IPv4",
        "ports": [{"name": "", "port": port}],
        "metadata": {"name": "redis-1", "labels": {"kubernetes.io/service-name": "redis"}},
        "endpoints": [{"addresses": [host]}],
    }
    namespace.apply(name, place)


def test_a_short_host_name_is_of_the_queues_namespace(
    request, namespace, redis_server, database, redis, producer, host
):
    """`redis://redis` means the same to a worker and to an operator in another namespace."""
    if request.config.getoption("--process"):
        pytest.skip("names of Services mean nothing outside of the cluster")
    named(namespace, host, redis_server.port)
    namespace.secret("warehouse", redis=f"redis://redis:{redis_server.port}/0", database=database.remote_url)
    namespace.apply(manifest())
    namespace.reaches("QueueReachable", "True", "Reachable")
    lines = companies.make(50, seed=83)
    producer.enqueue(lines)
    rows(database, Expected(lines))


@pytest.fixture
def tls_redis(tmp_path, host):
    """A redis-server with TLS only that asks for a client certificate: its port, and where the certificates are."""
    certificates.make(tmp_path, f"IP:{host}", "IP:127.0.0.1", "DNS:redis")
    port = free_port()
    server = Process(
        [
            "redis-server",
            "--port",
            "0",
            "--tls-port",
            port,
            "--bind",
            "127.0.0.1",
            host,
            "--protected-mode",
            "no",
            "--save",
            "",
            "--tls-cert-file",
            tmp_path / "server.crt",
            "--tls-key-file",
            tmp_path / "server.key",
            "--tls-ca-cert-file",
            tmp_path / "ca.crt",
            "--tls-auth-clients",
            "yes",
            "--dir",
            tmp_path,
        ],
        tmp_path / "redis-tls.log",
    )
    yield port, tmp_path
    server.stop()


TLS = {
    "caSecretKeyRef": {"name": "warehouse", "key": "ca"},
    "clientCertificateSecretRef": {"name": "certificate"},
}


def create_client_certificate(namespace, directory):
    """The Secret that TLS names, as `kubectl` makes it."""
    files = (f"--cert={directory / 'client.crt'}", f"--key={directory / 'client.key'}")
    namespace.kubectl("create", "secret", "tls", "certificate", *files)


def test_tls_with_a_client_certificate(namespace, tls_redis, database, host):
    port, directory = tls_redis
    client = Redis(
        host="127.0.0.1",
        port=port,
        ssl=True,
        ssl_ca_certs=str(directory / "ca.crt"),
        ssl_certfile=str(directory / "client.crt"),
        ssl_keyfile=str(directory / "client.key"),
    )
    namespace.secret(
        "warehouse",
        redis=f"rediss://{in_url(host)}:{port}/0",
        database=database.remote_url,
        ca=(directory / "ca.crt").read_text(),
    )
    namespace.apply(manual(1, queue={"redis": {"tls": TLS}}))
    namespace.reaches("Stalled", "True", "SecretNotFound")
    create_client_certificate(namespace, directory)
    namespace.reaches("QueueReachable", "True", "Reachable")
    namespace.runs(1)
    lines = companies.make(100, seed=82)
    Producer(client).enqueue(lines)
    rows(database, Expected(lines))


def test_tls_with_a_short_host_name(request, namespace, tls_redis, database, host):
    """The certificate is for `redis`, as the workers call it: the operator in its other namespace accepts it too."""
    if request.config.getoption("--process"):
        pytest.skip("names of Services mean nothing outside of the cluster")
    port, directory = tls_redis
    named(namespace, host, port)
    namespace.secret(
        "warehouse",
        redis=f"rediss://redis:{port}/0",
        database=database.remote_url,
        ca=(directory / "ca.crt").read_text(),
    )
    create_client_certificate(namespace, directory)
    namespace.apply(manual(1, queue={"redis": {"tls": TLS}}))
    namespace.reaches("QueueReachable", "True", "Reachable")
    namespace.runs(1)
