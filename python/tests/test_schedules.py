"""The schedules of `vqdiffusion.schedules`, each against the formulation of its paper."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from schedule_cases import EVERY, SHARED, named

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler, _native, schedules

fixed = settings(deadline=None, derandomize=True, database=None, max_examples=300)

STEPS = [2, 3, 100, 1000, 10**5]


def times(steps):
    return (np.arange(steps) + 1) / steps


def check_chain(alphas, gammas, steps):
    for table in (alphas, gammas):
        assert type(table) is np.ndarray and table.dtype == np.float64 and table.shape == (steps,)
        assert table.min() >= 0 and table.max() <= 1
    assert (alphas + gammas).max() <= 1
    for classes in (1, 5, 4096):
        _native.schedule_check(classes, alphas, gammas)


def one_step_matrix(classes, alpha, gamma):
    """Of eq. 7; columns are what a pixel was, rows what it becomes."""
    matrix = np.full((classes + 1, classes + 1), (1 - alpha - gamma) / classes)
    matrix[np.arange(classes), np.arange(classes)] += alpha
    matrix[classes] = gamma
    matrix[:, classes] = 0
    matrix[classes, classes] = 1
    return matrix


def products(classes, alpha, gamma):
    """ᾱ and γ̄ of the chain with these single steps, read off the products of its matrices."""
    product, kept, masked = np.eye(classes + 1), [], []
    for step in zip(alpha, gamma, strict=True):
        product = one_step_matrix(classes, *step) @ product
        kept.append(product[0, 0] - product[1, 0])
        masked.append(product[classes, 0])
    return np.array(kept), np.array(masked)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("case", EVERY, ids=named)
def test_is_a_chain(case, steps):
    function, arguments, _ = case
    alphas, gammas = function(steps, **arguments)
    check_chain(alphas, gammas, steps)
    assert (np.diff(alphas) <= 0).all() and alphas[-1] < alphas[0]
    assert (np.diff(gammas) >= 0).all()


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("case", SHARED, ids=named)
def test_mask_share(case, steps):
    function, arguments, paper_share = case
    kept, none = function(steps, mask_share=0, **arguments)
    np.testing.assert_array_equal(none, 0)
    for share in (0, 1e-300, 0.3, 0.9, 1 - 1e-9, 1 - 2**-53, 1):
        alphas, gammas = function(steps, mask_share=share, **arguments)
        check_chain(alphas, gammas, steps)
        np.testing.assert_allclose(alphas, kept, rtol=0, atol=1e-15)
        np.testing.assert_allclose(gammas, share * (1 - kept), rtol=1e-15, atol=1e-15)
        if share == 1:
            np.testing.assert_array_equal(alphas, 1 - gammas)
            np.testing.assert_allclose(1 - alphas - gammas, 0, rtol=0, atol=2**-53)
    for table, expected in zip(
        function(steps, **arguments),
        function(steps, mask_share=paper_share, **arguments),
        strict=True,
    ):
        np.testing.assert_array_equal(table, expected)


@pytest.mark.parametrize("steps", [2, 17])
@pytest.mark.parametrize("case", EVERY, ids=named)
def test_tables_are_products_of_stochastic_matrices(case, steps):
    function, arguments, _ = case
    alphas, gammas = function(steps, **arguments)
    kept, unmasked = np.append(1, alphas), 1 - np.append(0, gammas)
    alpha, gamma = kept[1:] / kept[:-1], 1 - unmasked[1:] / unmasked[:-1]
    assert alpha.min() >= 0 and gamma.min() >= 0
    assert (1 - alpha - gamma).min() > -1e-15
    for table, expected in zip((alphas, gammas), products(4, alpha, gamma), strict=True):
        np.testing.assert_allclose(table, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("steps", [2, 100, 4000])
def test_linear_is_the_schedule_of_the_class(steps):
    ends = {
        "alpha_cum_start": 0.9,
        "alpha_cum_end": 0.05,
        "gamma_cum_start": 0.01,
        "gamma_cum_end": 0.8,
    }
    for numbers in ({}, ends):
        alphas, gammas = schedules.linear(steps, **numbers)
        given_ends = {
            "alpha_cum_start": 0.99999,
            "alpha_cum_end": 0.000009,
            "gamma_cum_start": 0.000009,
            "gamma_cum_end": 0.99999,
            **numbers,
        }
        for table, name in ((alphas, "alpha"), (gammas, "gamma")):
            straight = np.linspace(
                given_ends[f"{name}_cum_start"], given_ends[f"{name}_cum_end"], steps
            )
            np.testing.assert_allclose(table, straight, rtol=0, atol=1e-15)
        scheduler = VQDiffusionScheduler(6, steps, **numbers)
        np.testing.assert_array_equal(
            np.log(alphas).astype(np.float32), scheduler.log_cumprod_at[:steps]
        )
        np.testing.assert_array_equal(
            np.log(gammas).astype(np.float32), scheduler.log_cumprod_ct[:steps]
        )


def test_linear_refuses_what_is_no_chain():
    with pytest.raises(ValueError, match="cumulative alpha \\+ cumulative gamma is greater than 1"):
        schedules.linear(10, alpha_cum_start=0.9, gamma_cum_start=0.5)
    with pytest.raises(ValueError, match="cumulative gamma falls at timestep 1"):
        schedules.linear(10, gamma_cum_start=1e-7, gamma_cum_end=0)


@pytest.mark.parametrize("eps", [1e-3, 1e-4, 0.5])
def test_log_linear_by_the_noise_of_mdlm(eps):
    t = times(1000)
    sigma = -np.log1p(-(1 - eps) * t)
    alphas, gammas = schedules.log_linear(1000, eps=eps)
    np.testing.assert_allclose(alphas, np.exp(-sigma), rtol=1e-12)
    np.testing.assert_allclose(gammas, -np.expm1(-sigma), rtol=1e-13)
    assert alphas[-1] == pytest.approx(eps, rel=1e-12)
    np.testing.assert_allclose(
        schedules.log_linear(1000, eps=eps, mask_share=0)[0], np.exp(-sigma), rtol=1e-12
    )


def test_log_linear_ends_at_a_thousandth():
    for share in (0, 0.5, 1):
        assert schedules.log_linear(100, mask_share=share)[0][-1] == pytest.approx(1e-3, rel=1e-12)


@pytest.mark.parametrize("steps", [2, 7, 1000, 10**5])
def test_log_linear_without_eps_masks_with_one_over_what_is_left(steps):
    alphas, gammas = schedules.log_linear(steps, eps=0)
    np.testing.assert_array_equal(alphas, 1 - times(steps))
    np.testing.assert_array_equal(gammas, times(steps))
    if steps <= 1000:
        beta = 1 / (steps - np.arange(steps))  # 1/(T - t + 1) for t = 1 … T, as D3PM counts
        assert beta[0] == 1 / steps and beta[-1] == 1
        kept, masked = products(3, 1 - beta, beta)
        np.testing.assert_allclose(alphas, kept, rtol=0, atol=1e-13)
        np.testing.assert_allclose(gammas, masked, rtol=0, atol=1e-13)


def test_the_three_cosines_differ_in_the_middle():
    masked = {
        variant: schedules.cosine(100, variant=variant, mask_share=1)[1][49]
        for variant in ("mdlm", "maskgit", "d3pm")
    }
    assert masked["mdlm"] == pytest.approx((1 - 1e-3) * (1 - math.sqrt(0.5)), rel=1e-14)
    assert masked["maskgit"] == pytest.approx(math.sqrt(0.5), rel=1e-14)
    assert {variant: round(float(share), 3) for variant, share in masked.items()} == {
        "mdlm": 0.293,
        "maskgit": 0.707,
        "d3pm": 0.297,
    }


def test_cosine_by_the_noise_of_mdlm():
    t = times(1000)
    sigma = -np.log(1e-3 + (1 - 1e-3) * np.cos(np.pi / 2 * t))
    alphas, gammas = schedules.cosine(1000, variant="mdlm")
    np.testing.assert_allclose(alphas, np.exp(-sigma), rtol=1e-12)
    np.testing.assert_allclose(gammas, -np.expm1(-sigma), rtol=1e-9)
    assert alphas[-1] == pytest.approx(1e-3, rel=1e-12)


def test_cosine_by_the_progress_of_maskgit():
    decoded = np.arange(1000)[::-1] / 1000  # share of the steps done, at u = 1 - decoded
    alphas, gammas = schedules.cosine(1000, variant="maskgit")
    np.testing.assert_allclose(gammas, np.cos(np.pi / 2 * decoded), rtol=1e-12)
    assert gammas[-1] == 1 and alphas[-1] == 0
    # 1 - sin(πu/2) loses digits near u = 1; this is the same by the half angle.
    uniform, _ = schedules.cosine(1000, variant="maskgit", mask_share=0)
    np.testing.assert_allclose(uniform, 2 * np.sin(np.pi / 4 * decoded) ** 2, rtol=1e-14)


@pytest.mark.parametrize("steps", [2, 3, 100, 1000])
def test_cosine_by_the_steps_of_d3pm(steps):
    u = np.arange(steps + 1) / steps
    f = np.cos((u + 0.008) / 1.008 * np.pi / 2)
    beta = np.minimum(1 - f[1:] / f[:-1], 0.999)
    alphas, gammas = schedules.cosine(steps, variant="d3pm")
    np.testing.assert_allclose(alphas, np.cumprod(1 - beta), rtol=1e-10)
    np.testing.assert_array_equal(gammas, 0)
    # D3PM's uniform matrices: every class, the same included, with β/K.
    kept, masked = products(5, 1 - beta, np.zeros(steps))
    np.testing.assert_allclose(alphas, kept, rtol=0, atol=1e-13)
    # and its absorbing ones
    alphas, gammas = schedules.cosine(steps, variant="d3pm", mask_share=1)
    kept, masked = products(5, 1 - beta, beta)
    np.testing.assert_allclose(alphas, kept, rtol=0, atol=1e-13)
    np.testing.assert_allclose(gammas, masked, rtol=0, atol=1e-13)


def test_small_losses_have_all_their_digits():
    """1 - ᾱ would have half as many."""
    steps, u = 10**5, 1e-5
    mdlm = schedules.cosine(steps, variant="mdlm")[1][0]
    np.testing.assert_allclose(mdlm, (1 - 1e-3) * (np.pi * u / 2) ** 2 / 2, rtol=1e-9)
    d3pm = schedules.cosine(steps, variant="d3pm", mask_share=1)[1][0]
    start, angle = 0.008 * np.pi / 2 / 1.008, np.pi / 2 / 1.008 * u
    loss = 2 * np.sin(angle / 2) ** 2 + np.tan(start) * np.sin(angle)  # 1 - f(u)/f(0)
    np.testing.assert_allclose(d3pm, loss, rtol=1e-13)
    geometric = schedules.geometric(2, sigma_min=1e-12, sigma_max=1e-6, mask_share=1)[1][0]
    np.testing.assert_allclose(geometric, 1e-9 - 1e-18 / 2, rtol=1e-14)


@pytest.mark.parametrize("exponent", [0.5, 1, 2, 3])
def test_polynomial(exponent):
    alphas, gammas = schedules.polynomial(1000, exponent=exponent)
    masked = np.array([((t + 1) / 1000) ** exponent for t in range(1000)])
    np.testing.assert_allclose(gammas, masked, rtol=1e-14)
    np.testing.assert_allclose(alphas, 1 - masked, rtol=0, atol=1e-15)
    assert alphas[-1] == 0 and gammas[-1] == 1
    assert gammas[499] == pytest.approx(0.5**exponent, rel=1e-15)


def test_polynomial_of_degree_one_is_log_linear_without_eps():
    np.testing.assert_array_equal(
        schedules.polynomial(100, exponent=1), schedules.log_linear(100, eps=0)
    )
    np.testing.assert_array_equal(schedules.polynomial(100), schedules.polynomial(100, exponent=2))


@pytest.mark.parametrize("sigmas", [(1e-4, 20.0), (1e-3, 1.0), (1e-5, 700.0)])
def test_geometric_noise_grows_by_one_factor(sigmas):
    low, high = sigmas
    steps = 1000
    factor = (high / low) ** (1 / steps)
    sigma = low * np.cumprod(np.full(steps, factor))
    alphas, _ = schedules.geometric(steps, sigma_min=low, sigma_max=high)
    np.testing.assert_allclose(-np.log(alphas), sigma, rtol=1e-11)
    # SEDD's uniform chain: a pixel shows its class with e^-σ + (1 - e^-σ)/K.
    generator = np.full((3, 3), 1 / 3) - np.eye(3)
    values, vectors = np.linalg.eigh(generator)
    for t in (0, 500, 999):
        law = vectors @ np.diag(np.exp(sigma[t] * values)) @ vectors.T
        assert alphas[t] + (1 - alphas[t]) / 3 == pytest.approx(law[0, 0], rel=1e-12)


def test_geometric_defaults():
    alphas, gammas = schedules.geometric(1000)
    np.testing.assert_array_equal(gammas, 0)
    assert alphas[-1] == pytest.approx(math.exp(-20), rel=1e-13)
    assert alphas[499] == pytest.approx(math.exp(-math.sqrt(1e-4 * 20)), rel=1e-13)
    # ᾱ below the last digit of 1 is none at all in an absorbing chain.
    alphas, gammas = schedules.geometric(2, sigma_max=50, mask_share=1)
    assert alphas[-1] == 0 and gammas[-1] == 1


@pytest.mark.parametrize("p_uniform", [p / 10 for p in range(1, 10)])
def test_hybrid_by_the_definition_of_gidd(p_uniform):
    classes, exponent, t = 7, 1.0, times(1000)
    scale = np.exp(exponent * np.log(2) + np.log(p_uniform) - np.log1p(-p_uniform))
    weight = scale * t ** (exponent / 2) * (1 - t) ** (exponent / 2)
    mask, uniform = np.eye(classes + 1)[classes], np.append(np.full(classes, 1 / classes), 0)
    x = np.eye(classes + 1)[2]
    marginal = (1 - t[:, None]) * x + t[:, None] * mask + weight[:, None] * uniform
    marginal /= 1 + weight[:, None]
    np.testing.assert_allclose(marginal.sum(1), 1, rtol=1e-14)

    alphas, gammas = schedules.hybrid(1000, p_uniform=p_uniform)
    replaced = (1 - alphas - gammas) / classes
    np.testing.assert_allclose(gammas, marginal[:, classes], rtol=1e-13)
    np.testing.assert_allclose(alphas + replaced, marginal[:, 2], rtol=0, atol=1e-14)
    np.testing.assert_allclose(replaced, marginal[:, 3], rtol=0, atol=1e-14)
    share = 1 - alphas - gammas
    assert share[499] == pytest.approx(p_uniform, rel=1e-14)
    assert share.argmax() == 499
    assert alphas[-1] == 0 and gammas[-1] == 1


def test_hybrid_without_replacement_is_log_linear_without_eps():
    np.testing.assert_allclose(
        schedules.hybrid(100, p_uniform=0), schedules.log_linear(100, eps=0), rtol=0, atol=2**-53
    )
    np.testing.assert_array_equal(schedules.hybrid(100), schedules.hybrid(100, p_uniform=0.1))


unit = st.floats(0, 1)
positive = st.floats(0, exclude_min=True, allow_infinity=False)


@fixed
@given(steps=st.integers(2, 200), share=unit, eps=st.floats(0, 1, exclude_max=True))
def test_every_log_linear_is_a_chain(steps, share, eps):
    check_chain(*schedules.log_linear(steps, eps=eps, mask_share=share), steps)


@fixed
@given(steps=st.integers(2, 200), share=unit, variant=st.sampled_from(["mdlm", "maskgit", "d3pm"]))
def test_every_cosine_is_a_chain(steps, share, variant):
    alphas, gammas = schedules.cosine(steps, variant=variant, mask_share=share)
    check_chain(alphas, gammas, steps)
    assert (np.diff(alphas) < 0).all() and (np.diff(gammas) >= 0).all()


@fixed
@given(steps=st.integers(2, 200), share=unit, exponent=positive)
def test_every_polynomial_is_a_chain(steps, share, exponent):
    check_chain(*schedules.polynomial(steps, exponent=exponent, mask_share=share), steps)


@fixed
@given(
    steps=st.integers(2, 200),
    share=unit,
    sigmas=st.tuples(positive, positive).filter(lambda pair: pair[0] != pair[1]),
)
@example(steps=2, share=1.0, sigmas=(1e-3, 40.0))  # ᾱ falls from 0.8 to 4e-18 in one step
@example(steps=2, share=1.0, sigmas=(1e-4, 25.0))
@example(steps=2, share=1 - 2**-53, sigmas=(1e-3, 40.0))
def test_every_geometric_is_a_chain(steps, share, sigmas):
    low, high = sorted(sigmas)
    check_chain(*schedules.geometric(steps, sigma_min=low, sigma_max=high, mask_share=share), steps)


@fixed
@given(steps=st.integers(2, 200), p_uniform=st.floats(0, 1, exclude_max=True))
@example(steps=1000, p_uniform=1 - 2**-53)
def test_every_hybrid_is_a_chain(steps, p_uniform):
    check_chain(*schedules.hybrid(steps, p_uniform=p_uniform), steps)


def test_names():
    assert vqdiffusion.schedules is schedules
    assert set(schedules.__all__) == {
        "alpha_schedules",
        "cosine",
        "gamma_schedules",
        "geometric",
        "hybrid",
        "linear",
        "log_linear",
        "polynomial",
    }
    assert schedules.alpha_schedules is vqdiffusion.alpha_schedules
    assert schedules.gamma_schedules is vqdiffusion.gamma_schedules
