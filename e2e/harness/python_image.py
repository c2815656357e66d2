"""An image with Python and rq, made of what is installed on this machine: no registry is asked."""

import glob
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

LEFT_OUT = shutil.ignore_patterns(
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "lib2to3",
    "ensurepip",
    "site-packages",
    "dist-packages",
    "__pycache__",
    "config-*",
    "*.a",
    "pydoc_data",
    "turtledemo",
)
NEEDED = ("rq", "redis", "click", "croniter", "dateutil", "pytz", "six.py")


def libraries(*binaries):
    """The shared libraries that the binaries load, and the loader."""
    found = set()
    for binary in binaries:
        listed = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout
        found.update(re.findall(r"(/\S+)", listed))
    return found


def build(directory, tasks):
    """A directory with a Containerfile that copies a root made here; `rq` and `tasks` are in it."""
    directory = Path(directory)
    root = directory / "root"
    python = Path(sys.executable).resolve()
    stdlib = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(stdlib, root / stdlib.relative_to("/"), ignore=LEFT_OUT, symlinks=False)
    place = root / python.relative_to("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(python, place)
    for library in libraries(python, *glob.glob(f"{stdlib}/lib-dynload/*.so")):
        target = root / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(os.path.realpath(library), target)
    packages = root / "packages"
    packages.mkdir()
    for package in NEEDED:
        source = Path(sysconfig.get_path("purelib")) / package
        if source.is_dir():
            shutil.copytree(source, packages / package)
        elif source.exists():
            shutil.copy2(source, packages)
    (root / "app").mkdir()
    shutil.copy2(tasks, root / "app")
    (root / "bin").mkdir(exist_ok=True)
    starter = root / "bin" / "rq"
    starter.write_text(
        f"#!{python} -B\nimport sys\nsys.path.insert(0, '/packages')\nfrom rq.cli import main\nmain()\n",
        encoding="utf-8",
    )
    starter.chmod(0o755)
    for path in (root / "tmp", root / "etc"):
        path.mkdir(exist_ok=True)
    (root / "etc" / "passwd").write_text("worker:x:65532:65532::/tmp:/none\n", encoding="ascii")
    # As an image of Python has it: otherwise each start would compile what it imports.
    subprocess.run(
        [
            sys.executable,
            "-m",
            "compileall",
            "-q",
            "-s",
            root,
            "-p",
            "/",
            "--invalidation-mode",
            "unchecked-hash",
            root,
        ],
        check=True,
    )
    # What is below a directory that only root may enter here must be open there.
    for path in root.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    (directory / "Containerfile").write_text(
        'FROM scratch\nCOPY root /\nENV PATH=/bin PYTHONPATH=/packages\nUSER 65532\nCMD ["/bin/rq"]\n', encoding="ascii"
    )
    return directory
