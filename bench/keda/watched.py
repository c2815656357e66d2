"""What the API server told of a namespace's Deployments and pods, with the moments at which it did."""

import itertools
import json
import threading
import time
import urllib.request

from e2e.harness.kube import KINDS
from e2e.harness.waiting import until


class Watched(threading.Thread):
    """Follows all objects of a kind; `see(object, gone, moment)` is called for each version, by one thread."""

    def __init__(self, cluster, plural, namespace):
        super().__init__(daemon=True)
        self.cluster, self.path = cluster, f"{KINDS[plural]}/namespaces/{namespace}/{plural}"
        self.over, self.known = threading.Event(), {}
        self.start()

    def see(self, each, gone, moment):
        raise NotImplementedError

    def run(self):
        version = None
        while not self.over.is_set():
            try:
                version = self._follow(version or self._list())
            except (OSError, ValueError):
                self.over.wait(0.1)  # nothing happened for a while, or the API server is away: go on where it ended

    def _list(self):
        listed = self.cluster.raw(self.path)
        there = {each["metadata"]["uid"] for each in listed["items"]}
        for each in [known for uid, known in self.known.items() if uid not in there]:
            self._tell(each, True)
        for each in listed["items"]:
            self._tell(each, False)
        return listed["metadata"]["resourceVersion"]

    def _tell(self, each, gone):
        uid = each["metadata"]["uid"]
        self.known[uid] = each
        if gone:
            del self.known[uid]
        self.see(each, gone, time.time())

    def _follow(self, version):
        """The version to go on with when the stream ends; none if it is too old."""
        url = f"http://127.0.0.1:{self.cluster.port}/{self.path}?watch=1&timeoutSeconds=300&resourceVersion={version}"
        with urllib.request.urlopen(url, timeout=330) as stream:
            for line in stream:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return None
                version = event["object"]["metadata"]["resourceVersion"]
                self._tell(event["object"], event["type"] == "DELETED")
        return version


class Replicas(Watched):
    """Deployments: how many pods each asked for and had ready, as (moment, asked, ready)."""

    def __init__(self, cluster, namespace):
        self.steps = {}
        super().__init__(cluster, "deployments", namespace)

    def see(self, each, gone, moment):
        name = each["metadata"]["name"].removesuffix("-worker")
        asked = 0 if gone else each["spec"].get("replicas", 1)
        self.steps.setdefault(name, []).append((moment, asked, (each.get("status") or {}).get("readyReplicas", 0)))

    def reaches(self, name, test, since, what, seconds):
        """The moment, from `since` on, at which `test(asked, ready)` was true first."""

        def poll():
            steps = self.steps.get(name, [])
            before = [each for each in steps if each[0] <= since][-1:]
            return next(
                (
                    max(moment, since)
                    for moment, asked, ready in [*before, *(each for each in steps if each[0] > since)]
                    if test(asked, ready)
                ),
                None,
            )

        return until(poll, lambda: f"{name}: {what}; {self.steps.get(name, [])[-1:]}", seconds, 0.005)

    def asked_seconds(self, name, since):
        """Pods asked for, over time."""
        steps = [(moment, asked) for moment, asked, _ in self.steps[name] if moment >= since]
        return sum(asked * (after - moment) for (moment, asked), (after, _) in itertools.pairwise(steps))


class Pods(Watched):
    """Pods: whose, since when, when told to go, when gone."""

    def __init__(self, cluster, namespace):
        self.lives = {}
        super().__init__(cluster, "pods", namespace)

    def see(self, each, gone, moment):
        metadata = each["metadata"]
        life = self.lives.setdefault(
            metadata["uid"],
            {
                "of": metadata["labels"]["bench"],
                "name": metadata["name"],
                "since": moment,
                "deleted": None,
                "gone": None,
            },
        )
        if metadata.get("deletionTimestamp") and life["deleted"] is None:
            life["deleted"] = moment
        if gone:
            life["deleted"], life["gone"] = life["deleted"] or moment, moment

    def of(self, name, since=0.0):
        return [life for life in list(self.lives.values()) if life["of"] == name and life["since"] >= since]

    def deleted(self, name, since):
        """How many were told to go."""
        return sum(1 for life in self.of(name, since) if life["deleted"])

    def none_left(self, name):
        return all(life["gone"] for life in self.of(name))

    def seconds(self, name, since):
        """Pods over time, from the making of each to its end (or now)."""
        now = time.time()
        return sum((life["gone"] or now) - life["since"] for life in self.of(name, since))
