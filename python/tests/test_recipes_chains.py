"""What whole chains of docs/recipes.md end in, beside those of the papers' own code.

The data are the two pixels of chain_case.py with their exact denoiser, or tokens that the network
knows nothing of.
"""

import math

import numpy as np
import pytest
import recipe_laws as laws
from chain_case import CLASSES, exact_denoiser, pair_law
from chi_square import chi_square_p_value
from recipe_blocks import page, text

from vqdiffusion import VQDiffusionScheduler, schedules

SIZE = CLASSES + 1
STATES = np.stack(np.divmod(np.arange(SIZE**2), SIZE), axis=1)  # of both pixels


def distance(steps):
    """Total variation between the data and what a chain from masks ends in, by enumeration. A step
    is what it draws each pixel from, (SIZE**2, SIZE, 2), normalised here."""
    law = np.eye(SIZE**2)[-1]
    for q in steps:
        q = q / q.sum(1, keepdims=True)
        law = law @ (q[:, :, None, 0] * q[:, None, :, 1]).reshape(SIZE**2, -1)
    data = np.zeros((SIZE, SIZE))
    data[:CLASSES, :CLASSES] = pair_law()
    return abs(law.reshape(SIZE, SIZE) - data).sum() / 2


def sample_fast(skip, posterior_at):
    """A sampler that calls the network at t and takes the single step's posterior of another t."""
    scheduler = VQDiffusionScheduler(SIZE)
    for t in [*range(99, -1, -1 - skip), 0]:
        log_p = exact_denoiser(scheduler, STATES, t)
        yield np.exp(scheduler.q_posterior(log_p, STATES, posterior_at(t, skip)))


@pytest.mark.parametrize("skip, original, throughout", [(3, 0.0835, 0.1305), (9, 0.3621, 0.4482)])
def test_the_originals_fast_inference(skip, original, throughout):
    chains = {
        original: lambda t, skip: t - skip if t > skip else t,
        throughout: lambda t, skip: max(t - skip, 1) if t else 0,
    }
    for expected, posterior_at in chains.items():
        assert distance(sample_fast(skip, posterior_at)) == pytest.approx(expected, abs=5e-5)
        assert f"| {expected} |" in text()


# What other pixels say of each: the exact denoiser without what the pixel itself shows. A network
# learns it that is trained with the paper's posterior.
def of_the_others(scheduler, x_t, t):
    seen = np.exp(page()["reweighted"](scheduler, lambda x_t, t: 0.0)(x_t, t).astype(np.float64))
    each = [np.einsum("jk,bk->bj", pair_law(), seen[:, :, 1 - pixel]) for pixel in (0, 1)]
    found = np.stack(each, axis=2)
    return found / found.sum(1, keepdims=True)


def gidd_steps(calls, whose):
    """The chain of that many calls with p_uniform = 0.1: what each step draws from."""
    alphas, gammas = schedules.hybrid(calls, p_uniform=0.1)
    scheduler = VQDiffusionScheduler(SIZE, alphas_cumprod=alphas, gammas_cumprod=gammas)
    at = [laws.gidd_mixture(CLASSES, (t + 1) / calls, 0.1) for t in range(calls)] + [
        laws.gidd_mixture(CLASSES, 0, 0.1)
    ]
    masked = np.full((1, 2), CLASSES)
    for t in range(calls - 1, -1, -1):
        # At the first timestep nothing but masks occurs.
        states = masked if t == calls - 1 else STATES
        p = of_the_others(scheduler, states, t)

        def model(x_t, t, p=p):
            return np.log(p)

        if whose == "theirs":
            q = np.array(
                [
                    [laws.gidd(row[:, n], x[n], at[t], at[t - 1]) for n in (0, 1)]
                    for row, x in zip(p, states, strict=True)
                ]
            ).transpose(0, 2, 1)
        else:
            reweigh = page()["reweighted"] if whose == "ours" else lambda scheduler, model: model
            q = np.exp(scheduler.q_posterior(reweigh(scheduler, model)(states, t), states, t))
        yield np.broadcast_to(q, (SIZE**2, SIZE, 2)) if t == calls - 1 else q


