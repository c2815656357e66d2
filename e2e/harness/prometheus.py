"""A real Prometheus (Debian's) that scrapes what it is told, or has the history that it is given."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from .process import Process, free_port
from .waiting import until


class Prometheus:
    """Listens on a free port of this machine until it is stopped. `scrapes` are scrape configs; `history` is a text of
    OpenMetrics with time stamps, of which it is made as if it had scraped that."""

    def __init__(self, directory, scrapes=(), history=None):
        directory.mkdir()
        config = directory / "prometheus.yml"
        defaults = {"scrape_interval": "1s", "scrape_timeout": "1s"}
        config.write_text(json.dumps({"global": defaults, "scrape_configs": list(scrapes)}), encoding="utf-8")
        if history:
            (directory / "history.txt").write_text(history, encoding="utf-8")
            make = [
                "promtool",
                "tsdb",
                "create-blocks-from",
                "openmetrics",
                directory / "history.txt",
                directory / "data",
            ]
            subprocess.run(make, check=True, capture_output=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}"]
        command += [f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=30d"]
        self.process = Process(command, directory / "prometheus.log")
        until(self._is_ready, lambda: f"Prometheus is ready\n{self.process.output()}")

    def _is_ready(self):
        assert self.process.alive(), self.process.output()
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2):
                return True
        except OSError:
            return False

    def query(self, expression):
        """The series that it answers; an error of the expression is one of the test."""
        asked = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query?{asked}", timeout=5) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from error

    def stop(self):
        self.process.stop()
