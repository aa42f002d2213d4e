"""The script that trains the demo's denoiser, for a few iterations."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vqdiffusion.demo
from vqdiffusion.demo import DigitDenoiser

pytest.importorskip("sklearn")
SCRIPT = Path(__file__).parents[3] / "training" / "train_digits.py"
PACKAGED = Path(vqdiffusion.demo.__file__).with_name("digits.npz")


@pytest.mark.parametrize("options", [(), ("--uniform",)])
def test_training_writes_weights_that_the_demo_reads(tmp_path, options):
    path = tmp_path / "digits.npz"
    command = [sys.executable, str(SCRIPT), "--out", str(path), "--iterations", "3", *options]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert "iteration     3" in result.stdout
    with np.load(path) as weights, np.load(PACKAGED) as packaged:
        assert {name: weights[name].shape for name in weights} == {
            name: packaged[name].shape for name in packaged
        }
        log_p = DigitDenoiser(weights)(np.full((2, 64), 17), 99, [3, 10])
    assert log_p.shape == (2, 17, 64)
    np.testing.assert_allclose(np.exp(log_p).sum(1), 1, rtol=1e-5)
