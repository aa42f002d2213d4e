"""Steps that reveal masked pixels where there is little to choose: no pixels, one class, keys of
-inf, equal keys, and rare ones."""

import itertools

import numpy as np
import pytest
from chi_square import chi_square_p_value

from vqdiffusion import Unmask, VQDiffusionScheduler, _native
from vqdiffusion.revealing import reveal_given

ORDERS = ["random", "purity", "margin", "entropy", "confidence"]
RULES = [{}, {"count": 2}, {"threshold": 0.5}, {"entropy_bound": 1.0}]


def normalised(logits):
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def options():
    for by, rule, temperature in itertools.product(ORDERS, RULES, (0.0, 1.0)):
        yield Unmask(by=by, temperature=temperature, **rule)


@pytest.mark.parametrize("prior_weight", [0.0, 1.5])
def test_one_class_is_what_every_masked_pixel_becomes(rng, prior_weight):
    """Of one class the margin is p itself, 1, and the entropy 0: all keys are 0."""
    scheduler = VQDiffusionScheduler(2)
    sample = rng.integers(0, 2, (3, 40))
    log_p = rng.normal(size=(3, 1, 40)).astype(np.float32)
    for by, rule in itertools.product(ORDERS, RULES):
        unmask = Unmask(by=by, prior_weight=prior_weight, **rule)
        out = scheduler.step(log_p, 50, sample, rng, previous_timestep=10, unmask=unmask)
        np.testing.assert_array_equal(out.prev_sample, np.where(out.revealed, 0, sample))
        assert (sample[out.revealed] == 1).all() and out.revealed.any()
        keys = out.scores[~np.isnan(out.scores)]
        np.testing.assert_allclose(keys, 0, atol=1e-12)
        if "threshold" in rule or "entropy_bound" in rule:
            np.testing.assert_array_equal(out.revealed, sample == 1)


def test_arrays_of_an_unmask_are_copies():
    count, positions = np.array([1, 2]), np.array([True, False, True])
    unmask = Unmask(count=count, positions=positions)
    count[:], positions[:] = 7, False
    assert unmask.count.tolist() == [1, 2] and unmask.positions.tolist() == [True, False, True]
    for array in (unmask.count, unmask.positions):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@pytest.mark.parametrize("shape", [(0, 7), (3, 0), (0, 0)])
def test_without_pixels_nothing_is_drawn(rng, shape):
    batch, pixels = shape
    scheduler = VQDiffusionScheduler(6)
    log_p, sample = np.empty((batch, 5, pixels), np.float32), np.empty(shape, np.int64)
    for unmask in options():
        for out in (
            scheduler.step(log_p, 50, sample, rng, unmask=unmask),
            scheduler.step(
                np.empty((5, 0), np.float32),
                50,
                sample,
                plan=scheduler.plan(50, sample, rng, unmask=unmask),
            ),
            scheduler.guided_step(log_p, log_p, 50, sample, rng, unmask=unmask),
        ):
            assert out.prev_sample.shape == out.revealed.shape == out.scores.shape == shape


def test_nothing_masked_and_no_positions_change_nothing(rng):
    scheduler = VQDiffusionScheduler(6)
    shown, masked = rng.integers(0, 5, (3, 20)), np.full((3, 20), 5)
    log_p = np.full((3, 5, 20), np.nan)  # nothing of it is read
    nowhere = np.zeros(20, bool)
    for unmask in options():
        out = scheduler.step(log_p, 50, shown, rng, unmask=unmask)
        np.testing.assert_array_equal(out.prev_sample, shown)
        assert not out.revealed.any() and np.isnan(out.scores).all()
        rule = {"count": unmask.count} if unmask.count is not None else {}
        kept = Unmask(by=unmask.by, temperature=unmask.temperature, positions=nowhere, **rule)
        for t, s in ((50, 40), (0, -1)):
            out = scheduler.step(log_p, t, masked, rng, previous_timestep=s, unmask=kept)
            np.testing.assert_array_equal(out.prev_sample, masked)
            assert not out.revealed.any()
        assert not scheduler.plan(50, shown, rng, unmask=unmask).needed.any()


@pytest.mark.parametrize("by", ORDERS)
def test_counts_of_none_and_of_more_than_there_are(rng, by):
    scheduler = VQDiffusionScheduler(6)
    masked = np.full((3, 20), 5)
    log_p = normalised(rng.normal(0, 3, (3, 5, 20)))
    for temperature, prior_weight in itertools.product((0.0, 1.0), (0.0, 2.0)):
        how = {"by": by, "temperature": temperature, "prior_weight": prior_weight}
        out = scheduler.step(log_p, 0, masked, rng, unmask=Unmask(count=0, **how))
        np.testing.assert_array_equal(out.prev_sample, masked)
        for unmask in (Unmask(count=20, **how), Unmask(count=2**62, **how), Unmask(**how)):
            out = scheduler.step(log_p, 0, masked, rng, unmask=unmask)
            assert out.revealed.all() and (out.prev_sample < 5).all()


