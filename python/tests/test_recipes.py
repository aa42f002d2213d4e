"""The recipes of docs/recipes.md: each scheduler there against its paper's own formula.

What a step draws from is compared in float64 for random predictions, every class that a pixel can
show and several strides; then the drawn tokens are, by chi-square.
"""

import functools

import numpy as np
import pytest
import recipe_laws as laws
from chi_square import chi_square_p_value
from recipe_blocks import page

BETAS = 1 / (1000 - np.arange(1000))  # 1/(T - t + 1) for t = 1 … T
STRIDES = [(999, 998), (500, 499), (500, 450), (100, 37), (1, 0), (0, -1), (30, -1), (999, 949)]
EXACT, REWEIGHTED = 1e-10, 2e-7  # float64; rows of float32


def u(t):
    return (t + 1) / 1000


def mdlm(noise):
    def law(p, x, t, s):
        return laws.mdlm(p, x, laws.mdlm_alpha(noise, u(t)), laws.mdlm_alpha(noise, u(s)))

    return law


@functools.cache
def absorbing_matrices(classes):
    return [laws.d3pm_absorbing_matrix(classes, beta) for beta in BETAS]


@functools.cache
def uniform_matrices(classes):
    return [laws.d3pm_uniform_matrix(classes, beta) for beta in laws.d3pm_cosine_betas(1000)]


def d3pm_absorbing(p, x, t, s):
    if x != len(p) and t == 999:
        return np.eye(len(p) + 1)[x]  # never occurs
    return laws.d3pm(p, x, absorbing_matrices(len(p)), t, s)


def d3pm_uniform(p, x, t, s):
    return laws.d3pm(p, x, uniform_matrices(len(p)), t, s)


def multinomial(p, x, t, s):
    return laws.multinomial(p, x, laws.multinomial_alphas(1000), t, s)


def udlm(p, x, t, s):
    return laws.udlm(p, x, *(1 - (1 - 1e-3) * u(one) for one in (t, s)))


def llada(p, x, t, s):
    return laws.llada(p, x, (t + 1) / 64, (s + 1) / 64)


# The name on the page, the law, whether the page reweighs, timesteps.
CASES = {
    "mdlm": (mdlm("loglinear"), False, STRIDES),
    "mdlm_cosine": (mdlm("cosine"), False, STRIDES),
    "absorbing": (d3pm_absorbing, False, STRIDES),
    "uniform": (d3pm_uniform, True, STRIDES),
    "multinomial": (multinomial, True, STRIDES),
    "udlm": (udlm, True, STRIDES),
    "llada": (llada, False, [(63, 62), (40, 39), (1, 0), (0, -1), (63, 20), (20, -1)]),
}


def random_column(rng, classes):
    logits = rng.normal(0, 2, classes)
    return logits - np.logaddexp.reduce(logits)


def scheduler_law(scheduler, log_p, x, t, s, reweigh):
    """What the recipe's step draws from, (K + 1,), for a network that says log_p (K,)."""

    def model(x_t, t):
        return np.broadcast_to(log_p[None, :, None], (1, len(log_p), x_t.shape[1]))

    if reweigh:
        model = page()["reweighted"](scheduler, model)
    x_t = np.array([[x]])
    q = np.exp(scheduler.q_posterior(model(x_t, t), x_t, t, previous_timestep=s))[0, :, 0]
    return q / q.sum()


def difference(scheduler, law, log_p, x, t, s, reweigh):
    expected = law(np.exp(log_p), x, t, s)
    found = scheduler_law(scheduler, log_p, x, t, s, reweigh)
    if len(expected) < len(found):  # a chain without masks
        assert found[-1] < 1e-30
        found = found[:-1]
    assert abs(expected.sum() - 1) < 1e-10
    return abs(found - expected).max()


def shown(law, classes):
    """A few of the classes that pixels show, with the mask where the chain has one."""
    few = [0, classes // 2, classes - 1]
    return few if law in (d3pm_uniform, multinomial, udlm) else [*few, classes]


@pytest.mark.parametrize("name", CASES)
def test_the_law_of_a_step_is_the_papers(rng, name):
    law, reweigh, strides = CASES[name]
    scheduler = page()[name]
    classes, close = scheduler.mask_class, REWEIGHTED if reweigh else EXACT
    for t, s in strides:
        log_p = random_column(rng, classes)
        for x in shown(law, classes):
            assert difference(scheduler, law, log_p, x, t, s, reweigh) < close, (t, s, x)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[1]])
def test_without_the_weight_a_step_is_another(rng, name):
    law, _, strides = CASES[name]
    scheduler, worst = page()[name], 0
    for t, s in strides:
        log_p = random_column(rng, scheduler.mask_class)
        for x in shown(law, scheduler.mask_class):
            worst = max(worst, difference(scheduler, law, log_p, x, t, s, False))
    assert worst > 0.9


