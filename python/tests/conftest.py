"""What the tests share."""

import sys
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


def pytest_configure(config):
    vqdiffusion.set_num_threads(config.getoption("--num-threads"))


def pytest_report_header(config):
    cpu, number = vqdiffusion._native.cpu, vqdiffusion.get_num_threads()
    return f"vqdiffusion: CPU level {cpu}, num_threads {number}"


@pytest.fixture
def num_threads_restored():
    before = vqdiffusion.get_num_threads()
    yield
    vqdiffusion.set_num_threads(before)
