"""One object of every public class, used by 32 threads at once, each of which starts others."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from class_uses import USES, on_threads

import vqdiffusion

THREADS = 32


@pytest.mark.usefixtures("num_threads_restored")
@pytest.mark.parametrize("use", USES)
def test_thirty_two_threads_share_an_object(use):
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        expected, found = on_threads(USES[use], THREADS, times=2)
    finally:
        sys.setswitchinterval(interval)
    assert found == {expected}


def test_losses_noted_by_several_threads_are_all_counted():
    sampler = vqdiffusion.TimestepSampler(50)

    def work(number):
        for _ in range(100):
            sampler.update([number, 49], [1.0, 2.0])

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    assert sampler.counts[49] == 100 * THREADS and (sampler.counts[:THREADS] == 100).all()