@pytest.mark.parametrize("name", CASES)
def test_tokens_are_drawn_from_it(name):
    """Chi-square of 72 cases, each with a false alarm in 10^6 runs."""
    law, reweigh, strides = CASES[name]
    scheduler, rng, draws = page()[name], np.random.default_rng(7), 40_000
    classes = scheduler.mask_class
    for t, s in strides[1:3] + strides[-2:]:
        log_p = random_column(rng, classes)
        for x in shown(law, classes)[1:]:
            x_t = np.full((1, draws), x)

            def model(x_t, t, log_p=log_p):
                return np.broadcast_to(log_p[None, :, None], (1, len(log_p), x_t.shape[1]))

            if reweigh:
                model = page()["reweighted"](scheduler, model)
            drawn = scheduler.step(model(x_t, t), t, x_t, rng, previous_timestep=s).prev_sample[0]
            expected = law(np.exp(log_p), x, t, s)
            counts = np.bincount(drawn, minlength=len(expected))
            assert len(counts) == len(expected)
            assert chi_square_p_value(counts, expected) > 1e-6, (t, s, x)


def test_tabddpm(rng):
    columns = page()["columns"]
    assert [one.mask_class for one in columns] == [2, 7, 16]
    log_alphas = laws.tabddpm_log_alphas(100)
    for scheduler in columns:
        for t in (99, 98, 60, 20, 1, 0):
            log_p = random_column(rng, scheduler.mask_class)
            for x in range(scheduler.mask_class):
                found = scheduler_law(scheduler, log_p, x, t, t - 1, True)[:-1]
                expected = laws.tabddpm(np.exp(log_p), x, log_alphas, t)
                np.testing.assert_allclose(found, expected, rtol=0, atol=REWEIGHTED)


def test_layoutdm(rng):
    attributes = page()["attributes"]
    assert [one.mask_class for one in attributes.values()] == [26, 33, 33, 33, 33]
    for name in ("category", "x"):
        scheduler = attributes[name]
        matrices = laws.layoutdm_matrices(scheduler.mask_class)
        for t, s in ((99, 98), (99, 97), (50, 49), (50, 10), (1, 0), (3, -1)):
            log_p = random_column(rng, scheduler.mask_class)
            for x in (0, scheduler.mask_class - 1, scheduler.mask_class):
                found = scheduler_law(scheduler, log_p, x, t, s, False)
                expected = laws.layoutdm(np.exp(log_p), x, matrices, t, s)
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    tokens, given = page()["tokens_of_layout"], page()["layout"]
    assert tokens.shape == (2, 50) and (tokens[:, 0] == 3).all()
    np.testing.assert_array_equal(tokens[:, 2::5], given["y"])


def masked(scheduler, t):
    """γ̄_t in float64."""
    onehot = np.where(np.arange(scheduler.num_embed) == scheduler.mask_class, 0, np.log(1e-30))
    rows = scheduler.log_Q_t_transitioning_to_known_class(
        t=t,
        x_t=[[scheduler.mask_class]],
        log_onehot_x_t=onehot[None, :, None],
        cumulative=True,
    )
    return np.exp(rows[0, 0, 0])


@pytest.mark.parametrize(
    "name, alpha",
    [
        ("mdlm", lambda t: laws.mdlm_alpha("loglinear", u(t))),
        ("mdlm_cosine", lambda t: laws.mdlm_alpha("cosine", u(t))),
        ("absorbing", lambda t: np.prod(1 - BETAS[: t + 1])),
        ("llada", lambda t: 1 - (t + 1) / 64),
    ],
)
def test_the_noise_of_absorbing_chains(name, alpha):
    """A step depends on ratios alone, and not on how much is masked at the end."""
    scheduler = page()[name]
    for t in (0, 1, 20, 62, 63, 500, 999):
        if t < scheduler.config.num_train_timesteps:
            assert masked(scheduler, t) == pytest.approx(1 - alpha(t), rel=1e-9)


def test_the_noise_of_gidd():
    scheduler = page()["gidd"]
    classes = scheduler.mask_class
    for t in (0, 1, 300, 499, 800, 998, 999):
        alpha, noise = laws.gidd_mixture(classes, u(t), 0.1)
        for x in (0, 3, classes):
            x_t = np.array([[x]])
            onehot = np.where(np.arange(classes + 1)[None, :, None] == x, 0, np.log(1e-30))
            rows = scheduler.log_Q_t_transitioning_to_known_class(
                t=t, x_t=x_t, log_onehot_x_t=onehot, cumulative=True
            )[0, :, 0]
            expected = alpha * (np.arange(classes) == x) + noise[x]
            np.testing.assert_allclose(np.exp(rows), expected, rtol=0, atol=1e-12)
