"""What a tenant's servers do to the operator: nothing."""

import pytest

from e2e.harness.hostile import HostileServers
from e2e.harness.manifests import companies as manifest

pytestmark = pytest.mark.usefixtures("operator")


def test_a_redis_that_answers_without_end(namespace, redis_server, database, host, tmp_path):
    with HostileServers(host, 1, tmp_path, ["endless-array"]) as hostile:
        namespace.secret("warehouse", redis=hostile.urls[0], database=database.remote_url)
        namespace.apply(manifest())
        said = namespace.reaches("QueueReachable", "False", "WrongData", within=30)
        assert "with more than" in said["message"], said
        # The operator lives on, and serves the queue as soon as it can.
        namespace.secret("warehouse", redis=redis_server.url, database=database.remote_url)
        namespace.reaches("QueueReachable", "True", "Reachable", within=30)


def test_a_redis_at_the_metadata_service(namespace, database):
    namespace.secret("warehouse", redis="redis://169.254.169.254:80/0", database=database.remote_url)
    namespace.apply(manifest())
    said = namespace.reaches("Stalled", "True", "InvalidUrl", within=30)
    assert "a link-local address" in said["message"], said
