"""A real redis-server on a port of its own."""

import os
import shutil
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from .addresses import in_url
from .process import Process, free_port
from .waiting import until


def binary():
    found = os.environ.get("JOBQUEUE_REDIS_SERVER") or shutil.which("redis-server")
    assert found, "redis-server is not installed"
    return found


class RedisServer:
    """`durable` writes the append-only file at every command, so that a restart forgets nothing.

    `host` is a further address to listen at, for those who are not on this machine: pods. `url` is for them.
    `settings` are further ones of redis.conf. JOBQUEUE_REDIS_SERVER names another binary than the one in PATH.
    """

    def __init__(self, directory, durable=False, host="127.0.0.1", password="", **settings):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.password = password
        login = f":{password}@" if password else ""
        self.url = f"redis://{login}{in_url(host)}:{self.port}/0"
        self._listen = ["--bind", *dict.fromkeys(("127.0.0.1", host)), "--protected-mode", "no"]
        self._durability = ["--appendonly", "yes", "--appendfsync", "always"] if durable else ["--appendonly", "no"]
        self._settings = settings
        self.start()

    def start(self, **settings):
        """`settings` are added to those of the beginning, for this once."""
        words = [
            word
            for name, value in {**self._settings, **settings}.items()
            for word in (f"--{name.replace('_', '-')}", *str(value).split(" "))
        ]
        self.process = Process(
            [
                binary(),
                "--port",
                self.port,
                *self._listen,
                "--dir",
                self.directory,
                "--save",
                "",
                "--daemonize",
                "no",
                *(["--requirepass", self.password] if self.password else []),
                *self._durability,
                *words,
            ],
            self.directory / "redis.log",
        )
        until(self._answers, lambda: f"redis-server answers\n{self.process.output()}")

    def _answers(self):
        try:
            return self.client().ping()
        except RedisError:
            return False

    def client(self, **settings):
        return Redis(port=self.port, password=self.password or None, **settings)

    def restart(self):
        """Killed and started again on the same data."""
        self.process.kill()
        self.start()

    def stop(self):
        self.process.stop()
