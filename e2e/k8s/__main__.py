"""Runs the tests on a cluster, group by group: `python -m e2e.k8s [ARGUMENT OF PYTEST]...`, with KUBECONFIG set.

Tests of a group that may run side by side do (`groups.py` says which, E2E_WORKERS how many at a time; `-n0` one at a
time). What all tests share is made here, once, and removed at the end. A test that fails has a second attempt.
"""

import contextlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from e2e.harness import installation, kube, shared
from e2e.harness.measured import TARGET
from e2e.harness.waiting import Late, until

from .groups import ALONE, GROUPS, OWN_OPERATOR, group_of

HERE = Path(__file__).resolve().parent
# Most of a test is waiting for a pod or a condition, so there may be more tests than processors.
WORKERS = int(os.environ.get("E2E_WORKERS") or min(10, 2 * os.cpu_count()))
USUAL = ["--reruns=1", "-rR"]
ONLY_TELL = {
    "--collect-only",
    "--co",
    "-h",
    "--help",
    "--version",
    "--markers",
    "--fixtures",
    "--fixtures-per-test",
    "--setup-plan",
}
STOP_EARLY = ("-x", "--exitfirst", "--maxfail")


def with_path(arguments):
    """The arguments; with the directory of these tests, where they name no path."""
    values_of = {"-k", "-m", "-n", "-p", "-c", "-o", "-W", "-r"}
    for before, each in zip(["", *arguments], arguments, strict=False):
        if not each.startswith("-") and before not in values_of and Path(each.partition("::")[0]).exists():
            return arguments
    return [str(HERE), *arguments]


def selected(arguments):
    """How many tests of each group the arguments select."""

    class Collected:
        """A plugin that counts."""

        groups, process = Counter(), False

        def pytest_collection_finish(self, session):
            process = session.config.getoption("--process")
            self.process, self.groups = process, Counter(group_of(item, process) for item in session.items)

    collected, said = Collected(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = pytest.main([*USUAL, *arguments, "--collect-only", "-s", *serial(arguments)], plugins=[collected])
    if code:
        print(said.getvalue(), file=sys.stderr)
        sys.exit(code)
    return collected


def serial(arguments):
    return [] if "no:xdist" in arguments else ["-n0"]


def run(group, tests, arguments):
    """One group with pytest; its exit code."""
    workers = min(WORKERS, tests)
    before, after = [], serial(arguments)
    if group != ALONE and workers > 1 and after:
        before, after = [f"-n{workers}", "--dist=load", "--maxschedchunk=1"], []
    pytest_run = subprocess.Popen(
        [sys.executable, "-m", "pytest", *USUAL, f"--group={group}", *before, *arguments, *after]
    )
    # Whoever interrupts this run interrupts pytest: it ends in order, and so do we.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: pytest_run.send_signal(signal.SIGINT))
    return pytest_run.wait()


def quiet(cluster):
    """Until the pods of earlier tests are gone, which takes processor time; not for ever."""

    def pods():
        return [pod for pod in cluster.get("pods") if pod["metadata"]["namespace"].startswith("e2e-")]

    with contextlib.suppress(Late):
        until(lambda: not pods(), "it is quiet", 30, 0.5)


def run_groups(cluster, release, collected, arguments):
    """All groups that have tests; the worst exit code."""
    codes = [0]
    for group in GROUPS:
        tests = collected.groups[group]
        if not tests:
            continue
        if release and group == OWN_OPERATOR:
            release.away()
        if group == ALONE:
            quiet(cluster)
        print(f"\n{tests} tests of the group {group}", flush=True)
        began = time.monotonic()
        codes.append(run(group, tests, arguments))
        print(
            f"{tests} tests of the group {group}: {time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        if codes[-1] > 1 or (codes[-1] and any(each.startswith(STOP_EARLY) for each in arguments)):
            break
    return max(codes)


def main():
    arguments = with_path(sys.argv[1:])
    if ONLY_TELL & set(arguments):
        sys.exit(pytest.main([*USUAL, *arguments]))
    if not os.environ.get("KUBECONFIG"):
        sys.exit("KUBECONFIG is not set; ./dev e2e brings a cluster up")
    collected = selected(arguments)
    (TARGET / "cluster.json").unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="jobqueue-e2e-"))
        os.environ[shared.VARIABLE] = directory
        cluster = kube.Cluster(directory)
        stack.callback(cluster.stop)
        stack.enter_context(installation.namespaces(cluster))
        began = time.monotonic()
        stack.enter_context(installation.database_servers(cluster.host_ip()))
        release = None
        if collected.process:
            installation.load_images()
            installation.apply_crd(cluster)
        else:
            release = stack.enter_context(installation.chart(cluster, keep="--keep" in arguments))
        print(
            f"{sum(collected.groups.values())} tests; what they share is there after {time.monotonic() - began:.0f} s",
            flush=True,
        )
        code = run_groups(cluster, release, collected, arguments)
    sys.exit(code)


if __name__ == "__main__":
    main()
