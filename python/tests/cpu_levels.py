"""The CPU levels that are built and run on this machine, and a way to use each in one process."""

from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

from vqdiffusion import _native


EVERY_LEVEL = {"x86_64": ("x86-64", "x86-64-v3", "x86-64-v4"), "aarch64": ("aarch64",)}


def module_name(level):
    return f"_native_{level.replace('-', '_')}"


LEVELS = [
    level for level in _native.supported_cpus() if find_spec(f"vqdiffusion.{module_name(level)}")
]


@contextmanager
def at_level(level):
    """Meanwhile the functions of this level stand in `_native`, where the package looks them up at
    each call.
    """
    before = vars(_native).copy()
    functions = vars(import_module(f"vqdiffusion.{module_name(level)}"))
    vars(_native).update((name, it) for name, it in functions.items() if not name.startswith("_"))
    try:
        yield
    finally:
        vars(_native).update(before)
