"""Known tokens on tensors: the NumPy class's, natively and by the torch formulas."""

import copy
import pickle

import numpy as np
import pytest
import torch
import vqdiffusion
from diffusers_case import Ours, generator, random_classes, random_log_p

from vqdiffusion.torch import VQDiffusionScheduler, guided_steps, native_step, planned, steps

K, B, N = 5, 3, 60
SCHEDULE = {
    "alpha_cum_start": 0.9,
    "alpha_cum_end": 0.1,
    "gamma_cum_start": 0.02,
    "gamma_cum_end": 0.6,
}
METHODS = ["gumbel", "inverse_cdf"]
PAIRS = [(40, 39), (40, 7), (40, -1), (0, -1), ([40, 7, 0], [12, 6, -1])]


class Overriding(VQDiffusionScheduler):
    def q_posterior(self, *arguments, **named):
        return super().q_posterior(*arguments, **named)


def step(scheduler, log_p, *arguments, **named):
    return scheduler.step(log_p, *arguments, **named).prev_sample


def guided(scheduler, log_p, *arguments, **named):
    named |= {"guidance_scale": 2.0, "truncation_rate": 0.9}
    return scheduler.guided_step(log_p.flip(1), log_p, *arguments, **named).prev_sample


CALLS = [step, guided]


@pytest.fixture(params=["native", "torch"])
def way(request, monkeypatch):
    """Which of the two computes."""
    if request.param == "torch":
        for module in (guided_steps, native_step, planned, steps):
            for name in ("numpy_view", "numpy_view_of"):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, lambda *args: None)
    return request.param


@pytest.fixture
def case():
    """Log-probabilities, a sample, and what is known at two pixels in five."""
    known = torch.where(torch.rand(B, N) < 0.4, torch.randint(0, K, (B, N)), -1)
    return random_log_p(B, K, N), random_classes(B, K, N), known


def scheduler_of(method, kind=VQDiffusionScheduler):
    return kind(K + 1, sampling_method=method, **SCHEDULE)


@pytest.mark.parametrize("t, s", PAIRS, ids=str)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", [VQDiffusionScheduler, Overriding, Ours])
@pytest.mark.parametrize("method", METHODS)
def test_the_others_are_drawn_as_without(case, way, method, kind, call, t, s):
    log_p, x, known = case
    scheduler = scheduler_of(method, kind)
    one, other, third = (generator(5) for _ in range(3))
    plain = call(scheduler, log_p, t, x, one, previous_timestep=s)
    given = known.clone()
    drawn = call(scheduler, log_p, t, x, other, previous_timestep=s, known=given)
    assert drawn.dtype == torch.int64 and drawn.is_contiguous()
    assert torch.equal(drawn, torch.where(known >= 0, known, plain)) and torch.equal(given, known)
    nothing = torch.full((B, N), -1)
    assert torch.equal(
        call(scheduler, log_p, t, x, third, previous_timestep=s, known=nothing), plain
    )
    assert torch.equal(one.get_state(), other.get_state())
    assert torch.equal(one.get_state(), third.get_state())
    one, other = ([generator(row) for row in range(B)] for _ in range(2))
    drawn = call(scheduler, log_p, t, x, one, previous_timestep=s, known=known)
    plain = call(scheduler, log_p, t, x, other, previous_timestep=s)
    assert torch.equal(drawn, torch.where(known >= 0, known, plain))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int64", "uint64", "numpy"])
@pytest.mark.parametrize("method", METHODS)
def test_any_integer_type(case, way, method, dtype):
    log_p, x, known = case
    scheduler = scheduler_of(method)
    known = torch.where(known < 0, 2, known) if dtype.startswith("u") else known
    given = known.numpy() if dtype == "numpy" else known.to(getattr(torch, dtype))
    expected = step(scheduler, log_p, 40, x, generator(1), known=known)
    assert torch.equal(step(scheduler, log_p, 40, x, generator(1), known=given), expected)


def test_their_columns_are_not_read(case):
    log_p, x, known = case
    holes = log_p.masked_fill((known >= 0)[:, None], torch.nan)
    for t in (0, 40):
        for call in CALLS:
            found, expected = (
                call(scheduler_of("inverse_cdf"), one, t, x, generator(1), known=known)
                for one in (holes, log_p)
            )
            assert torch.equal(found, expected)


