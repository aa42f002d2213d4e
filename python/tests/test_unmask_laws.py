"""What chains of `unmask` end in, on four pixels of a known law, by enumeration."""

import itertools

import numpy as np
import pytest
from unmask_laws import K, N, chain, choices, conditionals, draws, order_law, total_variation

from vqdiffusion import Unmask, VQDiffusionScheduler
from vqdiffusion.revealing import reveal_given

GAMMA = np.arange(1, N + 1) / N
SCHEDULER = VQDiffusionScheduler(K + 1, alphas_cumprod=1 - GAMMA, gammas_cumprod=GAMMA)


def uniforms_that_draw(state, p, drawn):
    """The middle of the cell of each pixel's token."""
    u = np.zeros((1, N))
    for pixel, k in drawn.items():
        below = p[:k, pixel].sum()
        u[0, pixel] = below + p[k, pixel] / 2
    return u


def native_outcomes(unmask, calls):
    """The outcomes of the scheduler's own step: one for each way to draw the tokens, with its
    probability; the noise of the order, where there is any, by the formula of its law."""
    per_call = N // calls

    def outcomes(call, state, p):
        t = N - 1 - call * per_call
        with np.errstate(divide="ignore"):
            log_p = np.log(p)[None]
        for share, drawn in draws(state, p):
            if share == 0:
                continue
            u = uniforms_that_draw(state, p, drawn)
            order = np.full((1, N), 0.5)
            chain_ = SCHEDULER._chain
            sample = np.array([state])
            out = reveal_given(chain_, t, t - per_call, log_p, sample, u, order, None, None, unmask)
            after = out.prev_sample[0]
            assert out.revealed.sum() == per_call
            for pixel in np.flatnonzero(out.revealed[0]):
                assert after[pixel] == drawn[pixel]
            if not unmask._has_noise:
                yield share, tuple(after.tolist())
                continue
            keys = {pixel: out.scores[0, pixel] for pixel in drawn}
            if unmask.by == "random":
                keys = dict.fromkeys(drawn, 0.0)
            for chance, pixels in choices(keys, per_call, 1):
                following = list(state)
                for pixel in pixels:
                    following[pixel] = drawn[pixel]
                yield share * chance, tuple(following)

    return outcomes


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("calls", [4, 2])
@pytest.mark.parametrize("by", ["random", "purity", "margin", "entropy", "confidence"])
def test_chains_end_in_the_law_of_the_formula(by, calls, temperature):
    unmask = Unmask(by=by, temperature=temperature)
    law = chain(native_outcomes(unmask, calls), calls)
    np.testing.assert_allclose(law, order_law(by, temperature, calls), atol=1e-12)


# The share of samples that are wrong: one pixel a call is exact but for the confidence of the
# token, which biases; margin and entropy are exact for two of two independent pairs too.
@pytest.mark.parametrize(
    ("by", "temperature", "calls", "expected"),
    [
        ("random", 0, 4, 0.0),
        ("purity", 0, 4, 0.0),
        ("margin", 0, 4, 0.0),
        ("margin", 1, 4, 0.0),
        ("entropy", 0, 4, 0.0),
        ("confidence", 0, 4, 0.4612),
        ("confidence", 1, 4, 0.1601),
        ("margin", 0, 2, 0.0),
        ("entropy", 0, 2, 0.0),
        ("confidence", 0, 2, 0.3447),
        ("random", 0, 2, 0.1366),
    ],
)
def test_total_variation(by, temperature, calls, expected):
    law = chain(native_outcomes(Unmask(by=by, temperature=temperature), calls), calls)
    assert total_variation(law) == pytest.approx(expected, abs=5e-5)


def test_one_pixel_a_call_is_drawn_in_proportion(rng):
    """χ² of the order at temperature 1, rare scores included."""
    from chi_square import chi_square_p_value

    p = np.array([[0.9, 0.6, 0.37, 0.334], [0.06, 0.3, 0.33, 0.333], [0.04, 0.1, 0.3, 0.333]])
    p = np.log(p / p.sum(0))
    rows = 60_000
    log_p = np.broadcast_to(p, (rows, K, N))
    sample = np.full((rows, N), K)
    for by in ("purity", "margin", "entropy"):
        unmask = Unmask(by=by, temperature=1, count=2)
        out = SCHEDULER.step(log_p, 3, sample, rng, unmask=unmask)
        keys = dict(enumerate(out.scores[0].tolist()))
        probability = {}
        for share, order in choices(keys, 2, 1):
            pair = tuple(sorted(order))
            probability[pair] = probability.get(pair, 0.0) + share
        pairs = list(itertools.combinations(range(N), 2))
        at = np.argsort(~out.revealed, axis=1, kind="stable")[:, :2]
        counts = [int(((at[:, 0] == a) & (at[:, 1] == b)).sum()) for a, b in pairs]
        assert chi_square_p_value(counts, [probability[pair] for pair in pairs]) > 1e-4, by


def test_random_order_is_the_scheduler_s_chain_at_one_pixel_a_call():
    """Both are exact with the exact denoiser: the ancestral chain with a call for each pixel."""
    law = chain(native_outcomes(Unmask(by="random"), 4), 4)
    assert total_variation(law) < 1e-12
    assert conditionals((K,) * N).shape == (K, N)