@pytest.mark.parametrize(
    "calls, theirs, ours, unweighted", [(25, 0.0388, 0.0391, 0.35), (100, 0.0116, 0.0117, 0.25)]
)
def test_the_chain_of_gidd(calls, theirs, ours, unweighted):
    assert distance(gidd_steps(calls, "theirs")) == pytest.approx(theirs, abs=5e-5)
    assert distance(gidd_steps(calls, "ours")) == pytest.approx(ours, abs=5e-5)
    assert distance(gidd_steps(calls, "unweighted")) == pytest.approx(unweighted, abs=5e-3)
    for number in (theirs, ours, unweighted):
        assert str(number) in text()


def test_a_step_of_gidd_is_another():
    apart = []
    for theirs, ours in zip(gidd_steps(100, "theirs"), gidd_steps(100, "ours"), strict=True):
        np.testing.assert_allclose(theirs.sum(1), 1, rtol=0, atol=1e-12)
        apart.append(abs(theirs - ours / ours.sum(1, keepdims=True)).sum(1).max() / 2)
    assert apart[49] == pytest.approx(0.004, abs=5e-4)
    assert max(apart) == apart[1] == pytest.approx(0.21, abs=5e-3)


def revealing_calls(rng, rows, tokens, calls, reveal=None):
    """When each token is revealed, (rows, tokens), from 0; by the chain unless by `reveal`."""
    alphas, gammas = schedules.log_linear(calls, eps=0)
    scheduler = VQDiffusionScheduler(3 + 1, alphas_cumprod=alphas, gammas_cumprod=gammas)
    log_p = np.full((rows, 3, tokens), -math.log(3))
    sample, when = np.full((rows, tokens), 3), np.zeros((rows, tokens), int)
    for t in scheduler.timesteps.tolist():
        before = sample
        if reveal:
            sample = reveal(scheduler, log_p, t, sample, count=tokens // calls)
        else:
            sample = scheduler.step(log_p, t, sample, rng).prev_sample
        kept = before != 3
        np.testing.assert_array_equal(sample[kept], before[kept])
        when[~kept & (sample != 3)] = calls - 1 - t
    assert (sample != 3).all()
    return when


def check_share(found, probability):
    """Chi-square, with a false alarm in 10^6 runs."""
    counts = [found.sum(), (~found).sum()]
    assert chi_square_p_value(counts, [probability, 1 - probability]) > 1e-6


def test_llada_reveals_fixed_counts_and_the_chain_does_not():
    """Chi-square of 22 cases, each with a false alarm in 10^6 runs."""
    rows, tokens, calls = 20_000, 8, 4
    chain = revealing_calls(np.random.default_rng(1), rows, tokens, calls)
    fixed = revealing_calls(np.random.default_rng(2), rows, tokens, calls, page()["reveal"])
    for when in (chain, fixed):
        for token in range(tokens):
            counts = np.bincount(when[:, token], minlength=calls)
            assert chi_square_p_value(counts, np.full(calls, 1 / calls)) > 1e-6
    assert all(((fixed == call).sum(1) == tokens // calls).all() for call in range(calls))
    binomial = [math.comb(tokens, n) * 0.25**n * 0.75 ** (tokens - n) for n in range(tokens + 1)]
    for call in range(calls):
        counts = np.bincount((chain == call).sum(1), minlength=tokens + 1)
        assert chi_square_p_value(counts, binomial) > 1e-6
    check_share(chain[:, 2] == chain[:, 5], 1 / calls)
    check_share(fixed[:, 2] == fixed[:, 5], (tokens / calls - 1) / (tokens - 1))


def test_calls_that_reveal_nothing():
    """(1 - 1/n)^n of n tokens in n calls; two chi-squares, a false alarm in 10^6 runs each."""
    for calls in (8, 32):
        when = revealing_calls(np.random.default_rng(3), 4000, calls, calls)
        check_share((when == 1).any(1), 1 - (1 - 1 / calls) ** calls)
        check_share((when == calls - 1).any(1), 1 - (1 - 1 / calls) ** calls)
    assert round(100 * (1 - 1 / 128) ** 128) == 37
