"""What the tests of the native module share: results by name, refusals, and fresh interpreters."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from native_calls import OUTPUTS, call

import vqdiffusion


def results(function, named):
    call(function, named)
    return {name: named[name].copy() for name in OUTPUTS[function]}


def assert_refused(function, named, error, match):
    """The call raises, writes no output and keeps no reference to an argument, nor a buffer."""
    arrays = {name: value for name, value in named.items() if isinstance(value, np.ndarray)}
    before = {name: (value.copy(), sys.getrefcount(value)) for name, value in arrays.items()}
    with pytest.raises(error, match=match) as caught:
        call(function, named)
    assert "\n" not in str(caught.value)
    del caught
    for name, value in arrays.items():
        np.testing.assert_array_equal(value, before[name][0], err_msg=name)
        assert sys.getrefcount(value) == before[name][1], name


def run_python(code, **environment):
    """What a program prints in a fresh interpreter, with this package and this folder to import."""
    folders = [str(Path(__file__).parent), str(Path(vqdiffusion.__file__).parents[1])]
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)} | environment,
        cwd=Path(__file__).parent, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return result.returncode, result.stdout, result.stderr
