"""Images under the names that `examples/servers.yaml` gives, made of this machine's servers: no registry is asked.

Where nodes can take images from a registry, as kind's can, the tests use the real ones.
"""

import glob
import os
import shutil
from pathlib import Path

from e2e.harness.python_image import libraries

# What the official image does, as far as the pages need it: a database with the user's name, and no password within
# the pod.
POSTGRES = """#!/bin/sh
set -e
initdb -D /tmp/data -U "$POSTGRES_USER" -A trust -E UTF8 --locale=C --no-sync
echo "host all all all scram-sha-256" >>/tmp/data/pg_hba.conf
echo "ALTER USER $POSTGRES_USER PASSWORD '$POSTGRES_PASSWORD'; CREATE DATABASE $POSTGRES_USER;" |
    sed 's/; /;\\n/' | postgres --single -D /tmp/data postgres
exec postgres -D /tmp/data -c listen_addresses='*'
"""


def _copy(root, *paths):
    for path in paths:
        target = root / str(path).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if Path(path).is_dir():
            shutil.copytree(path, target, symlinks=True, ignore=shutil.ignore_patterns("man"))
        else:
            shutil.copy2(os.path.realpath(path), target)


def _image(directory, lines):
    root = directory / "root"
    for name in ("tmp", "run", "var/run/postgresql"):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name).chmod(0o1777)
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc" / "passwd").write_text("server:x:999:999::/tmp:/bin/sh\n", encoding="ascii")
    (directory / "Containerfile").write_text(
        "\n".join(["FROM scratch", "COPY root /", "USER 999", *lines]) + "\n", encoding="ascii"
    )
    return directory


def redis(directory):
    """`redis:8`"""
    server = shutil.which("redis-server")
    _copy(directory / "root", server, *libraries(server))
    return _image(directory, [f'CMD ["{server}", "--protected-mode", "no", "--save", "", "--dir", "/tmp"]'])


def postgres(directory):
    """`postgres:17`"""
    place = Path(sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))[-1]).parent
    share = Path("/usr/share/postgresql") / place.parent.name
    root = directory / "root"
    programs = [place / name for name in ("postgres", "initdb", "psql", "pg_isready")]
    modules = [place.parent / "lib" / name for name in ("dict_snowball.so", "plpgsql.so")]
    tools = ["/bin/sh", "/bin/sed"]
    _copy(root, *programs, *modules, *tools, share, "/usr/share/zoneinfo/UTC", *libraries(*programs, *modules, *tools))
    (root / "start").write_text(POSTGRES, encoding="ascii")
    (root / "start").chmod(0o755)
    return _image(directory, [f"ENV PATH={place}:/usr/bin:/bin TZ=UTC", 'CMD ["/start"]'])


ALL = {"library/redis:8": redis, "library/postgres:17": postgres}
