"""More than one redis-server: a master with replicas and Sentinels, and a cluster of three masters."""

import signal
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from .process import Process, free_port
from .redis_server import RedisServer, binary
from .waiting import until

MASTER = "mymaster"


class Replicated:
    """One master, two replicas and three Sentinels. `settings` are those of the data nodes."""

    def __init__(self, directory, **settings):
        directory = Path(directory)
        # A replica that comes late is served at once, and what it has is known within a second.
        settings = {"repl_diskless_sync_delay": 0, "repl_ping_replica_period": 1, **settings}
        self.nodes = [RedisServer(directory / "node0", **settings)]
        self.nodes += [
            RedisServer(directory / f"node{number}", **settings, replicaof=f"127.0.0.1 {self.nodes[0].port}")
            for number in (1, 2)
        ]
        self.sentinels = []
        for number in range(3):
            place = directory / f"sentinel{number}"
            place.mkdir()
            port = free_port()
            (place / "sentinel.conf").write_text(
                f"port {port}\nbind 127.0.0.1\nprotected-mode no\ndir {place}\n"
                f"sentinel monitor {MASTER} 127.0.0.1 {self.nodes[0].port} 2\n"
                f"sentinel down-after-milliseconds {MASTER} 2500\nsentinel failover-timeout {MASTER} 3000\n"
                f"sentinel parallel-syncs {MASTER} 2\n",
                encoding="ascii",
            )
            process = Process([binary(), place / "sentinel.conf", "--sentinel"], place / "sentinel.log")
            process.port = port
            self.sentinels.append(process)
        self.url = f"redis+sentinel://{','.join(f'127.0.0.1:{each.port}' for each in self.sentinels)}/{MASTER}/0"
        self.settled()

    def ask(self, *words):
        """The first Sentinel's answer."""
        return Redis(port=self.sentinels[0].port, socket_timeout=5).execute_command("SENTINEL", *words)

    def master(self):
        """The node that the first Sentinel says is the master."""
        port = int(self.ask("GET-MASTER-ADDR-BY-NAME", MASTER)[1])
        return next(node for node in self.nodes if node.port == port)

    def _is_settled(self):
        try:
            master = self.master()
            seen = master.client(socket_timeout=1).info("replication")
            agreed = all(
                Redis(port=each.port).execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
                == [b"127.0.0.1", str(master.port).encode()]
                for each in self.sentinels
            )
            quorum = Redis(port=self.sentinels[0].port).execute_command("SENTINEL", "CKQUORUM", MASTER)
            known = self.ask("REPLICAS", MASTER)
        except RedisError:
            return False
        online = sum(seen.get(f"slave{number}", {}).get("state") == "online" for number in range(3))
        linked = sum(
            (
                each[b"master-link-status"]
                if isinstance(each, dict)
                else dict(zip(each[::2], each[1::2], strict=True))[b"master-link-status"]
            )
            == b"ok"
            for each in known
        )
        return seen["role"] == "master" and online == 2 and agreed and b"OK 3" in quorum and linked == 2

    def settled(self, seconds=60):
        """Waits until there is a master with two replicas and all Sentinels know."""
        until(self._is_settled, lambda: f"a master and two replicas\n{self.sentinels[0].output()}", seconds)

    def fail_over(self, how):
        """Makes another node the master: by `kill`, `freeze` or `command`. Waits until the old one is a replica."""
        old = self.master()
        if how == "kill":
            old.process.kill()
        elif how == "freeze":
            old.process.send(signal.SIGSTOP)
        else:
            # Refused for a moment where the Sentinel has not heard of the replicas since the last one.
            until(self._commanded, "the Sentinel begins a failover")
        new = until(
            lambda: (self.master() is not old) and self.master(),
            lambda: f"another master\n{self.sentinels[0].output()}",
            60,
        )
        if how == "kill":
            old.start(replicaof=f"127.0.0.1 {new.port}")
        elif how == "freeze":
            old.process.send(signal.SIGCONT)
        self.settled()
        return new

    def _commanded(self):
        try:
            return self.ask("FAILOVER", MASTER)
        except RedisError:
            return False

    def stop(self):
        for process in self.sentinels:
            process.kill()
        for node in self.nodes:
            node.process.kill()


class Cluster:
    """Three masters that share the slots."""

    RANGES = ((0, 5460), (5461, 10922), (10923, 16383))

    def __init__(self, directory):
        self.directory, self.nodes = Path(directory), []
        for first, last in self.RANGES:
            self._add().client().execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        until(self._is_whole, "the cluster is whole")
        self.url = f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes)}"

    def _add(self):
        bus = free_port()
        node = RedisServer(
            self.directory / f"node{len(self.nodes)}",
            cluster_enabled="yes",
            cluster_port=bus,
            cluster_node_timeout=2000,
            repl_diskless_sync_delay=0,
        )
        if self.nodes:
            self.nodes[0].client().execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        self.nodes.append(node)
        return node

    def add_replica(self, master):
        node = self._add()
        until(self._is_whole, "all know the new node")
        node.client().execute_command(
            "CLUSTER", "REPLICATE", master.client().execute_command("CLUSTER", "MYID").decode()
        )
        until(lambda: node.client().info("replication")["master_link_status"] == "up", "the replica has it all")
        return node

    def _is_whole(self):
        states = [node.client().execute_command("CLUSTER INFO") for node in self.nodes]
        return all(
            info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(len(self.nodes)) for info in states
        )

    def owner(self, slot):
        """By the ranges of the beginning."""
        return next(node for node, (first, last) in zip(self.nodes, self.RANGES, strict=False) if first <= slot <= last)

    def move(self, slot, source, target, last, step=10):
        """Moves a slot as redis-cli does, `step` keys at a time, those with `last` in their names after the others;
        yields after each step, and when the keys are all over."""
        at = {node: node.client() for node in self.nodes}
        ids = {node: client.execute_command("CLUSTER", "MYID").decode() for node, client in at.items()}
        at[target].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        at[source].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        while keys := at[source].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100_000):
            keys.sort(key=lambda key: last in key)
            at[source].execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys[:step])
            yield
        yield
        for node in (target, source, *self.nodes):
            at[node].execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[target])

    def stop(self):
        for node in self.nodes:
            node.process.kill()
