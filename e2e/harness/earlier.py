"""An earlier version of the operator and its workers, as `scripts/earlier` builds it: its chart and its images."""

import os
from pathlib import Path

from . import kube
from .operators import CHART, Release

VARIABLE = "E2E_EARLIER"


class Earlier:
    """What E2E_EARLIER names: the directory that `scripts/earlier` prints."""

    def __init__(self):
        self.tree = Path(os.environ[VARIABLE])
        self.tag = f"earlier-{self.tree.name}"
        self.worker_image = f"jobqueue/worker:{self.tag}"

    def load_images(self):
        """Puts its images on the nodes, where E2E_LOAD says how."""
        load = os.environ.get("E2E_LOAD", "").split()
        if load:
            archives = sorted((self.tree / "target" / "images").glob("*.tar"))
            kube.run([*load, *archives], seconds=300)


class PlainRelease(Release):
    """A release that is installed and upgraded as the documentation says, with no more options than a user has."""

    def _helm(self, *arguments):
        return kube.run(["helm", *arguments, "-n", self.namespace, "--wait", "--timeout", "150s"], seconds=180)

    def install_earlier(self, earlier):
        """The chart and the images of the earlier version."""
        images = [f"image.tag={earlier.tag}", f"workerImage.tag={earlier.tag}"]
        settings = [part for setting in images for part in ("--set-string", setting)]
        chart = earlier.tree / "charts" / "jobqueue-operator"
        return self._helm("install", self.name, chart, "--create-namespace", *settings)

    def upgrade(self):
        """This tree's chart, with its own images."""
        return self._helm("upgrade", self.name, CHART, "--reset-values")

    def roll_back(self):
        """To the revision before."""
        return self._helm("rollback", self.name)
