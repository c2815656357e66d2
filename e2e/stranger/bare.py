"""A bare Debian, as an image of a container has it: one for each shell, above a file system that is made once."""

import contextlib
import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from e2e.docs.reader import Reader, clone
from e2e.docs.shell import Shell

SUITE = "bookworm"
CACHE = Path(os.environ.get("STRANGER_CACHE", "/var/cache/jobqueue-stranger"))
# As in the images of Debian: packages start no servers, and dpkg does not wait for the disk.
HOOKS = (
    'printf "#!/bin/sh\\nexit 101\\n" >"$1/usr/sbin/policy-rc.d" && chmod +x "$1/usr/sbin/policy-rc.d"',
    'echo force-unsafe-io >"$1/etc/dpkg/dpkg.cfg.d/container"',
)
# How this machine's pip reaches packages: variables, and the one that is a file.
PIP_VARIABLES = ("HTTPS_PROXY", "https_proxy", "PIP_INDEX_URL", "PIP_TRUSTED_HOST")
PIP_CERTIFICATES = "PIP_CERT"


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def mirror():
    """Where this machine's apt takes Debian from."""
    found = output("apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages")
    return next(line.split()[1] for line in found.splitlines() if line.startswith("Debian "))


def make(directory):
    """Debian's essential packages and apt, nothing else."""
    proxies = [line for line in output("apt-config", "dump").splitlines() if line.startswith("Acquire::http")]
    command = ["mmdebstrap", "--quiet", "--variant=minbase", *(f"--customize-hook={hook}" for hook in HOOKS)]
    command += [f"--aptopt={line.removesuffix(';')}" for line in proxies]
    subprocess.run([*command, SUITE, directory, mirror()], check=True)


@contextlib.contextmanager
def base():
    """The file system that all of them have below them. Whoever has it has it alone, with apt's packages."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made, unfinished = CACHE / SUITE, CACHE / f"{SUITE}.new"
        if not made.exists():
            shutil.rmtree(unfinished, ignore_errors=True)
            make(unfinished)
            unfinished.rename(made)
        (CACHE / "packages" / "partial").mkdir(parents=True, exist_ok=True)
        yield made


class Bare:
    """One of them: a clone of the repository in `place`, and whoever follows pages in it."""

    def __init__(self, below, place, given=()):
        self.clone = place / "shared" / "jobqueue"
        for name in ("root", "upper", "work"):
            (place / name).mkdir(parents=True)
        clone(self.clone)
        self.below, self.place = below, place
        # Packages that were fetched once are not fetched again.
        self.given = [(place / "shared", place / "shared"), (CACHE / "packages", "/var/cache/apt/archives"), *given]
        self.variables = {name: os.environ[name] for name in PIP_VARIABLES if name in os.environ}
        if certificates := os.environ.get(PIP_CERTIFICATES):
            file = self.clone.parent / "certificates-for-pip"
            shutil.copy(certificates, file)
            self.variables[PIP_CERTIFICATES] = file
        self.shells = []

    def reader(self, seconds=300, **variables):
        """Somebody who begins at a bare system, with these variables. A block has so many seconds."""
        mounts = [f"{source}:{target}" for source, target in self.given]
        variables = self.variables | variables
        inside = ["env", f"--chdir={self.clone}", *(f"{name}={value}" for name, value in variables.items())]
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", Path(__file__).parent / "enter"]
        command += [self.below, self.place, *mounts, "--", *inside, "bash", "--norc", "--noprofile"]
        shell = Shell(self.clone, os.environ, self.place / "shared" / "notes", command)
        self.shells.append(shell)
        return Reader("bare", self.clone, shell, seconds=seconds)

    def close(self):
        for shell in self.shells:
            # At the end of its input the first process ends, and with it all others.
            shell.child.stdin.close()
            shell.child.wait()
