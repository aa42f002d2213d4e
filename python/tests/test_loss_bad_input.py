"""Arguments of the training loss that are refused, each with a sentence."""

import numpy as np
import pytest
from loss_case import scheduler_of, turned

from vqdiffusion import VQDiffusionScheduler, _native

Z = np.zeros((2, 4, 3), np.float32)
GRID = np.array([[0, 1, 2], [3, 0, 1]])


def with_entry(array, at, value):
    array = np.array(array, copy=True)
    array[at] = value
    return array


BAD = [
    ({"logits": Z[0]}, ValueError, "logits must have the 3 axes"),
    ({"logits": np.zeros((2, 5, 3))}, ValueError, "logits must have K = 4 classes, not 5: num_vec"),
    ({"logits": Z.astype(int)}, TypeError, "logits must be float16, bfloat16, float32 or float64"),
    ({"logits": with_entry(Z, (1, 2, 0), np.nan)}, ValueError, r"logits .* \[1, 2, 0\]$"),
    ({"logits": with_entry(Z, (1, 3, 2), np.inf)}, ValueError, r"logits .* \[1, 3, 2\]$"),
    ({"logits": with_entry(Z, (1, slice(None), 2), -np.inf)}, ValueError, "row 1, pixel 2$"),
    ({"x_0": GRID[:, :2]}, ValueError, r"x_0 must have shape \(2, 3\), not \(2, 2\)"),
    ({"x_0": with_entry(GRID, (1, 1), 4)}, ValueError, r"x_0 must hold classes 0 \.\.\. 3, not 4"),
    ({"x_0": GRID.astype(float)}, TypeError, "x_0 must be of an integer type"),
    ({"x_0": None}, TypeError, "x_0 must be an array, not None"),
    ({"x_t": with_entry(GRID, (1, 1), 5)}, ValueError, r"x_t must hold classes 0 \.\.\. 4, not 5"),
    ({"x_t": GRID[0]}, ValueError, "x_t must have 2 axes, not 1"),
    ({"timesteps": 100}, ValueError, "timesteps must be from 0 to 99, not 100"),
    ({"timesteps": [3]}, ValueError, "timesteps must be an integer or have one entry for each"),
    ({"timesteps": [3.0, 4.0]}, TypeError, "timesteps must be an integer or an array of integers"),
    ({"timesteps": True}, TypeError, "timesteps must be an integer, not bool"),
    ({"previous_timesteps": 50}, ValueError, r"previous_timesteps must be in -1 \.\.\. 49, not 50"),
    ({"previous_timesteps": -2}, ValueError, "previous_timesteps must be from -1 to 99, not -2"),
    ({"probability": 0}, ValueError, r"probability must be a probability in \(0, 1\], not 0"),
    ({"probability": [0.5, np.nan]}, ValueError, r"probability must be .*, not nan"),
    ({"probability": [0.5]}, ValueError, r"probability must have shape \(2,\), not \(1,\)"),
    ({"probability": "often"}, TypeError, "probability must be of real numbers"),
    ({"mask_weight": 1.0}, TypeError, "mask_weight must be a pair"),
    ({"mask_weight": (1, 1, 1)}, TypeError, "mask_weight must be a pair"),
    ({"mask_weight": (1, -1)}, ValueError, "mask_weight must be finite and at least 0, not -1"),
    ({"mask_weight": (np.nan, 1)}, ValueError, "mask_weight must be finite and at least 0"),
    ({"mask_weight": ("1", 1)}, TypeError, "mask_weight must be a real number"),
    ({"auxiliary_weight": np.inf}, ValueError, "auxiliary_weight must be finite and at least 0"),
    ({"auxiliary_weight": None}, TypeError, "auxiliary_weight must be a real number"),
    ({"pixel_weights": np.ones(3)}, ValueError, r"pixel_weights must have shape \(2, 3\), not"),
    ({"pixel_weights": with_entry(np.ones((2, 3)), (1, 1), -1)}, ValueError, "pixel_weights must"),
    ({"pixel_weights": with_entry(np.ones((2, 3)), (1, 1), np.nan)}, ValueError, "pixel_weights"),
    ({"pixel_weights": np.ones((2, 3), complex)}, TypeError, "pixel_weights must be of real"),
]  # fmt: skip


@pytest.mark.parametrize("wrong, error, match", BAD, ids=lambda value: str(value)[:40])
def test_bad_input(wrong, error, match):
    scheduler = VQDiffusionScheduler(5)
    arguments = {"logits": Z, "x_0": GRID, "x_t": GRID, "timesteps": 50} | wrong
    with pytest.raises(error, match=match):
        scheduler.loss(**arguments)


def test_masked_where_nothing_can_be():
    scheduler = scheduler_of("uniform", 4)
    with pytest.raises(ValueError, match=r"^x_t must not be masked at timestep 50, .* \[1, 2\]$"):
        scheduler.loss(Z, GRID, with_entry(GRID, (1, 2), 4), 50)


@pytest.mark.parametrize("at", [(0, 0, 0), (1, 3, 2)])
@pytest.mark.parametrize("layout", ["outer", "inner"])
def test_no_gradient_is_written_on_an_error(layout, at):
    classes, *tables = VQDiffusionScheduler(5)._chain.schedule
    z, gradient = with_entry(Z, at, np.nan), np.full(Z.shape, 7, np.float32)
    if layout == "inner":
        z, gradient = turned(z), turned(gradient)
    loss, per_row, t = np.full(1, 7.0), np.full(2, 7.0), np.array([50, 60])
    options = 1.0, 1.0, 0.0, True, None, None, loss
    with pytest.raises(ValueError, match="^logits must hold finite numbers"):
        _native.loss(classes, *tables, z, GRID, GRID, t, t - 1, *options, per_row, gradient)
    assert (gradient == 7).all() and (per_row == 7).all() and loss == 7


@pytest.mark.parametrize("at", [0, 15, 16, 20])
@pytest.mark.parametrize("layout", ["outer", "inner"])
def test_every_class_is_looked_at(layout, at):
    z = np.zeros((1, 21, 2), np.float32)
    z[0, at, 1] = np.nan
    with pytest.raises(ValueError, match=rf"^logits .* \[0, {at}, 1\]$"):
        VQDiffusionScheduler(22).loss(turned(z) if layout == "inner" else z, [[1, 2]], [[1, 2]], 50)
