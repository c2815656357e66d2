"""spec.database.tls with real servers: an authority of one's own, and a client certificate that the server asks for."""

import tempfile
from pathlib import Path

import pytest

from e2e.harness import certificates, companies, databases
from e2e.harness.companies import Expected
from e2e.harness.manifests import manual
from e2e.harness.waiting import until

pytestmark = pytest.mark.usefixtures("operator")


@pytest.mark.takes(20)
@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_database_that_asks_for_a_certificate(namespace, redis_server, redis, producer, host, kind):
    with tempfile.TemporaryDirectory(prefix="jobqueue-tls-") as directory:
        tls = Path(directory) / "certificates"
        tls.mkdir()
        tls.chmod(0o755)
        Path(directory).chmod(0o755)
        certificates.make(tls, f"IP:{host}", "IP:127.0.0.1")
        database = databases.start(kind, Path(directory) / "own", host, tls)
        try:
            namespace.secret(
                "warehouse", redis=redis_server.url, database=database.remote_url, ca=(tls / "ca.crt").read_text()
            )
            namespace.kubectl(
                "create", "secret", "tls", "certificate", f"--cert={tls / 'client.crt'}", f"--key={tls / 'client.key'}"
            )
            authority = {"caSecretKeyRef": {"name": "warehouse", "key": "ca"}}
            namespace.apply(manual(1, database={"tls": authority}))
            lines = companies.make(50, seed=84)
            expected = Expected(lines)
            producer.enqueue(lines)
            said = namespace.reaches("DatabaseReachable", "False", within=60)
            assert said["reason"] in ("Denied", "Unreachable"), said
            assert "secret" not in said["message"], "no password in a condition"
            namespace.patch({"spec": {"database": {"tls": {"clientCertificateSecretRef": {"name": "certificate"}}}}})
            namespace.reaches("DatabaseReachable", "True", "Reachable", within=60)
            namespace.runs(1)
            until(
                lambda: database.counts()[:2] == (expected.companies, expected.partners),
                lambda: str(database.counts()),
                60,
                0.2,
            )
            assert database.companies() == expected.rows
        finally:
            database.process.kill()
