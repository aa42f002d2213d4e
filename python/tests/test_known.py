"""Known tokens: pixels that keep their class while the rest is drawn."""

import copy
import itertools
import pickle

import numpy as np
import pytest
import views
from reference import random_classes, random_log_p

from vqdiffusion import VQDiffusionScheduler

K, B, N = 5, 3, 60
METHODS = ["inverse_cdf", "gumbel"]
SCHEDULE = {"alpha_cum_end": 0.1, "gamma_cum_start": 0.02, "gamma_cum_end": 0.6}
SCHEDULE["alpha_cum_start"] = 0.9
STEPS = [(0, -1), (1, 0), (40, 39), (40, 7), (40, -1)]


class Overriding(VQDiffusionScheduler):
    def q_posterior(self, *arguments, **named):
        return super().q_posterior(*arguments, **named)


def step(scheduler, log_p, *arguments, **named):
    return scheduler.step(log_p, *arguments, **named)


def guided(scheduler, log_p, *arguments, **named):
    named |= {"guidance_scale": 2.0, "truncation_rate": 0.9}
    return scheduler.guided_step(log_p[:, ::-1], log_p, *arguments, **named)


def truncated(scheduler, log_p, *arguments, **named):
    return scheduler.guided_step(None, log_p, *arguments, truncation_rate=0.9, **named)


CALLS = [step, guided, truncated]


@pytest.fixture
def case(rng):
    """Log-probabilities, a sample, and what is known at two pixels in five."""
    known = np.where(rng.random((B, N)) < 0.4, rng.integers(0, K, (B, N)), -1)
    return random_log_p(rng, B, K, N), random_classes(rng, B, K, N), known


def scheduler_of(method, kind=VQDiffusionScheduler):
    return kind(K + 1, sampling_method=method, **SCHEDULE)


def state(generator):
    return generator.bit_generator.state


@pytest.mark.parametrize("t, s", STEPS)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", [VQDiffusionScheduler, Overriding])
@pytest.mark.parametrize("method", METHODS)
def test_the_others_are_drawn_as_without(case, method, kind, call, t, s):
    log_p, x, known = case
    scheduler = scheduler_of(method, kind)
    if kind is Overriding and s not in (-1, t - 1):
        log_p = log_p.astype(np.float64)
    one, other, third = (np.random.default_rng(5) for _ in range(3))
    plain = call(scheduler, log_p, t, x, one, previous_timestep=s).prev_sample
    given = known.copy()
    drawn = call(scheduler, log_p, t, x, other, previous_timestep=s, known=given).prev_sample
    assert drawn.dtype == np.int64
    np.testing.assert_array_equal(drawn, np.where(known >= 0, known, plain))
    np.testing.assert_array_equal(given, known)
    nothing = np.full((B, N), -1)
    drawn = call(scheduler, log_p, t, x, third, previous_timestep=s, known=nothing).prev_sample
    np.testing.assert_array_equal(drawn, plain)
    assert state(one) == state(other) == state(third)


@pytest.mark.parametrize("method", METHODS)
def test_a_list_of_generators(case, method):
    log_p, x, known = case
    scheduler = scheduler_of(method)
    drawn = scheduler.step(log_p, 40, x, [1, 2, 3], known=known).prev_sample
    for row in range(B):
        rows = slice(row, row + 1)
        alone = scheduler.step(log_p[rows], 40, x[rows], row + 1, known=known[rows]).prev_sample
        np.testing.assert_array_equal(drawn[rows], alone)


@pytest.mark.parametrize("t", [0, 40])
@pytest.mark.parametrize("call", CALLS)
def test_their_columns_are_not_read(case, call, t):
    log_p, x, known = case
    scheduler = scheduler_of("inverse_cdf")
    holes = np.where((known >= 0)[:, None], np.nan, log_p)
    np.testing.assert_array_equal(
        call(scheduler, holes, t, x, 1, known=known).prev_sample,
        call(scheduler, log_p, t, x, 1, known=known).prev_sample,
    )
    with pytest.raises(ValueError, match="^(model_output|log_p_(un)?cond) "):
        call(scheduler_of("gumbel"), holes, t, x, 1, known=known)
    with pytest.raises(ValueError, match="^model_output "):
        scheduler.step(holes, t, x, 1, known=known, check_finite=True)


