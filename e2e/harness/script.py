"""Scripts of this repository in Python whose names do not end with `.py`, as modules."""

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader


def loaded(path):
    loader = SourceFileLoader(path.stem.replace("-", "_"), str(path))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module
