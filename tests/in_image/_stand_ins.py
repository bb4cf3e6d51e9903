"""Stand-ins for tests, the only ones there are: of NPUs that are asked for, and of a package that is not compiled here.

1. mx_driving, where an image has none: a module whose names can be imported and, when called, say that it is missing.
2. How many devices there are and what they are called, while mx_driving's own wheel is imported: it asks that then.
3. A file of weights with none in it, for a network that cannot be made without such a file.

Whoever used one is marked in every check that follows: see STAND_INS in _report.py. Nothing is computed by any.
"""

import contextlib
import importlib.abc
import importlib.machinery
import os
import sys
import types

from _report import STAND_INS, NotHereError

PACKAGE = "mx_driving"
MISSING = "needs mx_driving, which is not compiled here"
DEVICE = "Ascend910B3"


def _mark(what):
    if what not in STAND_INS:
        STAND_INS.append(what)


def empty_weights(folder):
    """Write a file of weights with nothing in it; return its path."""
    import torch

    _mark("the weights")
    path = os.path.join(folder, "weights.pth")
    torch.save({"state_dict": {}}, path)
    return path


class _Absent:
    """A name of a package that is not there: may be passed on and derived from, but not called."""

    def __init__(self, path):
        self._path = path

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(f"{self._path}.{name}")

    def __mro_entries__(self, bases):
        return ()

    def __call__(self, *arguments, **options):
        raise NotHereError(MISSING)

    def __repr__(self):
        return f"<stand-in for {self._path}>"


class _Module(types.ModuleType):
    """A module in which every name is there."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(f"{self.__name__}.{name}")


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the package: the real one where there is one, and all modules below the stand-in."""

    def find_spec(self, name, path=None, target=None):
        if name == PACKAGE:
            real = importlib.machinery.PathFinder.find_spec(name)
            if real is not None:
                real.loader = _Asking(real.loader)
                return real
        elif not name.startswith(PACKAGE + ".") or not isinstance(sys.modules.get(PACKAGE), _Module):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        _mark(PACKAGE)
        return _Module(spec.name)

    def exec_module(self, module):
        """Nothing is in it."""


class _Asking(importlib.abc.Loader):
    """Loads a package that asks for devices meanwhile."""

    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        with _devices():
            self._loader.exec_module(module)


def install():
    """Let the imports of a model that wants NPUs go on."""
    sys.meta_path.insert(0, _Finder())


@contextlib.contextmanager
def _devices():
    """Answer how many devices there are and what they are called, unless there are some."""
    import torch_npu

    asked = torch_npu.npu
    before = asked.device_count, asked.get_device_name
    if not asked.device_count():
        asked.device_count, asked.get_device_name = _answer(1), _answer(DEVICE)
    try:
        yield
    finally:
        asked.device_count, asked.get_device_name = before


def _answer(value):
    def query(*_arguments):
        _mark("the device queries")
        return value

    return query
