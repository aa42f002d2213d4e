"""The forward process of the drop-in: the NumPy class's, natively and by the torch formula."""

import numpy as np
import pytest
import torch
import vqdiffusion
from diffusers_case import Ours, generator, law_of, random_classes
from schedule_of import schedule_of
from vqdiffusion import _native
from vqdiffusion.torch import forward_process as module
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
    x_t = ours.add_noise(x_0, t, used)
    assert x_t.dtype == torch.int64 and x_t.shape == x_0.shape and x_t.is_contiguous()
    alone = generator(1)
    u = torch.rand(3, 500, dtype=torch.float64, generator=alone)
    assert torch.equal(used.get_state(), alone.get_state())

    steps = np.full(3, t) if isinstance(t, int) else np.asarray(t).reshape(-1)
    expected = torch.empty(3, 500, dtype=torch.int64)
    peer = vqdiffusion.VQDiffusionScheduler(K + 1, T, **schedule)
    _native.add_noise(*schedule_of(peer), -1, x_0.numpy(), steps, u.numpy(), expected.numpy())
    assert torch.equal(x_t, expected)

    monkeypatch.setattr(module, "numpy_view", lambda *args: None)
    assert torch.equal(ours.add_noise(x_0, t, generator(1)), expected)


@pytest.mark.parametrize("shown", [3, K])
@pytest.mark.parametrize("t", [0, 7, T - 1])
def test_the_torch_formula_on_an_even_grid(shown, t):
    """As many of each class as its probability says."""
    ours, number = Ours(K + 1, T, **SCHEDULES["much replaced"]), 100_000
    u = ((torch.arange(number, dtype=torch.float64) + 0.5) / number)[None]
    law = law_of(ours)
    x_t = torch_formulas.add_noise(K, torch.full((1, number), shown), *law.noise(t, -1, u), u)
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
    rows = ours.add_noise(x_0, 7, [generator(seed) for seed in range(3)])
    for row in range(3):
        assert torch.equal(
            rows[row : row + 1], ours.add_noise(x_0[row : row + 1], 7, generator(row))
        )
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    expected = ours.add_noise(x_0, 7)
    assert torch.equal(ours.add_noise(x_0, 7, generator(5)), expected)
    assert ours.add_noise(x_0[:0], 7).shape == (0, N) and ours.add_noise(x_0[:, :0], 7).shape == (
        3,
        0,
    )


@pytest.mark.parametrize("way", ["native", "torch"])
@pytest.mark.parametrize(
    "error, match, change",
    [
        (ValueError, "original_samples", {"original_samples": torch.full((3, N), K + 1)}),
        (ValueError, "original_samples", {"original_samples": torch.full((3, N), -1)}),
        (
            ValueError,
            "original_samples must have the 2 axes",
            {"original_samples": torch.zeros(3, dtype=int)},
        ),
        (
            TypeError,
            "original_samples must be of an integer type, not torch.float32",
            {"original_samples": torch.zeros(3, N)},
        ),
        (TypeError, "original_samples must be an array, not None", {"original_samples": None}),
        (ValueError, "timesteps must be from 0 to 19, not 20", {"timesteps": T}),
        (
            ValueError,
            "timesteps must be one timestep, or one for each of 3 batch rows, not 2",
            {"timesteps": [1, 2]},
        ),
        (TypeError, "timesteps must be an integer", {"timesteps": 1.5}),
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
        given = {"original_samples": torch.zeros(3, N, dtype=int), "timesteps": 7}
        ours.add_noise(**{**given, "generator": seed, **change})
    assert torch.equal(seed.get_state(), before) and torch.equal(torch.get_rng_state(), everywhere)


def test_on_another_device_and_under_vmap():
    ours, x_0 = Ours(K + 1, T), random_classes(3, K, N)
    for t in (7, [3, 0, 19]):
        assert ours.add_noise(x_0.to("meta"), t).is_meta
        many = torch.func.vmap(lambda x: ours.add_noise(x, t), randomness="different")(
            x_0.expand(20, 3, N)
        )
        assert many.shape == (20, 3, N) and (many != many[:1]).any()


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("s, t", [(0, 1), (3, 19), (7, 7), (3, [3, 9, 4]), (18, 19)], ids=str)
def test_from_a_later_timestep(schedule, s, t, monkeypatch):
    """Both ways agree with the NumPy class, to which the uniforms of keys are the same."""
    ours, peer = (kind(K + 1, T, **schedule) for kind in (Ours, vqdiffusion.VQDiffusionScheduler))
    x_s, keys = random_classes(3, K, 500, mask_rate=0.1), vqdiffusion.RowKeys(1, range(3))
    expected = peer.add_noise(x_s.numpy(), t, keys, from_timestep=s)
    np.testing.assert_array_equal(ours.add_noise(x_s, t, keys, from_timestep=s), expected)
    assert not np.array_equal(expected, x_s) or s == t
    monkeypatch.setattr(module, "numpy_view", lambda *args: None)
    np.testing.assert_array_equal(ours.add_noise(x_s, t, keys, from_timestep=s), expected)


def test_two_transitions_are_one():
    """Shares of 200,000 pixels, within five standard deviations."""
    ours, number = Ours(K + 1, T, **SCHEDULES["much replaced"]), 200_000
    x_0 = torch.full((1, number), 3)
    at_once = ours.add_noise(x_0, 15, generator(1))
    in_two = ours.add_noise(ours.add_noise(x_0, 6, generator(2)), 15, generator(3), from_timestep=6)
    counts = torch.stack([torch.bincount(x[0], minlength=K + 1) for x in (at_once, in_two)])
    assert ((counts[0] - counts[1]).abs() < 5 * counts.sum(0).sqrt()).all()


@pytest.mark.parametrize(
    "t, s, match",
    [
        (5, 6, "^timesteps must be at least from_timestep, 6, not 5$"),
        ([9, 3, 12], 4, "^timesteps must be at least from_timestep, 4, not 3$"),
        (5, -2, "^from_timestep must be from -1 to 19, not -2$"),
        (5, T, "^from_timestep must be from -1 to 19, not 20$"),
    ],
)
def test_timesteps_out_of_order(t, s, match):
    ours, seed = Ours(K + 1, T), generator(3)
    before = seed.get_state()
    with pytest.raises(ValueError, match=match):
        ours.add_noise(torch.zeros(3, N, dtype=int), t, seed, from_timestep=s)
    assert torch.equal(seed.get_state(), before)


def test_assigned_tables_have_single_transitions_only():
    ours, x = Ours(K + 1, T), random_classes(3, K, 500)
    expected = ours.add_noise(x, 8, generator(1), from_timestep=7)
    ours.log_at = ours.log_at - 1e-6
    found = ours.add_noise(x, 8, generator(1), from_timestep=7)
    assert (found != expected).float().mean() < 0.01
    with pytest.raises(ValueError, match="^from_timestep must be -1 or t - 1 where the tables"):
        ours.add_noise(x, 9, generator(1), from_timestep=7)


@pytest.mark.skipif(torch.__version__ < "2.4", reason="torch 2.3 compiles no iterators")
def test_compiled_without_a_break():
    ours, x_0 = Ours(K + 1, T), random_classes(3, K, N)
    compiled = torch.compile(lambda x, g: ours.add_noise(x, 7, g), fullgraph=True, backend="eager")
    x_t = compiled(x_0, None)
    assert x_t.shape == x_0.shape and (x_t == K).any() and not torch.equal(x_t, x_0)
