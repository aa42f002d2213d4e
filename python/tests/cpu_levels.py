"""The CPU levels that are built and that this machine runs, and several of them in one process."""

from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

from vqdiffusion import _native


def module_of(level):
    return f"vqdiffusion._native_{level.replace('-', '_')}"


LEVELS = [level for level in _native.supported_cpus() if find_spec(module_of(level))]


@contextmanager
def at_level(level):
    """All that is called meanwhile computes at this level: its functions are in the place of those
    of `_native`, where the package looks them up at each call.
    """
    before = vars(_native).copy()
    functions = vars(import_module(module_of(level)))
    vars(_native).update((name, it) for name, it in functions.items() if not name.startswith("_"))
    try:
        yield
    finally:
        vars(_native).update(before)