@pytest.mark.parametrize("layout", ["classes outer", "classes inner"])
@pytest.mark.parametrize("by", ORDERS)
def test_a_class_of_no_mass_is_never_drawn(rng, by, layout):
    """Every fourth pixel has one class alone: it comes first, and its token is certain."""
    classes, pixels = 1030, 400
    logits = rng.normal(0, 1, (1, classes, pixels)).astype(np.float32)
    logits[rng.random(logits.shape) < 0.6] = -np.inf
    logits[:, :, ::4] = -np.inf
    alone = rng.integers(0, classes, pixels)[::4]
    logits[0, alone, np.arange(0, pixels, 4)] = -3
    if layout == "classes inner":
        logits = np.ascontiguousarray(logits.transpose(0, 2, 1)).transpose(0, 2, 1)
    scheduler = VQDiffusionScheduler(classes + 1)
    masked = np.full((1, pixels), classes)
    for prior_weight in (0.0, 3.0):
        unmask = Unmask(by=by, prior_weight=prior_weight)
        out = scheduler.step(logits, 0, masked, rng, unmask=unmask)
        tokens = out.prev_sample[0]
        assert np.isfinite(logits[0, tokens, np.arange(pixels)]).all()
        np.testing.assert_array_equal(tokens[::4], alone)
        # Of one class: p 1, margin 1, entropy 0.
        np.testing.assert_allclose(out.scores[0, ::4], 0, atol=1e-6)
        if by != "random":
            assert (out.scores[0] <= 1e-6).all()
            unmask = Unmask(by=by, prior_weight=prior_weight, count=pixels // 4)
            out = scheduler.step(logits, 50, masked, rng, unmask=unmask)
            np.testing.assert_array_equal(out.revealed[0], np.arange(pixels) % 4 == 0)


@pytest.mark.parametrize("layout", ["classes outer", "classes inner"])
@pytest.mark.parametrize("classes", [5, 1100])
def test_the_lowest_number_is_a_logit_like_others(rng, classes, layout):
    """Networks write it where they exclude a class: of a column of nothing else all are alike."""
    logits = np.full((1, classes, 40), np.finfo(np.float32).min)
    logits[0, 2, ::2] = 0
    if layout == "classes inner":
        logits = np.ascontiguousarray(logits.transpose(0, 2, 1)).transpose(0, 2, 1)
    scheduler = VQDiffusionScheduler(classes + 1)
    masked = np.full((1, 40), classes)
    for by in ("purity", "margin", "entropy", "confidence"):
        out = scheduler.step(logits, 0, masked, rng, unmask=Unmask(by=by))
        assert out.revealed.all() and (out.prev_sample[0, ::2] == 2).all()
        assert len(set(out.prev_sample[0, 1::2].tolist())) > 2
        np.testing.assert_allclose(out.scores[0, ::2], 0, atol=1e-6)
        least = -np.inf if by == "margin" else -np.log(classes)
        np.testing.assert_allclose(out.scores[0, 1::2], least, rtol=1e-6)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_key_of_minus_infinity_comes_last_the_lower_index_first(rng, temperature):
    """Where the two largest p are equal the margin is 0."""
    pixels = 30
    log_p = normalised(rng.normal(0, 2, (1, 5, pixels)))
    log_p[:, :2, ::3] = 0.5
    log_p[:, 2:, ::3] = -4
    log_p = normalised(log_p)
    scheduler, masked = VQDiffusionScheduler(6), np.full((1, pixels), 5)
    for count in range(pixels + 1):
        unmask = Unmask(by="margin", temperature=temperature, count=count)
        out = scheduler.step(log_p, 50, masked, rng, unmask=unmask)
        equal = np.isneginf(out.scores[0])
        np.testing.assert_array_equal(equal, np.arange(pixels) % 3 == 0)
        others = min(count, 20)
        assert out.revealed[0, ~equal].sum() == others
        np.testing.assert_array_equal(out.revealed[0, equal], np.arange(10) < count - others)


@pytest.mark.parametrize("by", ["purity", "margin", "entropy"])
def test_of_equal_keys_the_lower_index_comes_first(rng, by):
    log_p = np.repeat(normalised(rng.normal(0, 2, (1, 5, 1))), 40, 2)
    sample = np.where(rng.random((1, 40)) < 0.5, 5, 2)
    masked = np.flatnonzero(sample[0] == 5)
    unmask = Unmask(by=by, count=7)
    out = VQDiffusionScheduler(6).step(log_p, 50, sample, rng, unmask=unmask)
    np.testing.assert_array_equal(np.flatnonzero(out.revealed[0]), masked[:7])


def test_rare_pixels_are_drawn_in_proportion(rng):
    """χ² of the order at temperature 1: margins of 1e-4 and of 2e-5 beside 0.5 and 0.3."""
    rows, margins = 600_000, np.array([2e-5, 0.5, 1e-4, 0.3])
    log_p = np.log(np.array([(1 + margins) / 2, (1 - margins) / 2]))
    log_p = np.broadcast_to(log_p, (rows, 2, 4))
    unmask = Unmask(by="margin", temperature=1, count=1)
    masked = np.broadcast_to(2, (rows, 4))
    out = VQDiffusionScheduler(3).step(log_p, 50, masked, rng, unmask=unmask)
    counts = out.revealed.sum(0)
    assert counts[0] > 0  # 15 are expected, 75 of the next
    assert chi_square_p_value(counts, margins / margins.sum()) > 1e-4


@pytest.mark.parametrize("classes", [2, 1 << 20])
def test_however_rare_a_pixel_it_leads_below_its_share_of_the_uniform(classes):
    """Of E = -log(1 - u) the pixel with the least E / p comes first: one of p = 1/K leads one of
    p = 1 below E = E_1 / K, here to one step of the uniforms or 1e-6 of it."""
    scheduler = VQDiffusionScheduler(classes + 1)
    masked = np.full((1, 2), classes)
    log_p = np.full((1, classes, 2), -np.log(classes))
    log_p[0, :, 0] = -np.inf
    log_p[0, 0, 0] = 0
    unmask, step = Unmask(by="purity", temperature=1, count=1), 2.0**-53
    for u_1 in (0.5, 1e-6, 1e-9):
        limit = -np.expm1(np.log1p(-u_1) / classes)
        for u, leads in ((limit * (1 - 1e-6) - step, True), (limit * (1 + 1e-6) + step, False)):
            order = np.array([[u_1, u]])
            out = reveal_given(
                scheduler._chain, 50, 49, log_p, masked, order, order, None, None, unmask
            )
            assert out.revealed[0, 1] == leads, (u_1, u)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("weight", [1e30, 1e39, 1e300])
def test_a_huge_prior_weight_draws_the_argmax(rng, weight, dtype):
    """The power is bounded: an infinite one would make NaN of the largest class."""
    scheduler = VQDiffusionScheduler(30 + 1)
    log_p = rng.normal(size=(2, 30, 40)).astype(dtype)
    log_p[:, 3] = -np.inf
    masks = np.full((2, 40), 30)
    for by in "purity", "confidence":
        unmask = Unmask(by, count=40, prior_weight=weight)
        tokens = scheduler.step(log_p, 50, masks, rng, unmask=unmask).prev_sample
        largest = np.take_along_axis(log_p, tokens[:, None], 1)[:, 0]
        np.testing.assert_array_equal(largest, log_p.max(1))


def test_counts_of_an_empty_batch():
    scheduler = VQDiffusionScheduler(5)
    nothing = np.empty((0, 4, 3)), 50, np.empty((0, 3), int)
    assert scheduler.step(*nothing, unmask=Unmask(count=[])).prev_sample.shape == (0, 3)


@pytest.mark.parametrize("item", [0, 1])  # order and rule, which C narrows
@pytest.mark.parametrize("shift", [2**32, -(2**32), 2**40])
def test_the_native_module_refuses_orders_beyond_32_bits(item, shift):
    shape, gammas = (1, 3), np.array([0.5])
    how = list(Unmask("margin")._native(shape, None, np.empty(shape, bool), np.empty(shape)))
    step = np.array([0.1]), gammas, 0, -1, np.zeros((1, 2, 3)), np.full(shape, 2), "inverse_cdf"
    tokens = np.full(shape, 9)
    rest = np.full(shape, 0.5), tokens, None, None, 0.0
    how[item] += shift
    with pytest.raises(ValueError):
        _native.step(2, *step, *rest, tuple(how), 1)
    assert (tokens == 9).all()
    how[item] -= shift
    _native.step(2, *step, *rest, tuple(how), 1)
    assert (tokens < 2).all()


def test_pixels_without_entropy_are_within_a_bound_of_0():
    sample, log_p = np.ones((2, 30), int), np.zeros((2, 1, 30))
    out = VQDiffusionScheduler(2).step(log_p, 50, sample, 1, unmask=Unmask(entropy_bound=0))
    assert out.revealed.all()


def test_under_a_prior_confidence_is_that_of_the_token_drawn(rng):
    scheduler, sample = VQDiffusionScheduler(9), np.full((2, 200), 8)
    log_p = normalised(rng.normal(size=(2, 8, 200)))
    unmask = Unmask(by="confidence", prior_weight=0.5, count=200)
    out = scheduler.step(log_p, 50, sample, rng, unmask=unmask)
    assert out.revealed.all() and (out.prev_sample != log_p.argmax(1)).any()
    of_token = np.take_along_axis(log_p, out.prev_sample[:, None], 1)[:, 0]
    np.testing.assert_allclose(out.scores, of_token, rtol=1e-12, atol=1e-12)
