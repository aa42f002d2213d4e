"""The native module for this machine's CPU: its functions, as _native.pyi and vqdiffusion.h
describe them.

The module is compiled once for each CPU level. The highest level built that this machine can run is
used, or the one named in the environment variable VQDIFFUSION_CPU.
"""

import os
from importlib import import_module
from importlib.util import find_spec

_LEVELS = ("aarch64", "x86-64", "x86-64-v3", "x86-64-v4")  # of one machine: lowest first


def _name(level):
    return f"{__package__}._native_{level.replace('-', '_')}"


def _select():
    built = [level for level in _LEVELS if find_spec(_name(level))]
    if not built:
        raise ImportError(
            "vqdiffusion's native module is not built: install the package with `pip install .` "
            "and import it from where it is installed."
        )
    lowest = import_module(_name(built[0]))  # runs on every machine of its kind
    choices = [level for level in built if level in lowest.supported_cpus()]
    wanted = os.environ.get("VQDIFFUSION_CPU") or choices[-1]
    if wanted not in choices:
        raise ImportError(
            f"VQDIFFUSION_CPU must be one of {', '.join(choices)}, which are built and run on this "
            f"machine, not {wanted!r}. With VQDIFFUSION_BUILD_CPUS=all, pip builds every level."
        )
    return import_module(_name(wanted))


_module = _select()
globals().update((name, value) for name, value in vars(_module).items() if not name.startswith("_"))
