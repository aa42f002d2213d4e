"""The training loss by its definition, in float64, and cases to compare it on.

Nothing here is of the closed form that is tested: q(x_s | x_t, x_0) comes from Bayes' rule, eq. 5
of Gu et al. 2021, and p(x_s | x_t) is its mean under the model's prediction of x_0. Derivatives are
those of complex steps: with h = 1e-30, Im f(z + ihv)/h is the derivative along v to the last digit.
"""

import numpy as np

from vqdiffusion import VQDiffusionScheduler

# t and s: single steps, the last one, and strides.
PAIRS = [(99, 98), (50, 49), (7, 6), (1, 0), (0, -1), (99, 49), (60, 3), (30, -1)]


def _line(first, last):
    return first + np.arange(100) / 99 * (last - first)


TABLES = {
    "default": (_line(0.99999, 9e-6), _line(9e-6, 0.99999)),
    "heavy": (_line(0.99, 1e-3), _line(1e-3, 0.5)),
    "absorbing": (_line(0.99, 1e-3), 1 - _line(0.99, 1e-3)),
    "uniform": (_line(0.99, 1e-5), np.zeros(100)),
}


def level(name, classes, t):
    """ᾱ, β̄ and γ̄ at t."""
    if t < 0:
        return 1.0, 0.0, 0.0
    alpha, gamma = (float(table[t]) for table in TABLES[name])
    rest = 1 - alpha - gamma
    return alpha, rest / classes if rest > 2**-50 else 0.0, gamma


def _log_add(a, b):
    """log(e^a + e^b) of float or complex arrays."""
    peak = np.maximum(np.real(a), np.real(b))
    peak = np.where(np.isneginf(peak), 0, peak)
    return peak + np.log(np.exp(a - peak) + np.exp(b - peak))


def _log_sum(a):
    peak = np.real(a).max(0)
    return peak + np.log(np.exp(a - peak).sum(0))


def losses(name, z, x_0, x_t, t, s):
    """L_t and -log p(x_0) of the pixels of one row, from float or complex logits (K, N), and 0
    where they are carried over.
    """
    classes, pixels = z.shape
    (alpha_t, beta_t, gamma_t), (alpha_s, beta_s, gamma_s) = (
        level(name, classes, k) for k in (t, s)
    )
    log_p = z - _log_sum(z)
    entropy = -log_p[x_0, np.arange(pixels)]
    masked = x_t == classes
    counts = masked | (beta_t > 0)
    if s < 0:
        return counts * entropy, counts * entropy
    alpha = alpha_t / alpha_s
    # The textbook (1 - α - γ)/K loses six digits.
    beta = max(0.0, (beta_t - alpha * beta_s) / (1 - gamma_s))
    gamma = (gamma_t - gamma_s) / (1 - gamma_s)
    shown = np.arange(classes)[:, None] == x_t
    of_x_s = np.where(masked, gamma, np.where(shown, alpha + beta, beta))  # q(x_t | x_s = k)
    of_x_0 = np.where(masked, gamma_t, np.where(shown, alpha_t + beta_t, beta_t))
    of_x_0 = np.where(counts, of_x_0, 1.0)  # where nothing is to be found out

    def log_posterior(log_p):
        log_w = log_p - np.log(of_x_0)
        total = _log_sum(log_w)
        log_q = np.log(of_x_s) + _log_add(np.log(alpha_s) + log_w, np.log(beta_s) + total)
        return np.vstack((log_q, np.where(masked, np.log(gamma_s) + total, -np.inf)))

    with np.errstate(all="ignore"):  # log 0 and what follows from it
        is_x_0 = np.arange(classes)[:, None] == x_0
        truth = log_posterior(np.where(is_x_0, 0.0, -np.inf))
        difference = truth - log_posterior(log_p)
    terms = np.where(np.exp(truth) > 0, np.exp(truth) * np.where(truth > -700, difference, 0), 0)
    return np.where(counts, terms.sum(0), 0), counts * entropy


def bound(
    name, z, x_0, x_t, pairs, probability=None, mask_weight=(1, 1), auxiliary_weight=0.0,
    adaptive_auxiliary=True, pixel_weights=None,
):  # fmt: skip
    """The loss and the sums for each row."""
    batch, classes, pixels = z.shape
    steps, loss, per_row = len(TABLES[name][0]), 0.0, []
    for row, (t, s) in enumerate(pairs):
        of_row, entropy = losses(name, z[row], x_0[row], x_t[row], t, s)
        weight = np.where(x_t[row] == classes, *mask_weight) if s >= 0 else np.ones(pixels)
        if pixel_weights is not None:
            weight = weight * pixel_weights[row]
        factor = auxiliary_weight * (2 - t / steps if adaptive_auxiliary else 1)
        p = 1 / steps if probability is None else np.broadcast_to(probability, batch)[row]
        per_row.append((weight * of_row).sum())
        loss = loss + (per_row[-1] + factor * (weight * entropy).sum()) / p / (batch * pixels)
    return loss, np.array(per_row)


def slope(name, z, direction, x_0, x_t, pairs, **options):
    """The derivative of the loss along a direction."""
    return bound(name, z + 1e-30j * direction, x_0, x_t, pairs, **options)[0].imag / 1e-30


def scheduler_of(name, classes, scheduler_class=VQDiffusionScheduler):
    alphas, gammas = TABLES[name]
    return scheduler_class(classes + 1, alphas_cumprod=alphas, gammas_cumprod=gammas)


def case(classes, name="default", pairs=PAIRS, pixels=19, sharpness=4.0, seed=0):
    """Logits that lean towards x_0, x_0, and x_t: pixels that are masked, kept, and replaced."""
    rng = np.random.default_rng(seed)
    x_0 = rng.integers(0, classes, (len(pairs), pixels))
    x_t = scheduler_of(name, classes).add_noise(x_0, [t for t, _ in pairs], rng)
    x_t[:, 1::5] = rng.integers(0, classes, x_t[:, 1::5].shape)
    if name != "uniform":
        x_t[:, ::4] = classes
    z = rng.normal(0, sharpness, (len(pairs), classes, pixels))
    np.put_along_axis(z, x_0[:, None], z.max(1, keepdims=True) - 1.0, 1)
    return z, x_0, x_t


def call(scheduler, z, x_0, x_t, pairs, **options):
    t, s = np.array(pairs).T
    return scheduler.loss(z, x_0, x_t, t, previous_timesteps=s, **options)


def turned(z):
    """The same array (B, K, N) in memory of the axes (B, N, K)."""
    return np.ascontiguousarray(z.swapaxes(1, 2)).swapaxes(1, 2)
