"""The number of threads that the environment asks for, read at import: each case is a process."""

import os
import subprocess
import sys

import pytest

OURS, OPENMP = "VQDIFFUSION_NUM_THREADS", "OMP_NUM_THREADS"
PRINTED = "import vqdiffusion as v; print(v.get_num_threads())"
THEN = (
    "import vqdiffusion as v; v.set_num_threads({}); v.set_num_threads({}); "
    "print(v.get_num_threads())"
)


def run(script, **environment):
    inherited = {name: value for name, value in os.environ.items() if name not in (OURS, OPENMP)}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "environment, expected",
    [
        ({}, 0),
        ({OPENMP: "1"}, 1),
        ({OPENMP: " 4,2 "}, 4),
        ({OURS: "3"}, 3),
        ({OURS: "3", OPENMP: "1"}, 3),
        ({OURS: "0", OPENMP: "1"}, 0),  # automatic
        ({OURS: "", OPENMP: "2"}, 2),
        *(
            ({OPENMP: bad}, 0)
            for bad in ("", "many", "0", "-2", "1.5", ",2", "٣", "2147483648", "9" * 5000)
        ),
    ],
)
def test_the_environment_sets_the_number_of_threads(environment, expected):
    result = run(PRINTED, **environment)
    assert result.stdout.split() == [str(expected)], result.stderr


@pytest.mark.parametrize("bad", ["many", "-1", "1.5", "4,2", "2147483648", "9" * 5000])
def test_a_bad_number_of_our_own_variable_is_refused(bad):
    result = run(PRINTED, **{OURS: bad, OPENMP: "1"})
    sentence = f"ImportError: {OURS} must be an integer from 0 (automatic) to 2147483647, not "
    sentence += f"{bad[:40]!r}."
    assert result.returncode == 1 and result.stderr.splitlines()[-1] == sentence


@pytest.mark.parametrize(
    "first, second, expected", [(5, 7, 7), (5, None, 2), (5, 0, 0), (None, 1, 1)]
)
def test_a_call_goes_before_the_environment_and_none_returns_to_it(first, second, expected):
    result = run(THEN.format(first, second), **{OURS: "2", OPENMP: "9"})
    assert result.stdout.split() == [str(expected)], result.stderr


REACHED = """
import numpy as np, vqdiffusion
from vqdiffusion import _native
real = _native.step
_native.step = lambda *given: print(given[-1]) or real(*given)
scheduler = vqdiffusion.VQDiffusionScheduler(6, sampling_method="gumbel")
scheduler.step(np.zeros((2, 5, 7), np.float32), 50, np.zeros((2, 7), int))
"""


@pytest.mark.parametrize("environment", [{OPENMP: "1"}, {OURS: "1", OPENMP: "3"}])
def test_the_number_of_the_environment_reaches_a_call(environment):
    result = run(REACHED, **environment)
    assert result.stdout.split() == ["1"], result.stderr
