"""The orders of other papers as these write them, on the four pixels of unmask_laws.py, in float64.

Each function gives the law that the paper's chain ends in, (K,) * N, with the exact denoiser.
Nothing here comes from the package.
"""

import math

import numpy as np
from unmask_laws import K, N, chain, choices, draws


def masked_of(state):
    return [pixel for pixel in range(N) if state[pixel] == K]


def with_tokens(state, tokens):
    after = list(state)
    for pixel, token in tokens.items():
        after[pixel] = token
    return tuple(after)


def draw_at(state, p, pixels):
    """All ways to draw tokens from p at these pixels alone."""
    hidden = tuple(K if pixel in pixels else 0 for pixel in range(N))
    for share, drawn in draws(hidden, p):
        yield share, with_tokens(state, drawn)


def one_by_one(weights, count):
    """Ordered choices of `count` pixels, without replacement, in proportion to the weights."""
    if count == 0:
        yield 1.0, ()
        return
    total = sum(weights.values())
    for pixel, weight in weights.items():
        rest = {other: w for other, w in weights.items() if other != pixel}
        for share, others in one_by_one(rest, count - 1):
            yield weight / total * share, (pixel, *others)


def purity_prior(counts, r, over_all=False):
    """Tang et al. 2022: `counts` of pixels in turn; purity over the largest of the masked pixels,
    or of all as their code has it."""

    def outcomes(call, state, p):
        masked = masked_of(state)
        purity = {pixel: p[:, pixel].max() for pixel in (range(N) if over_all else masked)}
        largest = max(purity.values())
        sharper = np.stack(
            [p[:, pixel] ** (1 + r * purity.get(pixel, 0) / largest) for pixel in range(N)], axis=1
        )
        sharper /= sharper.sum(0)
        weights = {pixel: purity[pixel] for pixel in masked}
        for share, pixels in one_by_one(weights, counts[call]):
            for chance, after in draw_at(state, sharper, pixels):
                yield share * chance, after

    return chain(outcomes, len(counts))


def random_order(counts):
    """High-quality inference alone: any pixels alike."""

    def outcomes(call, state, p):
        for share, pixels in one_by_one(dict.fromkeys(masked_of(state), 1.0), counts[call]):
            for chance, after in draw_at(state, p, pixels):
                yield share * chance, after

    return chain(outcomes, len(counts))


def maskgit(calls, choice_temperature):
    """Chang et al. 2022: all are drawn, those of the lowest noisy confidence masked again."""

    def outcomes(call, state, p):
        masked = masked_of(state)
        ratio = (call + 1) / calls
        again = max(1, min(len(masked) - 1, math.floor(N * math.cos(math.pi / 2 * ratio))))
        kept = len(masked) - (again if call + 1 < calls else 0)
        for share, drawn in draws(state, p):
            if share == 0:
                continue
            confidence = {pixel: math.log(p[token, pixel]) for pixel, token in drawn.items()}
            temperature = choice_temperature * (1 - ratio)
            for chance, pixels in choices(confidence, kept, temperature):
                yield share * chance, with_tokens(state, {n: drawn[n] for n in pixels})

    return chain(outcomes, calls)


def argmax_at(state, p, pixels):
    return with_tokens(state, {pixel: int(p[:, pixel].argmax()) for pixel in pixels})


def by_confidence(p, pixels):
    return sorted(pixels, key=lambda pixel: -p[:, pixel].max())


def low_confidence(counts, blocks=None):
    """Nie et al. 2025: the argmax everywhere, the most confident stay; in blocks of their own."""

    def outcomes(call, state, p):
        allowed = [n for n in masked_of(state) if blocks is None or n in blocks[call]]
        yield 1.0, argmax_at(state, p, by_confidence(p, allowed)[: counts[call]])

    return chain(outcomes, len(counts))


def random_argmax(counts):
    def outcomes(call, state, p):
        for share, pixels in one_by_one(dict.fromkeys(masked_of(state), 1.0), counts[call]):
            yield share, argmax_at(state, p, pixels)

    return chain(outcomes, len(counts))


def above_threshold(threshold):
    """Wu et al. 2025: the most confident, and all others that are not below the threshold."""

    def outcomes(call, state, p):
        masked = by_confidence(p, masked_of(state))
        kept = masked[:1] + [n for n in masked[1:] if not p[:, n].max() < threshold]
        yield 1.0, argmax_at(state, p, kept)

    return chain(outcomes, N)


def entropy_bounded(gamma):
    """Ben-Hamu et al. 2025: sorted by entropy, the largest k of Σ H - max H <= γ."""

    def outcomes(call, state, p):
        masked = masked_of(state)
        entropy = {n: -sum(q * math.log(q) for q in p[:, n] if q > 0) for n in masked}
        rising = sorted(masked, key=entropy.get)
        k = 0
        for size in range(1, len(rising) + 1):
            part = [entropy[n] for n in rising[:size]]
            if sum(part) - max(part) <= gamma:
                k = size
        yield from draw_at(state, p, rising[:k])

    return chain(outcomes, N)


def margin_in_blocks(blocks):
    """One pixel a call, the largest margin of a block first, block after block."""

    def outcomes(call, state, p):
        block = next(one for one in blocks if any(state[n] == K for n in one))
        ranked = {n: np.sort(p[:, n]) for n in block if state[n] == K}
        pixel = max(ranked, key=lambda n: ranked[n][-1] - ranked[n][-2])
        yield from draw_at(state, p, [pixel])

    return chain(outcomes, N)


# ---- ReMDM, arXiv 2503.00307 ---------------------------------------------------------------------


def remdm(p, x, alpha_t, alpha_s, sigma):
    """Eq. 7: the law of one pixel at s, (K + 1,), from what it shows at t."""
    k = len(p)
    if x != k:
        return (1 - sigma) * np.eye(k + 1)[x] + sigma * np.eye(k + 1)[k]
    reveal = (alpha_s - (1 - sigma) * alpha_t) / (1 - alpha_t)
    return np.append(reveal * p, (1 - alpha_s - sigma * alpha_t) / (1 - alpha_t))


def remdm_sigma(strategy, eta, alpha_t, alpha_s):
    """What a token is masked again with."""
    largest = min(1.0, (1 - alpha_s) / alpha_t) if alpha_t > 0 else 1.0
    return {"cap": min(eta, largest), "rescale": eta * largest}[strategy]


def remdm_loop_alpha(u, on, off, height):
    """α at time u, which stands still from `on` to `off`."""
    if u > on:
        return (1 - u) * height / (1 - on)
    return height if u > off else 1 - u * (1 - height) / off
