"""Importance sampling of timesteps with tensors."""

import numpy as np
import pytest
import torch

import vqdiffusion
from vqdiffusion.torch import TimestepSampler, VQDiffusionScheduler

LOSSES = [1.0, 3, 0.1, 1, 2, 8, 4]


def seen(kind=TimestepSampler):
    sampler = kind(7)
    for _ in range(11):
        sampler.update(np.arange(7), np.array(LOSSES))
    return sampler


def test_draws():
    sampler = seen()
    generator = torch.Generator().manual_seed(1)
    t, probability = sampler.sample(10000, generator)
    p = torch.from_numpy(seen(vqdiffusion.TimestepSampler).probabilities())
    assert t.dtype == torch.int64 and torch.equal(probability, p[t])
    # Five standard deviations: one false alarm in 10^5.
    counts = t.bincount(minlength=7)
    assert ((counts - 10000 * p).abs() <= 5 * (10000 * p * (1 - p)).sqrt()).all()
    assert torch.equal(sampler.sample(10000, torch.Generator().manual_seed(1))[0], t)
    torch.manual_seed(1)
    assert torch.equal(sampler.sample(10000)[0], t)
    t, probability = sampler.sample(3, device="meta")
    assert t.device.type == probability.device.type == "meta"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_updates(dtype):
    sampler, other = TimestepSampler(7), vqdiffusion.TimestepSampler(7)
    t = torch.tensor([2, 5, 2])
    per_row = torch.tensor([9.0, 1.0, 3.0], dtype=dtype, requires_grad=True)
    sampler.update(t, per_row)
    other.update(t.numpy(), per_row.detach().double().numpy())
    np.testing.assert_array_equal(sampler.history, other.history)


def test_state_is_saved_with_tensors_alone(tmp_path):
    sampler, other = seen(), TimestepSampler(7)
    torch.save(sampler.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    np.testing.assert_array_equal(other.probabilities(), sampler.probabilities())
    other.load_state_dict(vqdiffusion.TimestepSampler(7).state_dict())
    assert not other.counts.any()
    with pytest.raises(
        ValueError, match=r"^history must have shape \(7,\), as of 7 timesteps, not"
    ):
        other.load_state_dict(TimestepSampler(9).state_dict())


def test_processes_that_update_with_all_rows_stay_equal():
    """As the docstring says to do it."""
    ranks = [TimestepSampler(7) for _ in range(2)]
    generators = [torch.Generator().manual_seed(rank) for rank in range(2)]
    for _ in range(30):
        t = torch.cat([one.sample(8, rng)[0] for one, rng in zip(ranks, generators)])
        for one in ranks:
            one.update(t, torch.tensor(LOSSES)[t])
    assert torch.equal(*(one.state_dict()["history"] for one in ranks))
    assert ranks[0].probabilities().std() > 0


def test_importance_sampling_leaves_the_expectation():
    """Σ_t p(t) loss(t, p(t)) is the same for any p."""
    scheduler = VQDiffusionScheduler(6, 7)
    z, x_0 = torch.randn(1, 5, 4), torch.zeros(1, 4, dtype=torch.int64)
    x_t = torch.tensor([[5, 0, 1, 5]])
    expected = sum(scheduler.loss(z, x_0, x_t, t).loss / 7 for t in range(7))
    p = seen().probabilities()
    found = sum(p[t] * scheduler.loss(z, x_0, x_t, t, probability=p[t]).loss for t in range(7))
    torch.testing.assert_close(found, expected, check_dtype=False)


def test_bad_input():
    sampler = seen()
    for arguments, error, match in (
        ((-1,), ValueError, "^n must be at least 0"),
        ((2, 7), TypeError, "^generator must be None or a torch.Generator, not builtins.int"),
    ):
        with pytest.raises(error, match=match):
            sampler.sample(*arguments)
    with pytest.raises(
        ValueError, match="^per_row must hold losses of at least 0 with finite squares"
    ):
        sampler.update(torch.tensor([3]), torch.tensor([torch.nan]))
    with pytest.raises(TypeError, match="^timesteps must be an integer or an array of integers"):
        sampler.update(torch.tensor([3.0]), torch.tensor([1.0]))
