"""`plan` and the step that it leads to: the tokens and random numbers of a step without one."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import views
from reference import random_classes, random_log_p

from vqdiffusion import StepPlan, VQDiffusionScheduler

SUBSTITUTING = {
    "alpha_cum_start": 0.9,
    "alpha_cum_end": 0.1,
    "gamma_cum_start": 0.02,
    "gamma_cum_end": 0.6,
}


def columns(model_output, plan):
    """The needed columns as a model makes them: one row of K for each needed pixel, turned."""
    return model_output.transpose(0, 2, 1)[plan.needed].T


def state(generator):
    return generator.bit_generator.state["state"]


@pytest.mark.parametrize("schedule", [{}, SUBSTITUTING], ids=["usual", "substituting"])
@pytest.mark.parametrize(
    "batch, classes, pixels", [(1, 1, 1), (2, 3, 97), (3, 17, 64), (1, 300, 500), (2, 70, 1)]
)
@pytest.mark.parametrize("t", [0, 1, 7, 50, 98, 99])
def test_a_planned_step_is_the_step(t, batch, classes, pixels, schedule):
    rng = np.random.default_rng([t, classes])
    scheduler = VQDiffusionScheduler(classes + 1, **schedule)
    for dtype in (np.float32, np.float64, np.float16):
        log_p = random_log_p(rng, batch, classes, pixels, dtype=dtype)
        x = random_classes(
            rng, batch, classes, pixels, dtype=rng.choice([np.int64, np.uint16, np.int32])
        )
        one, other = np.random.default_rng(5), np.random.default_rng(5)
        for inner in (False, True):  # memory with the pixels, or the classes, as neighbours
            model_output = views.turned(log_p) if inner else log_p
            expected = scheduler.step(model_output, t, x, one).prev_sample
            plan = scheduler.plan(t, x, other)
            assert state(one) == state(other)
            given = columns(log_p, plan)
            for model_output in (
                log_p,
                given,
                np.ascontiguousarray(given),
                given[::-1, ::-1].copy()[::-1, ::-1],
            ):
                out = scheduler.step(model_output, t, x, plan=plan)
                assert out.prev_sample.dtype == np.int64
                np.testing.assert_array_equal(out.prev_sample, expected)
        assert state(one) == state(other)  # completing has drawn nothing


def test_most_pixels_are_not_needed_but_at_the_end():
    rng = np.random.default_rng(1)
    scheduler = VQDiffusionScheduler(4097)
    for t in (90, 50, 10):
        x = scheduler.add_noise(rng.integers(0, 4096, (4, 1024)), t, rng)
        assert 0.005 < scheduler.plan(t, x, rng).needed.mean() < 0.05
    assert scheduler.plan(0, x, rng).needed.all()


@pytest.mark.parametrize("t", [0, 1, 60])
def test_needed_is_what_the_step_reads(t):
    """Any other column may be NaN, and a NaN in any of these is found."""
    rng = np.random.default_rng(t)
    scheduler = VQDiffusionScheduler(6, **SUBSTITUTING)
    log_p, x = random_log_p(rng, 2, 5, 40), random_classes(rng, 2, 5, 40)
    plan = scheduler.plan(t, x, 3)
    holes = np.where(plan.needed[:, None], log_p, np.nan)
    tokens = scheduler.step(log_p, t, x, 3).prev_sample
    np.testing.assert_array_equal(scheduler.step(holes, t, x, 3).prev_sample, tokens)
    for row, pixel in np.argwhere(plan.needed):
        bad = log_p.copy()
        bad[row, 2, pixel] = np.nan
        with pytest.raises(ValueError, match="model_output"):
            scheduler.step(bad, t, x, 3)


@pytest.mark.parametrize("t", [0, 40])
def test_a_list_of_generators(t):
    rng = np.random.default_rng(t)
    scheduler = VQDiffusionScheduler(18)
    log_p, x = random_log_p(rng, 3, 17, 200), random_classes(rng, 3, 17, 200)
    ones, others = ([np.random.default_rng(seed) for seed in (1, 2, 3)] for _ in range(2))
    expected = scheduler.step(log_p, t, x, ones).prev_sample
    plan = scheduler.plan(t, x, others)
    np.testing.assert_array_equal(
        scheduler.step(columns(log_p, plan), t, x, plan=plan).prev_sample, expected
    )
    assert [state(one) for one in ones] == [state(other) for other in others]


@pytest.mark.parametrize(
    "seed", [7, np.random.SeedSequence(7), np.random.PCG64(7), np.random.RandomState(7)]
)
def test_kinds_of_generators(seed):
    rng = np.random.default_rng(0)
    scheduler = VQDiffusionScheduler(18)
    log_p, x = random_log_p(rng, 1, 17, 300), random_classes(rng, 1, 17, 300)
    again = copy.deepcopy(seed)
    expected = scheduler.step(log_p, 30, x, seed).prev_sample
    plan = scheduler.plan(30, x, again)
    np.testing.assert_array_equal(
        scheduler.step(columns(log_p, plan), 30, x, plan=plan).prev_sample, expected
    )


def test_a_whole_chain():
    rng = np.random.default_rng(4)
    scheduler, log_p = VQDiffusionScheduler(41, 20), random_log_p(rng, 2, 40, 300)
    samples = []
    for planned in (False, True):
        x, generator = np.full((2, 300), 40), np.random.default_rng(8)
        for t in scheduler.timesteps:
            if planned:
                plan = scheduler.plan(t, x, generator)
                x = scheduler.step(columns(log_p, plan), t, x, plan=plan).prev_sample
            else:
                x = scheduler.step(log_p, t, x, generator).prev_sample
        samples.append(x)
    np.testing.assert_array_equal(*samples)


@pytest.fixture
def case():
    rng = np.random.default_rng(11)
    return VQDiffusionScheduler(6), random_log_p(rng, 2, 5, 300), random_classes(rng, 2, 5, 300)


def test_a_plan_may_be_used_again_and_stored(case):
    scheduler, log_p, x = case
    plan = scheduler.plan(30, x, 1)
    expected = scheduler.step(log_p, 30, x, 1).prev_sample
    for one in (plan, plan, copy.deepcopy(plan), pickle.loads(pickle.dumps(plan))):
        assert isinstance(one, StepPlan)
        for other in (scheduler, pickle.loads(pickle.dumps(scheduler)), VQDiffusionScheduler(6)):
            tokens = other.step(
                columns(log_p, one), np.int8(30), x.astype(np.int16), plan=one, return_dict=False
            )
            np.testing.assert_array_equal(tokens[0], expected)


def test_a_plan_keeps_what_it_was_made_with(case):
    scheduler, log_p, x = case
    expected = scheduler.step(log_p, 30, x, 1).prev_sample
    plan = scheduler.plan(30, x, 1)
    before = x.copy()
    x[...] = 0
    with pytest.raises(ValueError, match="plan must be for the sample that is passed"):
        scheduler.step(log_p, 30, x, plan=plan)
    np.testing.assert_array_equal(
        scheduler.step(log_p, 30, before, plan=plan).prev_sample, expected
    )
    for array in (plan.needed, plan.sample, plan.uniforms):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 0
    with pytest.raises(AttributeError):
        plan.timestep = 3
    assert repr(plan).startswith("StepPlan(needed=") and "timestep=30" in repr(plan)


def test_steps_that_were_not_planned(case):
    scheduler, log_p, x = case
    plan = scheduler.plan(30, x, 1)
    given, other_x = columns(log_p, plan), x.copy()
    other_x[1, 299] = (other_x[1, 299] + 1) % 6
    for match, call in {
        "generator must be None where a plan": lambda: scheduler.step(given, 30, x, 3, plan=plan),
        "plan must be for timestep 31, but was made for timestep 30": lambda: scheduler.step(
            given, 31, x, plan=plan
        ),
        "plan must be for the sample": lambda: scheduler.step(given, 30, other_x, plan=plan),
        "plan must be for the sample that": lambda: scheduler.step(given, 30, x[:1], plan=plan),
        "plan must come from a scheduler": lambda: VQDiffusionScheduler(7).step(
            given, 30, x, plan=plan
        ),
        "plan must come from a scheduler with": lambda: VQDiffusionScheduler(6, 90).step(
            given, 30, x, plan=plan
        ),
        "plan must come from a scheduler with the": lambda: VQDiffusionScheduler(
            6, gamma_cum_end=0.9
        ).step(given, 30, x, plan=plan),
        r"model_output must have shape \(5, \d+\), not": lambda: scheduler.step(
            given[:, 1:], 30, x, plan=plan
        ),
        r"model_output must have shape \(5, \d+\), not \(5": lambda: scheduler.step(
            np.concatenate([given, given[:, :1]], axis=1), 30, x, plan=plan
        ),
        r"model_output must have K = 5 classes, not 6: .*counts .*needed": lambda: scheduler.step(
            np.concatenate([given, given[:1]]), 30, x, plan=plan
        ),
        r"model_output must have K = 5 classes, not 4 .* needed pixels": lambda: scheduler.step(
            given[1:], 30, x, plan=plan
        ),
        r"model_output must have shape \(2, 5, 300\)": lambda: scheduler.step(
            log_p[:1], 30, x, plan=plan
        ),
        r"model_output must have shape \(2, 5, 300\), or": lambda: scheduler.step(
            log_p[0, 0], 30, x, plan=plan
        ),
        "must be None with sampling_method 'gumbel'": lambda: VQDiffusionScheduler(
            6, sampling_method="gumbel"
        ).step(log_p, 30, x, plan=plan),
    }.items():
        with pytest.raises(ValueError, match=match):
            call()
    with pytest.raises(TypeError, match="model_output must be float16"):
        scheduler.step(given.astype(int), 30, x, plan=plan)
    with pytest.raises(TypeError, match="sample must be an array, not None"):
        scheduler.step(given, 30, None, plan=plan)
    bad = given.copy()
    bad[3, 2] = np.nan
    with pytest.raises(ValueError, match=r"model_output must hold .* at \[3, 2\]"):
        scheduler.step(bad, 30, x, plan=plan)


def test_the_last_step_needs_no_sample(case):
    scheduler, log_p, x = case
    expected = scheduler.step(log_p, 0, None, 1).prev_sample
    plan = scheduler.plan(0, x, 1)
    for sample in (x, None, np.zeros((1, 1))):
        np.testing.assert_array_equal(
            scheduler.step(log_p, 0, sample, plan=plan).prev_sample, expected
        )


def test_what_cannot_be_planned(case):
    scheduler, _, x = case
    generator = np.random.default_rng(3)
    before = state(generator)
    for error, match, call in (
        (ValueError, "timestep", lambda: scheduler.plan(100, x, generator)),
        (TypeError, "timestep", lambda: scheduler.plan(1.0, x, generator)),
        (TypeError, "sample", lambda: scheduler.plan(30, None, generator)),
        (ValueError, "sample", lambda: scheduler.plan(30, x[0], generator)),
        (TypeError, "sample", lambda: scheduler.plan(30, x.astype(float), generator)),
        (ValueError, "sample", lambda: scheduler.plan(30, x + 1, generator)),
        (ValueError, "generator as a list", lambda: scheduler.plan(30, x, [generator])),
        (TypeError, "generator", lambda: scheduler.plan(30, x, "seed")),
        (
            ValueError,
            "plan needs sampling_method 'inverse_cdf'",
            lambda: VQDiffusionScheduler(6, sampling_method="gumbel").plan(30, x, generator),
        ),
    ):
        with pytest.raises(error, match=match):
            call()
        assert state(generator) == before


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_no_pixels(shape):
    scheduler = VQDiffusionScheduler(6)
    for t in (0, 30):
        plan = scheduler.plan(t, np.zeros(shape, int))
        assert plan.needed.shape == shape
        for model_output in (np.zeros((shape[0], 5, shape[1])), np.zeros((5, 0))):
            assert (
                scheduler.step(model_output, t, np.zeros(shape, int), plan=plan).prev_sample.shape
                == shape
            )


def test_the_example():
    script = Path(__file__).parents[2] / "examples" / "planned_output_layer.py"
    command = [sys.executable, str(script), "--classes", "200", "--pixels", "64", "--batch", "2"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "The samples are identical." in text
    share = float(text.partition("%")[0])
    assert 1 < share < 8
