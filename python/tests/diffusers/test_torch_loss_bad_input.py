"""Arguments of the training loss on tensors that are refused, each with a sentence, by the native
module and by the torch formula.
"""

import math

import pytest
import torch
from torch_loss_case import both_ways, scheduler_of

Z = torch.zeros(2, 4, 3)
GRID = torch.tensor([[0, 1, 2], [3, 0, 1]])
ONES = torch.ones(2, 3)


def with_entry(tensor, at, value):
    tensor = tensor.clone()
    tensor[at] = value
    return tensor


BAD = [
    ({"logits": Z[0]}, ValueError, "^logits must have shape"),
    ({"logits": torch.zeros(2, 5, 3)}, ValueError, "^logits must have K = 4 classes, not 5: num_v"),
    ({"logits": Z.int()}, TypeError, "^logits must be float16, bfloat16, float32 or float64"),
    ({"logits": Z.bool()}, TypeError, "^logits must be float16, bfloat16, float32 or float64"),
    ({"logits": None}, TypeError, "^logits .*must be an array, not None"),
    ({"logits": with_entry(Z, (1, 2, 0), math.nan)}, ValueError, "^logits must .*1.*0"),
    ({"logits": with_entry(Z, (1, 3, 2), math.inf)}, ValueError, "^logits must .*1.*2"),
    ({"logits": with_entry(Z, (1, slice(None), 2), -math.inf)}, ValueError, "row 1, pixel 2$"),
    ({"x_0": GRID[:, :2]}, ValueError, r"^x_0 must have shape \(2, 3\), not \(2, 2\)"),
    ({"x_0": with_entry(GRID, (1, 1), 4)}, ValueError, "^x_0 must hold classes .* 3, not 4"),
    ({"x_0": with_entry(GRID, (1, 1), -1)}, ValueError, "^x_0 must hold classes .* 3, not -1"),
    ({"x_0": GRID.double()}, TypeError, "^x_0 must be of an integer type"),
    ({"x_0": None}, TypeError, "^x_0 .*must be an array, not None"),
    ({"x_t": with_entry(GRID, (1, 1), 5)}, ValueError, "^x_t must hold classes .* 4, not 5"),
    ({"x_t": GRID[:1]}, ValueError, r"^x_t must have shape \(2, 3\), not \(1, 3\)"),
    ({"timesteps": 100}, ValueError, "^timesteps must be from 0 to 99, not 100"),
    ({"timesteps": torch.tensor([3, 4, 5])}, ValueError, "^timesteps must be one timestep, or one"),
    ({"timesteps": torch.tensor([3.5, 4.0])}, TypeError, "^timesteps must be an integer, not"),
    ({"previous_timesteps": 50}, ValueError, r"^previous_timesteps? must be .*-1 .* 49, not 50"),
    ({"previous_timesteps": -2}, ValueError, "^previous_timesteps must be from -1 to 99, not -2"),
    ({"probability": 0}, ValueError, r"^probability must be a probability in \(0, 1\], not 0"),
    ({"probability": 1.5}, ValueError, r"^probability must be a probability in \(0, 1\], not 1.5"),
    ({"probability": torch.tensor([0.5, math.nan])}, ValueError, "^probability must .* nan"),
    ({"probability": torch.tensor([0.5])}, ValueError, r"^probability must have shape \(2,\)"),
    ({"probability": "often"}, TypeError, "^probability must be of real numbers"),
    ({"mask_weight": 1.0}, TypeError, "^mask_weight must be a pair"),
    ({"mask_weight": (1, -1)}, ValueError, "^mask_weight must be finite and at least 0, not -1"),
    ({"mask_weight": ("1", 1)}, TypeError, "^mask_weight must be a real number"),
    ({"auxiliary_weight": math.nan}, ValueError, "^auxiliary_weight must be finite and at least 0"),
    ({"pixel_weights": torch.ones(3)}, ValueError, r"^pixel_weights must have shape \(2, 3\), not"),
    ({"pixel_weights": with_entry(ONES, (1, 1), -1)}, ValueError, "^pixel_weights must be finite"),
    ({"pixel_weights": with_entry(ONES, (1, 1), math.nan)}, ValueError, "^pixel_weights must be"),
    ({"pixel_weights": ONES.to(torch.complex64)}, TypeError, "^pixel_weights must be of real"),
]  # fmt: skip


@both_ways
@pytest.mark.parametrize("wrong, error, match", BAD, ids=lambda value: str(value)[:40])
def test_bad_input(wrong, error, match, way):
    arguments = {"logits": Z, "x_0": GRID, "x_t": GRID, "timesteps": 50} | wrong
    with pytest.raises(error, match=match) as caught:
        scheduler_of("default", 4, way).loss(**arguments)
    assert "\n" not in str(caught.value)
