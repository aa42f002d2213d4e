"""`check_finite`: all of the model output is read, and what cannot be drawn from is refused."""

import re

import numpy as np
import pytest
from reference import random_classes, random_log_p
from views import turned

from vqdiffusion import VQDiffusionScheduler, _native

BFLOAT16 = np.dtype([("bfloat16", "u2")])


@pytest.fixture
def case():
    rng = np.random.default_rng(2)
    return (
        VQDiffusionScheduler(6),
        random_log_p(rng, 2, 5, 40),
        random_classes(rng, 2, 5, 40, mask_rate=1),
    )


@pytest.mark.parametrize("t", [0, 50, 99])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_every_element_is_looked_at(case, value, t):
    scheduler, log_p, x = case
    for place in np.ndindex(log_p.shape):
        if place[2] % 13:  # the ends of rows and of vectors among them
            continue
        bad = log_p.copy()
        bad[place] = value
        for given in (bad, turned(bad)):
            with pytest.raises(
                ValueError, match=rf"^model_output must hold .* at {re.escape(str(list(place)))}$"
            ):
                scheduler.step(given, t, x, 1, check_finite=True)


def test_columns_without_mass(case):
    scheduler, log_p, x = case
    log_p[:, 0, :] = log_p[:, 3:, :] = -np.inf  # a class may be impossible
    scheduler.step(log_p, 99, x, 1, check_finite=True)
    log_p[1, :, 7] = log_p[1, :, 30] = -np.inf
    for given in (log_p, turned(log_p)):
        with pytest.raises(
            ValueError, match="^model_output must give every pixel a class .* at row 1, pixel 7$"
        ):
            scheduler.step(given, 99, x, 1, check_finite=True)


def test_without_it_what_is_not_read_goes_unseen(case):
    scheduler, log_p, x = case
    plan = scheduler.plan(99, x, 1)
    tokens = scheduler.step(log_p, 99, x, 1).prev_sample
    row, pixel = np.argwhere(~plan.needed)[-1]
    log_p[row, 2, pixel] = np.nan
    np.testing.assert_array_equal(scheduler.step(log_p, 99, x, 1).prev_sample, tokens)
    np.testing.assert_array_equal(scheduler.step(log_p, 99, x, plan=plan).prev_sample, tokens)
    for options in ({"generator": 1}, {"plan": plan}):
        with pytest.raises(ValueError, match=rf"^model_output must .* \[{row}, 2, {pixel}\]$"):
            scheduler.step(log_p, 99, x, check_finite=True, **options)
    # The needed columns alone are read anyway.
    given = log_p.transpose(0, 2, 1)[plan.needed].T
    np.testing.assert_array_equal(
        scheduler.step(given, 99, x, plan=plan, check_finite=True).prev_sample, tokens
    )


def test_the_tokens_are_the_same_and_a_refusal_draws_nothing(case):
    scheduler, log_p, x = case
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    for t in (0, 50):
        expected = scheduler.step(log_p, t, x, one).prev_sample
        np.testing.assert_array_equal(
            scheduler.step(log_p, t, x, other, check_finite=True).prev_sample, expected
        )
    log_p[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="model_output"):
        scheduler.step(log_p, 50, x, other, check_finite=True)
    assert one.bit_generator.state == other.bit_generator.state


@pytest.mark.parametrize("t", [0, 50])
def test_gumbel_reads_everything_anyway(case, t, monkeypatch):
    _, log_p, x = case
    scheduler = VQDiffusionScheduler(6, sampling_method="gumbel")
    expected = scheduler.step(log_p, t, x, 1).prev_sample
    monkeypatch.setattr(_native, "check_model_output", None)
    np.testing.assert_array_equal(
        scheduler.step(log_p, t, x, 1, check_finite=True).prev_sample, expected
    )
    for place in np.ndindex(2, 5, 3):
        bad = log_p.copy()
        bad[place] = np.nan
        for check_finite in (False, True):
            with pytest.raises(ValueError, match="model_output"):
                scheduler.step(bad, t, x, 1, check_finite=check_finite)


@pytest.mark.parametrize("dtype", [np.float16, BFLOAT16, np.float64], ids=str)
def test_other_types(dtype):
    big = np.full((2, 70, 33), -60000.0, np.float64)  # near the end of float16
    bad = big.copy()
    bad[1, 69, 32] = np.nan

    def of_type(x):
        if dtype == BFLOAT16:
            return (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).view(BFLOAT16)
        return x.astype(dtype)

    _native.check_model_output(of_type(big))
    with pytest.raises(ValueError, match=r"at \[1, 69, 32\]$"):
        _native.check_model_output(of_type(bad))


@pytest.mark.parametrize("num_threads", [1, 2, 3, 8])
@pytest.mark.parametrize("inner", [False, True])
def test_the_lowest_place_is_named_for_any_number_of_threads(num_threads, inner):
    x = np.zeros((2, 300, 1100), np.float32)
    for place in ((0, 200, 1000), (0, 201, 3), (1, 0, 0), (1, 299, 1099)):
        x[place] = np.nan
    with pytest.raises(ValueError, match=r"at \[0, 200, 1000\]$"):
        _native.check_model_output(turned(x) if inner else x, num_threads)
    x = np.zeros((2, 300, 1100), np.float32)
    for row, pixel in ((0, 1050), (1, 3), (1, 1099)):
        x[row, :, pixel] = -np.inf
    with pytest.raises(ValueError, match="row 0, pixel 1050$"):
        _native.check_model_output(turned(x) if inner else x, num_threads)