@pytest.mark.parametrize("t, s", PAIRS, ids=str)
def test_planned_steps(case, way, t, s):
    log_p, x, known = case
    scheduler, given = scheduler_of("inverse_cdf"), {"previous_timestep": s}
    expected = step(scheduler, log_p, t, x, generator(5), known=known, **given)
    plan = scheduler.plan(t, x, generator(5), known=known, **given)
    without = scheduler.plan(t, x, generator(5), **given)
    assert torch.equal(plan.needed, without.needed & (known < 0)) and without.known is None
    columns = log_p.transpose(1, 2)[plan.needed].T
    for one in (plan, copy.deepcopy(plan), pickle.loads(pickle.dumps(plan))):
        for model_output in (log_p, columns):
            for more in ({}, {"known": known}, {"known": known.to(torch.int8)}):
                drawn = step(scheduler, model_output, t, x, plan=one, **given, **more)
                assert torch.equal(drawn, expected)
    before = known.clone()
    known[...] = 0
    match = "^known must be None or that of the plan, which was made for other known tokens$"
    for one, other in ((plan, known), (without, before)):
        with pytest.raises(ValueError, match=match):
            scheduler.step(log_p, t, x, plan=one, known=other, **given)
    assert torch.equal(plan.known, before)


def test_the_numpy_class_draws_the_same(case):
    log_p, x, known = case
    ours, arrays = (
        kind(K + 1, **SCHEDULE) for kind in (VQDiffusionScheduler, vqdiffusion.VQDiffusionScheduler)
    )
    keys = vqdiffusion.RowKeys(3, range(B))
    for t, s in PAIRS[:-1]:
        given = {"previous_timestep": s}
        found = step(ours, log_p, t, x, keys, known=known, **given)
        numbers = log_p.numpy(), t, x.numpy(), keys
        expected = arrays.step(*numbers, known=known.numpy(), **given).prev_sample
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("method", METHODS)
def test_on_another_device_under_vmap_and_compiled(case, method):
    log_p, x, known = case
    scheduler = scheduler_of(method)
    meta = [one.to("meta") for one in (log_p, x, known)]
    assert step(scheduler, meta[0], 40, meta[1], None, known=meta[2]).is_meta
    with pytest.raises(ValueError, match="^known must be on meta, not on cpu"):
        step(scheduler, meta[0], 40, meta[1], None, known=known)
    many = torch.func.vmap(
        lambda one, kept: step(scheduler, one, 40, x, None, known=kept), randomness="different"
    )(log_p.expand(4, B, K, N), known.expand(4, B, N))
    kept = known.expand(4, B, N)
    assert torch.equal(many[kept >= 0], kept[kept >= 0]) and (many != many[:1]).any()


BAD = {
    "the mask": (ValueError, torch.full((B, N), K)),
    "-2": (ValueError, torch.full((B, N), -2, dtype=torch.int8)),
    "255": (ValueError, torch.full((B, N), 255, dtype=torch.uint8)),
    "the greatest": (ValueError, torch.full((B, N), 2**64 - 1, dtype=torch.uint64)),
    "fewer pixels": (ValueError, torch.zeros(B, N - 1, dtype=torch.int64)),
    "fewer rows": (ValueError, torch.zeros(1, N, dtype=torch.int64)),
    "one axis": (ValueError, torch.zeros(N, dtype=torch.int64)),
    "floats": (TypeError, torch.zeros(B, N)),
    "booleans": (TypeError, torch.zeros(B, N, dtype=torch.bool)),
}


@pytest.mark.parametrize("error, known", BAD.values(), ids=BAD)
@pytest.mark.parametrize("kind", [VQDiffusionScheduler, Overriding])
@pytest.mark.parametrize("method", METHODS)
def test_bad_known_tokens(case, way, method, kind, error, known):
    log_p, x, _ = case
    scheduler, used = scheduler_of(method, kind), generator(3)
    before = used.get_state()
    for call in CALLS:
        for t in (0, 40):
            with pytest.raises(error, match="^known must "):
                call(scheduler, log_p, t, x, used, known=known)
            assert torch.equal(used.get_state(), before)
    if method == "inverse_cdf" and kind is VQDiffusionScheduler:
        with pytest.raises(error, match="^known must "):
            scheduler.plan(40, x, used, known=known)
        assert torch.equal(used.get_state(), before)
