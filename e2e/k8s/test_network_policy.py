"""NetworkPolicies that are enforced: the workers' and the operator's, and what the tests' own node makes of any."""

import os

import pytest

from e2e.harness import addresses, companies
from e2e.harness.clients import Client
from e2e.harness.companies import Expected
from e2e.harness.manifests import companies as manifest
from e2e.harness.manifests import manual
from e2e.harness.redis_server import RedisServer
from e2e.harness.waiting import until

pytestmark = pytest.mark.usefixtures("enforced")
METRICS = 9090
SCRAPER = {"scrapes": "metrics"}


@pytest.fixture(scope="session")
def enforced():
    if not os.environ.get("E2E_CLUSTER"):
        pytest.skip("only of the project's own cluster it is known that it enforces NetworkPolicies")


@pytest.fixture
def client(namespace, python_image_on_nodes):
    """Makes pods in the test's namespace, or in another."""

    def make(name, labels=None, ports=None, within=namespace):
        return Client(within, python_image_on_nodes, name, labels, ports)

    return make


def to(host, *ports):
    """An egress rule."""
    return {"to": [{"ipBlock": {"cidr": addresses.block(host)}}], "ports": [{"port": port} for port in ports]}


def port_of(url):
    return int(url.rsplit(":", 1)[1].partition("/")[0])


@pytest.mark.takes(40)
@pytest.mark.usefixtures("operator", "warehouse")
def test_workers_reach_what_is_named_and_are_reached_for_metrics(
    namespace, redis_server, database, producer, host, client
):
    scraper, other = client("scraper", SCRAPER), client("other")
    redis = to(host, redis_server.port)
    policy = {"metricsFrom": [{"podSelector": {"matchLabels": SCRAPER}}], "egress": [redis]}
    namespace.apply(manual(1, worker={"networkPolicy": policy}))
    namespace.reaches("DatabaseReachable", "False", "Unreachable", within=60)
    lines = companies.make(50, seed=85)
    expected = Expected(lines)
    producer.enqueue(lines)
    assert database.counts()[0] == 0, "the database is not named yet"
    policy["egress"].append(to(host, port_of(database.remote_url)))
    namespace.patch({"spec": {"worker": {"networkPolicy": policy}}})
    namespace.reaches("DatabaseReachable", "True", "Reachable", within=60)
    until(
        lambda: database.counts()[:2] == (expected.companies, expected.partners),
        lambda: str(database.counts()),
        60,
        0.2,
    )
    [worker] = namespace.runs(1)
    places = [(each["ip"], METRICS) for each in worker["status"]["podIPs"]]
    assert all(scraper.ready().reaches(*places, seconds=5)), "it may read the metrics"
    assert not any(other.ready().reaches(*places)), "it may not"
    namespace.patch({"spec": {"worker": {"networkPolicy": None}}})
    until(lambda: all(other.reaches(*places)), "whoever likes may, without a policy", 20, 0.1)


