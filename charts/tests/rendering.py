"""The chart as helm renders it, and what the tests ask of the result."""

import subprocess

import yaml

from e2e.harness import ROOT

CHART = ROOT / "charts" / "jobqueue-operator"
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))


class Refused(AssertionError):
    """What helm or kubectl said when it refused."""


def run(*command, stdin=None):
    done = subprocess.run(
        [str(part) for part in command], input=stdin, capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        raise Refused(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done


class Loader(yaml.SafeLoader):
    """Times stay the text that they are, as they do for Kubernetes."""


Loader.yaml_implicit_resolvers = {
    first: [each for each in resolvers if each[0] != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(text):
    """The objects of a file of manifests."""
    return [each for each in yaml.load_all(text, Loader) if each]


class Rendered:
    """The objects of one rendering, by kind and name."""

    def __init__(self, text):
        self.text = text
        self.objects = load(text)

    def all(self, kind):
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind, name=None):
        found = [each for each in self.all(kind) if name in (None, each["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} of {kind} {name or ''}"
        return found[0]

    def kinds(self):
        return {each["kind"] for each in self.objects}


def template(helm, values=None, file=None, release="jobs", namespace="batch"):
    """`helm template jobs CHART`, with values as a dict or a file."""
    command = [helm, "template", release, CHART, "--namespace", namespace]
    command += ["--values", file] if file else []
    command += ["--values", "-"] if values else []
    return Rendered(run(*command, stdin=yaml.safe_dump(values) if values else None).stdout)


def container(rendered, name="operator"):
    pods = [each["spec"]["template"]["spec"] for each in rendered.all("Deployment")]
    [found] = [each for pod in pods for each in pod["containers"] if each["name"] == name]
    return found


def environment(rendered, name="operator"):
    return {each["name"]: each.get("value") for each in container(rendered, name)["env"]}