@pytest.mark.parametrize("method", METHODS)
def test_everything_is_known(case, method):
    log_p, x, _ = case
    scheduler = scheduler_of(method)
    for t in (0, 40):
        drawn = scheduler.step(log_p, t, x, 1, known=x % K).prev_sample
        np.testing.assert_array_equal(drawn, x % K)


@pytest.mark.parametrize("dtype", [*"bhilq", *"BHILQ"])
@pytest.mark.parametrize("method", METHODS)
def test_any_integer_type(case, method, dtype):
    log_p, x, known = case
    scheduler = scheduler_of(method)
    known = known if dtype.islower() else np.where(known < 0, 2, known)
    for kind in (VQDiffusionScheduler, Overriding):
        scheduler = scheduler_of(method, kind)
        np.testing.assert_array_equal(
            scheduler.step(log_p, 40, x, 1, known=known.astype(dtype)).prev_sample,
            scheduler.step(log_p, 40, x, 1, known=known).prev_sample,
        )


@pytest.mark.parametrize(
    "lay",
    [
        views.turned, views.backwards, views.spread, views.unaligned, views.read_only, list,
        lambda x: views.backwards(x, 0), lambda x: views.padded(x, 0, 1, 2),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", METHODS)
def test_any_layout(case, method, lay):
    log_p, x, known = case
    scheduler = scheduler_of(method)
    expected = scheduler.step(log_p, 40, x, 1, known=known).prev_sample
    given = known.tolist() if lay is list else lay(known)
    np.testing.assert_array_equal(
        scheduler.step(log_p, 40, x, 1, known=given).prev_sample, expected
    )
    if method == "inverse_cdf":
        needed = scheduler.plan(40, x, 1, known=given).needed
        np.testing.assert_array_equal(needed, scheduler.plan(40, x, 1, known=known).needed)


@pytest.mark.parametrize("value", [2, -1])
def test_the_same_for_all(case, value):
    log_p, x, _ = case
    scheduler = scheduler_of("inverse_cdf")
    known = np.broadcast_to(np.int8(value), (B, N))
    expected = scheduler.step(log_p, 40, x, 1).prev_sample if value < 0 else known
    np.testing.assert_array_equal(
        scheduler.step(log_p, 40, x, 1, known=known).prev_sample, expected
    )


# ---- Planned steps -------------------------------------------------------------------------------


@pytest.mark.parametrize("t, s", STEPS)
def test_a_planned_step_is_the_step(case, t, s):
    log_p, x, known = case
    scheduler, given = scheduler_of("inverse_cdf"), {"previous_timestep": s}
    one, other = np.random.default_rng(5), np.random.default_rng(5)
    expected = scheduler.step(log_p, t, x, one, known=known, **given).prev_sample
    plan = scheduler.plan(t, x, other, known=known, **given)
    assert state(one) == state(other)
    without = scheduler.plan(t, x, 5, **given)
    np.testing.assert_array_equal(plan.needed, without.needed & (known < 0))
    assert without.known is None
    np.testing.assert_array_equal(plan.known, known)
    columns = log_p.transpose(0, 2, 1)[plan.needed].T
    for one in (plan, copy.deepcopy(plan), pickle.loads(pickle.dumps(plan))):
        for model_output in (log_p, columns):
            for more in ({}, {"known": known}, {"known": known.astype(np.int8)}):
                drawn = scheduler.step(model_output, t, x, plan=one, **given, **more).prev_sample
                np.testing.assert_array_equal(drawn, expected)
    with pytest.raises(ValueError, match=r"^model_output must have shape \(5, \d+\)"):
        all_needed = log_p.transpose(0, 2, 1)[without.needed].T
        scheduler.step(all_needed, t, x, plan=plan, **given)


def test_a_plan_keeps_what_is_known(case):
    log_p, x, known = case
    scheduler = scheduler_of("inverse_cdf")
    expected = scheduler.step(log_p, 40, x, 5, known=known).prev_sample
    plan, without = scheduler.plan(40, x, 5, known=known), scheduler.plan(40, x, 5)
    before = known.copy()
    known[...] = 0
    match = "^known must be None or that of the plan, which was made for other known tokens$"
    for one, other in ((plan, known), (plan, known[:1]), (plan, 0), (without, before)):
        with pytest.raises(ValueError, match=match):
            scheduler.step(log_p, 40, x, plan=one, known=other)
    np.testing.assert_array_equal(plan.known, before)
    np.testing.assert_array_equal(scheduler.step(log_p, 40, x, plan=plan).prev_sample, expected)
    with pytest.raises(ValueError, match="read-only"):
        plan.known[0, 0] = 0


# ---- Bad input -----------------------------------------------------------------------------------


def with_value(value, dtype=np.int64):
    known = np.zeros((B, N), dtype)
    known[1, 3] = value
    return known


OUTSIDE = {
    "the mask": with_value(K),
    "-2": with_value(-2, np.int8),
    "the least": with_value(-(2**63)),
    "255": with_value(255, np.uint8),
    "the greatest": with_value(2**64 - 1, np.uint64),
    "just above": with_value(2**63, np.uint64),
}
SHAPES = {
    "fewer pixels": np.zeros((B, N - 1), int),
    "fewer rows": np.zeros((1, N), int),
    "more rows": np.zeros((B + 1, N), int),
    "one axis": np.zeros(N, int),
    "no axis": np.int64(-1),
    "three axes": np.zeros((B, N, 1), int),
    "a string": "known",
}
TYPES = {
    "floats": np.zeros((B, N)),
    "booleans": np.zeros((B, N), bool),
    "objects": np.zeros((B, N), object),
    "dates": np.zeros((B, N), "M8[s]"),
}
CASES = [
    *((ValueError, value, True) for value in OUTSIDE.values()),
    *((ValueError, value, False) for value in SHAPES.values()),
    *((TypeError, value, False) for value in TYPES.values()),
]


@pytest.mark.parametrize(
    "error, known, outside", CASES, ids=[*OUTSIDE, *SHAPES, *(f"of {kind}" for kind in TYPES)]
)
@pytest.mark.parametrize("kind", [VQDiffusionScheduler, Overriding])
@pytest.mark.parametrize("method", METHODS)
def test_bad_known_tokens(case, method, kind, error, known, outside):
    log_p, x, _ = case
    scheduler, rng = scheduler_of(method, kind), np.random.default_rng(3)
    before, value = state(rng), known[1, 3] if outside else None
    for call, t in itertools.product(CALLS, (0, 40)):
        native = kind is VQDiffusionScheduler or t == 0
        match = "^known must "
        if outside:
            match = r"^known must hold classes 0 \.\.\. 4, or -1 where unknown, not "
            # A row that is drawn on its own counts as the first.
            match += rf"{value} as at \[[01], 3\]$" if native else r"-?\d+ to \d+$"
        with pytest.raises(error, match=match):
            call(scheduler, log_p, t, x, rng, known=known)
        with pytest.raises(error, match=match):
            call(scheduler, log_p, t, x, [rng, 1, 2], known=known)
        assert state(rng) == before
    if method == "inverse_cdf" and kind is VQDiffusionScheduler:
        with pytest.raises(error, match="^known must "):
            scheduler.plan(40, x, rng, known=known)
        assert state(rng) == before


def test_known_tokens_go_by_name(case):
    log_p, x, known = case
    with pytest.raises(TypeError, match="positional"):
        scheduler_of("gumbel").step(log_p, 40, x, 1, True, known)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("method", METHODS)
def test_no_pixels(method, shape):
    scheduler = scheduler_of(method)
    x, log_p = np.zeros(shape, int), np.zeros((shape[0], K, shape[1]))
    for t in (0, 40):
        assert scheduler.step(log_p, t, x, known=x).prev_sample.shape == shape
        if method == "inverse_cdf":
            assert scheduler.plan(t, x, known=x).needed.shape == shape
