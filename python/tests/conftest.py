"""What the tests share."""

import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

import vqdiffusion

sys.path.insert(0, str(Path(__file__).parent))  # reference.py


@pytest.fixture
def rng():
    return np.random.default_rng(20240517)


def pytest_addoption(parser):
    parser.addoption(
        "--num-threads",
        type=int,
        metavar="N",
        help="run the tests with vqdiffusion.set_num_threads(N)",
    )
    parser.addoption(
        "--one-in",
        type=int,
        metavar="N",
        default=1,
        help="of the cases of each parametrised test run one in N",
    )


def pytest_configure(config):
    vqdiffusion.set_num_threads(config.getoption("--num-threads"))


def pytest_collection_modifyitems(config, items):
    """The first case of each test, and of the others those that a checksum of their name picks: in
    every second or third of a row some argument would always have the same value.
    """
    number, seen, kept, left = config.getoption("--one-in"), set(), [], []
    for item in items:
        test = item.nodeid.partition("[")[0]
        is_kept = test not in seen or zlib.crc32(item.nodeid.encode()) % number == 0
        (kept if is_kept else left).append(item)
        seen.add(test)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def pytest_report_header(config):
    cpu, number = vqdiffusion._native.cpu, vqdiffusion.get_num_threads()
    return f"vqdiffusion: CPU level {cpu}, num_threads {number}"


@pytest.fixture
def num_threads_restored():
    before = vqdiffusion.get_num_threads()
    yield
    vqdiffusion.set_num_threads(before)
