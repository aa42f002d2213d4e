"""Arguments that lie, and arrays that change during a call: no crash, and what returns is right."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hostile_values import LyingList

from vqdiffusion import RowKeys, VQDiffusionScheduler

FOLDER = Path(__file__).parent
METHODS = ["inverse_cdf", "gumbel"]
CLASSES, BATCH, PIXELS, T = 5, 2, 7, 10


def output_of(program, *arguments):
    command = [sys.executable, "-X", "faulthandler", FOLDER / program, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-3000:]
    return map(int, result.stdout.split())


def test_arguments_that_lie():
    returned, raised = output_of("hostile_calls.py", "1", "2500")
    assert returned > 500 and raised > 1500


def test_arrays_that_another_thread_overwrites():
    returned, raised = output_of("hostile_threads.py")
    assert returned > 20 and raised > 20


# ---- Found so
# ------------------------------------------------------------------------------------------------


@pytest.fixture
def log_p(rng):
    return np.log(rng.dirichlet(np.ones(CLASSES), (BATCH, PIXELS))).transpose(0, 2, 1)


@pytest.mark.parametrize("shown", [0, 1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_a_list_of_generators_that_shows_others_than_it_says(log_p, method, shown):
    """Rows that no generator came to would return what their memory held before."""
    scheduler = VQDiffusionScheduler(CLASSES + 1, T, sampling_method=method)
    generators = LyingList([np.random.default_rng(1), np.random.default_rng(2)])
    generators.told, generators.shown = BATCH, shown
    with pytest.raises(ValueError, match=rf"one for each batch row, not {shown} for the shape"):
        scheduler.step(log_p, 5, np.full((BATCH, PIXELS), CLASSES), generators)


@pytest.mark.parametrize("shape", [(), (BATCH + 1, PIXELS), (BATCH - 1, PIXELS)])
@pytest.mark.parametrize("generator", [1, [1, 2], RowKeys(1, [1, 2])], ids=["one", "list", "keys"])
@pytest.mark.parametrize("method", METHODS)
def test_rows_of_a_sample(log_p, method, generator, shape):
    """Also where each row has a generator of its own, and the native module gets the rows one by
    one.
    """
    scheduler = VQDiffusionScheduler(CLASSES + 1, T, sampling_method=method)
    sample = np.zeros(shape, np.int64)
    for call in (
        lambda: scheduler.step(log_p, 5, sample, generator),
        lambda: scheduler.guided_step(log_p, log_p, 5, sample, generator),
    ):
        with pytest.raises(ValueError, match=r"^sample must have shape \(2, 7\), not \(\d?"):
            call()