@pytest.mark.alone
@pytest.mark.usefixtures("warehouse")
def test_the_operator_reaches_what_is_named_and_is_reached_for_metrics(
    cluster, changed_release, namespace, namespaces, redis_server, host, client, tmp_path
):
    monitoring = namespaces("-monitoring", monitors="yes")
    elsewhere = RedisServer(tmp_path / "elsewhere", host=host)
    try:
        namespace.secret("elsewhere", url=elsewhere.url)
        api = cluster.raw("apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
        places = [(each, api["ports"][0]["port"]) for each in api["endpoints"][0]["addresses"]]
        rules = [to(*place) for place in [*places, (host, redis_server.port)]]
        settings = [
            f"networkPolicy.egress[{number}].{field}"
            for number, rule in enumerate(rules)
            for field in (
                f"to[0].ipBlock.cidr={rule['to'][0]['ipBlock']['cidr']}",
                f"ports[0].port={rule['ports'][0]['port']}",
            )
        ]
        peer = "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.monitors=yes"
        scraper, other = client("scraper", within=monitoring), client("other")
        changed_release.install("networkPolicy.enabled=true", peer, *settings)
        namespace.apply(manifest())
        namespace.reaches("QueueReachable", "True", "Reachable", within=30)
        url = {"urlSecretKeyRef": {"name": "elsewhere", "key": "url"}}
        namespace.apply(manifest("elsewhere", queue={"names": ["elsewhere"], "redis": url}))
        namespace.reaches("QueueReachable", "False", "Unreachable", name="elsewhere", within=60)
        [pod] = changed_release.pods()
        places = [(each["ip"], METRICS) for each in pod["status"]["podIPs"]]
        assert all(scraper.ready().reaches(*places, seconds=5)), "it may read the metrics"
        assert not any(other.ready().reaches(*places)), "it may not"
        changed_release.install()
        namespace.reaches("QueueReachable", "True", "Reachable", name="elsewhere", within=60)
    finally:
        elsewhere.stop()


PORTS = {"web": 8001, "more": 8002, "most": 8003, "last": 8004}
ANY = {"podSelector": {}}
# A rule's peers and ports, and which of the four ports then answer to the neighbour, and to the stranger in a namespace
# with the label far=away.
RULES = {
    "everybody": ({}, [8001, 8002, 8003, 8004], [8001, 8002, 8003, 8004]),
    "a name, a number and a range": (
        {"from": [ANY], "ports": [{"port": "web"}, {"port": 8003, "endPort": 8004}]},
        [8001, 8003, 8004],
        [],
    ),
    "by label": ({"from": [{"podSelector": {"matchLabels": {"who": "nobody"}}}]}, [], []),
    "another namespace": (
        {"from": [{"namespaceSelector": {"matchLabels": {"far": "away"}}}], "ports": [{"port": 8002}]},
        [],
        [8002],
    ),
    "both selectors": (
        {
            "from": [
                {
                    "namespaceSelector": {"matchLabels": {"far": "away"}},
                    "podSelector": {"matchLabels": {"role": "client"}},
                }
            ]
        },
        [],
        [8001, 8002, 8003, 8004],
    ),
}


def answering(client, server):
    """The ports of the server that answer to a client, at every address."""
    ports = list(PORTS.values())
    places = [(address, port) for address in server.addresses() for port in ports]
    answers = dict(zip(places, client.reaches(*places, seconds=0.7), strict=True))
    return [port for port in ports if all(answers[address, port] for address in server.addresses())]


def policy(name, selector, **spec):
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {"matchLabels": selector}, **spec},
    }


@pytest.mark.takes(25)
def test_the_node_enforces_what_a_policy_says(namespace, namespaces, client):
    server = client("server", {"role": "server"}, PORTS)
    neighbour = client("neighbour", {"role": "client"})
    stranger = client("stranger", {"role": "client"}, within=namespaces("-far", far="away"))
    for each in (server, neighbour, stranger):
        each.ready()
    everything = list(PORTS.values())
    for what, (rule, near, far) in RULES.items():
        namespace.apply(policy("ingress", {"role": "server"}, policyTypes=["Ingress"], ingress=[rule]))
        for who, expected in ((neighbour, near), (stranger, far)):
            until(
                lambda who=who, expected=expected: answering(who, server) == expected,
                lambda what=what, who=who: f"{what}: {who.name} reaches {answering(who, server)}",
                15,
                0.1,
            )
    namespace.kubectl("delete", "networkpolicy", "ingress")
    until(lambda: answering(neighbour, server) == everything, "no policy, no limit", 15, 0.1)
    ranges = {each: f"{each}/{32 if '.' in each else 128}" for each in server.addresses()}
    everywhere = {each: "0.0.0.0/0" if "." in each else "::/0" for each in ranges}
    blocks = [{"ipBlock": {"cidr": everywhere[each]}} for each in ranges]
    but = [{"ipBlock": {"cidr": everywhere[each], "except": [ranges[each]]}} for each in ranges]
    for peers, ports, expected in (
        (blocks, [{"port": 8002}], [8002]),
        (but, [{"port": 8002}], []),
        ([{"podSelector": {"matchLabels": {"role": "server"}}}], [{"port": "last"}], [8004]),
    ):
        rule = {"to": peers, "ports": ports}
        namespace.apply(policy("egress", {"role": "client"}, policyTypes=["Egress"], egress=[rule]))
        until(
            lambda expected=expected: answering(neighbour, server) == expected,
            lambda rule=rule: f"{rule}: reaches {answering(neighbour, server)}",
            15,
            0.1,
        )
        assert answering(stranger, server) == everything, "the policy is for another pod"


def families(found):
    return {6 if ":" in each else 4 for each in found}


def test_pods_and_the_metrics_service_have_the_families_of_the_cluster(cluster, client, release):
    """On IPv6 alone, no IPv4 address helps in secret; where there are both, the Service has both."""
    addresses_of_node = cluster.raw("api/v1/nodes")["items"][0]["status"]["addresses"]
    expected = families(each["address"] for each in addresses_of_node if each["type"] == "InternalIP")
    assert families(client("pod").ready().addresses()) == expected
    service = cluster.raw(f"api/v1/namespaces/{release.namespace}/services/{release.name}-metrics")
    assert families(service["spec"]["clusterIPs"]) == expected
