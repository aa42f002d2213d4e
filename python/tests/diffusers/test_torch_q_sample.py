"""The forward process of the drop-in: the NumPy class's, natively and by the torch formula."""

import numpy as np
import pytest
import torch
import vqdiffusion
from diffusers_case import Ours, generator, law_of, random_classes
from schedule_of import schedule_of
from vqdiffusion import _native
from vqdiffusion.torch import transitions as module
from vqdiffusion.torch import formulas as torch_formulas

K, N, T = 12, 50, 20
SCHEDULES = {
    "default": {},
    "absorbing": {
        "alpha_cum_start": 0.875,
        "alpha_cum_end": 0.125,
        "gamma_cum_start": 0.125,
        "gamma_cum_end": 0.875,
    },
    "no mask": {"gamma_cum_start": 0.0, "gamma_cum_end": 0.0},
    "much replaced": {
        "alpha_cum_start": 0.7,
        "alpha_cum_end": 0.01,
        "gamma_cum_start": 0.1,
        "gamma_cum_end": 0.3,
    },
}
TIMESTEPS = [0, 7, T - 1, [3, 0, 19], torch.tensor([3, 0, 19]).view(3, 1, 1)]


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("t", TIMESTEPS, ids=["0", "7", "19", "list", "tensor"])
def test_both_ways_and_the_numpy_class_agree(schedule, t, monkeypatch):
    ours = Ours(K + 1, T, **schedule)
    x_0 = random_classes(3, K, 500, mask_rate=0.1, dtype=torch.int16)
    used = generator(1)
    x_t = ours.q_sample(x_0, t, used)
    assert x_t.dtype == torch.int64 and x_t.shape == x_0.shape and x_t.is_contiguous()
    alone = generator(1)
    u = torch.rand(3, 500, dtype=torch.float64, generator=alone)
    assert torch.equal(used.get_state(), alone.get_state())

    steps = np.full(3, t) if isinstance(t, int) else np.asarray(t).reshape(-1)
    expected = torch.empty(3, 500, dtype=torch.int64)
    peer = vqdiffusion.VQDiffusionScheduler(K + 1, T, **schedule)
    _native.q_sample(*schedule_of(peer), x_0.numpy(), steps, u.numpy(), expected.numpy())
    assert torch.equal(x_t, expected)

    monkeypatch.setattr(module, "numpy_view", lambda *args: None)
    assert torch.equal(ours.q_sample(x_0, t, generator(1)), expected)


@pytest.mark.parametrize("shown", [3, K])
@pytest.mark.parametrize("t", [0, 7, T - 1])
def test_the_torch_formula_on_an_even_grid(shown, t):
    """As many of each class as its probability says."""
    ours, number = Ours(K + 1, T, **SCHEDULES["much replaced"]), 100_000
    u = ((torch.arange(number, dtype=torch.float64) + 0.5) / number)[None]
    x_t = torch_formulas.q_sample(law_of(ours), torch.full((1, number), shown), t, u)
    counts = torch.bincount(x_t[0], minlength=K + 1)
    if shown == K:
        assert counts[K] == number
        return
    tables = ours.log_cumprod_at, ours.log_cumprod_bt, ours.log_cumprod_ct
    a, b, c = (table[t].double().exp() * number for table in tables)
    shares = torch.full((K + 1,), b.item(), dtype=torch.float64)
    shares[shown] += a
    shares[K] = c
    assert (counts - shares).abs().max() < 1.1


def test_generators():
    ours, x_0 = Ours(K + 1, T), random_classes(3, K, N)
    before = torch.get_rng_state()
    rows = ours.q_sample(x_0, 7, [generator(seed) for seed in range(3)])
    for row in range(3):
        assert torch.equal(
            rows[row : row + 1], ours.q_sample(x_0[row : row + 1], 7, generator(row))
        )
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    expected = ours.q_sample(x_0, 7)
    assert torch.equal(ours.q_sample(x_0, 7, generator(5)), expected)
    assert ours.q_sample(x_0[:0], 7).shape == (0, N) and ours.q_sample(x_0[:, :0], 7).shape == (
        3,
        0,
    )


@pytest.mark.parametrize("way", ["native", "torch"])
@pytest.mark.parametrize(
    "error, match, change",
    [
        (ValueError, "x_0", {"x_0": torch.full((3, N), K + 1)}),
        (ValueError, "x_0", {"x_0": torch.full((3, N), -1)}),
        (ValueError, "x_0 must have the 2 axes", {"x_0": torch.zeros(3, dtype=int)}),
        (
            TypeError,
            "x_0 must be of an integer type, not torch.float32",
            {"x_0": torch.zeros(3, N)},
        ),
        (TypeError, "x_0 must be an array, not None", {"x_0": None}),
        (ValueError, "t must be from 0 to 19, not 20", {"t": T}),
        (
            ValueError,
            "t must be one timestep, or one for each of 3 batch rows, not 2",
            {"t": [1, 2]},
        ),
        (TypeError, "t must be an integer", {"t": 1.5}),
        (
            ValueError,
            "generator as a list must hold one for each of 3",
            {"generator": [generator(1)]},
        ),
        (TypeError, "generator must be None", {"generator": 7}),
    ],
)
def test_bad_input_changes_nothing(way, error, match, change, monkeypatch):
    ours = Ours(K + 1, T)
    if way == "torch":
        monkeypatch.setattr(module, "numpy_view", lambda *args: None)
    seed = generator(3)
    before, everywhere = seed.get_state(), torch.get_rng_state()
    with pytest.raises(error, match=match):
        ours.q_sample(**{"x_0": torch.zeros(3, N, dtype=int), "t": 7, "generator": seed, **change})
    assert torch.equal(seed.get_state(), before) and torch.equal(torch.get_rng_state(), everywhere)


def test_on_another_device_and_under_vmap():
    ours, x_0 = Ours(K + 1, T), random_classes(3, K, N)
    for t in (7, [3, 0, 19]):
        assert ours.q_sample(x_0.to("meta"), t).is_meta
        many = torch.func.vmap(lambda x: ours.q_sample(x, t), randomness="different")(
            x_0.expand(20, 3, N)
        )
        assert many.shape == (20, 3, N) and (many != many[:1]).any()
