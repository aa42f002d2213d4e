"""The readable twin of the kernels: each formula of docs/theory.md once, in float64 or wider.

Nothing here comes from the package and nothing is fast. There are two independent ways to the same
numbers, and test_reference.py holds them against each other:

- closed forms, one function each, as the Swift core evaluates them: `transition`, `posterior`,
  `needs_column`, `inverse_cdf`, `gumbel_max`, `guide`, `truncate`;
- `Reference`, the (K + 1) x (K + 1) matrices of eq. 7, multiplied out, and Bayes' rule. It is the
  truth for small K. `LogReference` says the same in logarithms, row by row, for large K.

Equation numbers are those of arXiv 2111.14822. Names follow it: K classes with indices 0 … K - 1,
the mask has index K, t is the noisier time, s < t the one a step leads to, s = -1 is clean data.
`p` is one column of model probabilities, (K,); `log_p` a model output, (B, K, N).
"""

from math import erfc, exp, sqrt
from math import gamma as gamma_function
from typing import NamedTuple

import numpy as np

LOG_ZERO = np.log(1e-30)  # what one-hot logarithms of this family hold for log 0
DEFAULTS = {
    "alpha_cum_start": 0.99999,
    "alpha_cum_end": 9e-6,
    "gamma_cum_start": 9e-6,
    "gamma_cum_end": 0.99999,
}


# ---- The schedule and the transitions ------------------------------------------------------------


class Rates(NamedTuple):
    """An unmasked pixel keeps its class with probability alpha + beta, becomes any one other class
    with beta, and the mask with gamma. A masked pixel stays masked."""

    alpha: float
    beta: float
    gamma: float


CLEAN = Rates(1.0, 0.0, 0.0)  # s = -1


def linear(start, end, steps):
    """A cumulative schedule going linearly from `start` to `end`."""
    return np.arange(steps) / (steps - 1) * (end - start) + start


def transition(earlier, now):
    """Eq. 7 for any s < t: the rates of q(x_t | x_s) from the cumulative rates at s and t.

    Beta comes from the cumulative betas: (1 - alpha - gamma)/K subtracts numbers near one.
    """
    alpha = now.alpha / earlier.alpha
    beta = (now.beta - alpha * earlier.beta) / (1 - earlier.gamma)
    gamma = (now.gamma - earlier.gamma) / (1 - earlier.gamma)
    return Rates(alpha, beta, gamma)


def transition_matrix(rates, classes):
    """Eq. 7, or eq. 8 for cumulative rates: (K + 1, K + 1), index [to, from]."""
    matrix = np.full((classes + 1, classes + 1), rates.beta, np.longdouble)
    matrix[np.arange(classes), np.arange(classes)] = rates.alpha + rates.beta
    matrix[classes, :classes] = rates.gamma
    matrix[:classes, classes] = 0
    matrix[classes, classes] = 1
    return matrix


# ---- The posterior -------------------------------------------------------------------------------


def posterior(p, x, earlier, now):
    """Eq. 11 in closed form: Σ_j q(x_s | x_t = x, x_0 = j) p_j for one pixel, (K + 1,).

    Sums to Σ p, whatever that is.
    """
    classes, step = len(p), transition(earlier, now)
    out = np.zeros(classes + 1)
    if x == classes:
        mass = p.sum() / now.gamma
        out[:classes] = step.gamma * (earlier.alpha * p / now.gamma + earlier.beta * mass)
        out[classes] = earlier.gamma * mass
    elif now.beta == 0:  # absorbing: an unmasked pixel has never changed
        out[x] = p.sum()
    else:
        keep = now.alpha + now.beta
        mass = (p.sum() - p[x]) / now.beta + p[x] / keep
        out[:classes] = step.beta * (earlier.alpha * p / now.beta + earlier.beta * mass)
        out[x] = (step.alpha + step.beta) * (earlier.alpha * p[x] / keep + earlier.beta * mass)
    return out


# ---- Drawing -------------------------------------------------------------------------------------


def gumbel(uniforms):
    """Gumbel noise, with diffusers' guards against log 0."""
    return -np.log(-np.log(uniforms + 1e-30) + 1e-30)


def gumbel_max(log_probabilities, uniforms):
    """A class for each pixel, (B, N), of log-probabilities and uniforms of one shape."""
    return (log_probabilities + gumbel(uniforms)).argmax(axis=1)


def inverse_cdf(p, x, u, earlier, now):
    """The class at s of one pixel, from one uniform."""
    classes, step = len(p), transition(earlier, now)
    p = p / p.sum()
    if x == classes:
        stay = earlier.gamma / now.gamma
        if u < stay:
            return classes
        v = (u - stay) / (1 - stay)
        anywhere = classes * earlier.beta / (1 - earlier.gamma)  # a class that noise has replaced
        if v < anywhere:
            return int(v * classes / anywhere)
        return invert(p, (v - anywhere) / (1 - anywhere))
    if now.beta == 0:
        return x
    keep = now.alpha + now.beta
    mass = (1 - p[x]) / now.beta + p[x] / keep
    v = u - (step.alpha + step.beta) * (earlier.alpha * p[x] / keep + earlier.beta * mass)
    if v < 0:
        return x
    each = step.beta * earlier.beta * mass
    if v < (classes - 1) * each:
        k = int(v / each)
        return k + (k >= x)
    others = np.where(np.arange(classes) == x, 0, p)
    return invert(others, (v - (classes - 1) * each) * now.beta / (step.beta * earlier.alpha))


def invert(p, mass):
    """The first class up to which more than `mass` of p lies; the last possible one at the end."""
    return min(int(np.searchsorted(np.cumsum(p), mass, side="right")), int(np.flatnonzero(p)[-1]))


def needs_column(x, u, classes, earlier, now):
    """Whether `inverse_cdf` reads p with this uniform; where not, every p leads to one class."""
    step = transition(earlier, now)
    if x == classes:
        stay = earlier.gamma / now.gamma
        return u >= stay and (u - stay) / (1 - stay) >= classes * earlier.beta / (1 - earlier.gamma)
    return now.beta > 0 and u >= (step.alpha + step.beta) * earlier.beta / now.beta


# ---- Guidance and truncation ---------------------------------------------------------------------


def guide(uncond, cond, scale):
    """Classifier-free guidance of log-probabilities, (B, K, N), normalised again."""
    return log_softmax(uncond + scale * (cond - uncond))


def truncate(log_p, rate):
    """Keeps the classes before which less than `rate` of probability lies, in falling order.

    The largest is always kept, the others become -inf. Not normalised again.
    """
    order = np.argsort(-log_p, axis=1, kind="stable")
    log_p = np.take_along_axis(log_p, order, axis=1)
    mass = np.exp(log_p.astype(np.float64))
    keep = np.cumsum(mass, axis=1) - mass < rate
    keep[:, 0] = True
    out = np.empty_like(log_p)
    np.put_along_axis(out, order, np.where(keep, log_p, -np.inf), axis=1)
    return out


def log_softmax(logits):
    """Normalises columns, (B, K, N)."""
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


# ---- The same by explicit matrices and Bayes' rule -----------------------------------------------


class Reference:
    """A whole schedule, and its posterior by Bayes' rule on explicit matrices.

    `alpha`, `beta`, `gamma` are the single steps t - 1 → t; `alpha_bar`, `beta_bar`, `gamma_bar`
    the cumulative ones, with an entry for clean data at the end, so that index -1 finds it.
    """

    def __init__(
        self,
        num_vec_classes,
        num_train_timesteps=100,
        alpha_cum_start=0.99999,
        alpha_cum_end=9e-6,
        gamma_cum_start=9e-6,
        gamma_cum_end=0.99999,
    ):
        self.classes = num_vec_classes - 1
        self.steps = num_train_timesteps
        alpha = linear(alpha_cum_start, alpha_cum_end, num_train_timesteps).astype(np.longdouble)
        gamma = linear(gamma_cum_start, gamma_cum_end, num_train_timesteps).astype(np.longdouble)
        self.alpha_bar = np.append(alpha, np.longdouble(1))
        self.gamma_bar = np.append(gamma, np.longdouble(0))
        self.beta_bar = np.maximum((1 - self.alpha_bar - self.gamma_bar) / self.classes, 0)
        before = np.arange(num_train_timesteps) - 1
        self.alpha = alpha / self.alpha_bar[before]
        self.gamma = 1 - (1 - gamma) / (1 - self.gamma_bar[before])
        self.beta = np.maximum((1 - self.alpha - self.gamma) / self.classes, 0)

    def level(self, t):
        """The cumulative rates at t, in float64: what the closed forms above take."""
        return Rates(*(float(bar[t]) for bar in (self.alpha_bar, self.beta_bar, self.gamma_bar)))

    def single(self, t):
        """Eq. 7: q(x_t | x_{t-1})."""
        return transition_matrix(Rates(self.alpha[t], self.beta[t], self.gamma[t]), self.classes)

    def cumulative(self, t):
        """Eq. 8: q(x_t | x_0), in closed form."""
        rates = Rates(self.alpha_bar[t], self.beta_bar[t], self.gamma_bar[t])
        return transition_matrix(rates, self.classes)

    def product(self, t, s=-1):
        """q(x_t | x_s) as the product of the single steps after s up to t."""
        matrix = np.eye(self.classes + 1, dtype=np.longdouble)
        for one in range(s + 1, t + 1):
            matrix = self.single(one) @ matrix
        return matrix

    def posterior(self, log_p, x_t, t, s=None):
        """Eq. 11 by Bayes' rule: Σ_j q(x_s | x_t, x_0 = j) p_j as probabilities, (B, K + 1, N).

        s is t - 1 where none is given.
        """
        k, s = self.classes, t - 1 if s is None else s
        p = np.exp(log_p.astype(np.longdouble))
        forward, before, now = self.product(t, s), self.cumulative(s), self.cumulative(t)
        out = np.zeros((p.shape[0], k + 1, p.shape[2]), np.longdouble)
        for b, n in np.ndindex(log_p.shape[0], log_p.shape[2]):
            x = x_t[b, n]
            weights = p[b, :, n] / now[x, :k]
            out[b, :, n] = forward[x, :] * (before[:, :k] @ weights)
        return out

    def step_probabilities(self, log_p, x_t, t):
        """What `step` draws from, normalised: (B, K + 1, N).

        At t = 0 it is the model output, but where β̄_0 = 0 a pixel that shows a class keeps it.
        """
        if t == 0:
            p = np.exp(log_p.astype(np.longdouble))
            p = np.concatenate([p, np.zeros_like(p[:, :1])], axis=1)
            if self.level(0)[1] == 0:
                own = np.arange(self.classes + 1)[:, None] == x_t[:, None]
                p = np.where((x_t < self.classes)[:, None], own, p)
        else:
            p = self.posterior(log_p, x_t, t)
        return (p / p.sum(axis=1, keepdims=True)).astype(np.float64)

    def step_inverse_cdf(self, log_p, x_t, t, uniforms, s=None):
        """The tokens of `step` with sampling_method="inverse_cdf", (B, N), from uniforms (B, N)."""
        earlier, now = self.level(t - 1 if s is None else s), self.level(t)
        out = np.empty(uniforms.shape, np.int64)
        for b, n in np.ndindex(out.shape):
            p, u = np.exp(log_p[b, :, n].astype(np.float64)), uniforms[b, n]
            if t or (now[1] == 0 and x_t[b, n] < self.classes):
                out[b, n] = inverse_cdf(p, x_t[b, n], u, earlier, now)
            else:
                out[b, n] = invert(p / p.sum(), u)
        return out


class LogReference(Reference):
    """The same in logarithms and float64, with log 1e-30 for one-hot zeros, for any K."""

    def log_row(self, x, t, cumulative):
        """log q(x_t = x | j) for each class j, the mask included: a row of eq. 7, or of eq. 8."""
        k = self.classes
        if cumulative:
            rates = self.alpha_bar[t], self.beta_bar[t], self.gamma_bar[t]
        else:
            rates = self.alpha[t], self.beta[t], self.gamma[t]
        with np.errstate(divide="ignore"):
            same, other, mask = (
                float(np.log(rate)) for rate in (rates[0] + rates[1], rates[1], rates[2])
            )
        if x == k:
            return np.append(np.full(k, mask), 0.0)
        row = np.append(np.full(k, other), LOG_ZERO)
        row[x] = same
        return row

    def log_posterior(self, log_p, x_t, t):
        """log Σ_j q(x_{t-1} | x_t, x_0 = j) p_j, float64, (B, K + 1, N)."""
        k = self.classes
        out = np.empty((log_p.shape[0], k + 1, log_p.shape[2]))
        with np.errstate(divide="ignore"):
            log_alpha, log_beta, log_gamma = (
                float(np.log(table[t - 1]))
                for table in (self.alpha_bar, self.beta_bar, self.gamma_bar)
            )
        for b, n in np.ndindex(log_p.shape[0], log_p.shape[2]):
            x = x_t[b, n]
            weights = log_p[b, :, n].astype(np.float64) - self.log_row(x, t, cumulative=True)[:k]
            total = np.logaddexp.reduce(weights)
            before = np.logaddexp(weights + log_alpha, total + log_beta)
            before = np.append(before, total + log_gamma)
            out[b, :, n] = before + self.log_row(x, t, cumulative=False)
        return out


# ---- Inputs and a statistical test, shared by the tests ------------------------------------------


def random_log_p(rng, batch, classes, pixels, scale=3.0, dtype=np.float32):
    """Log-probabilities from nearly flat to peaked, floored at -70 as pipelines do."""
    logits = rng.normal(size=(batch, classes, pixels)) * scale
    logits *= rng.uniform(size=(batch, 1, pixels))
    return np.maximum(log_softmax(logits), -70).astype(dtype)


def random_classes(rng, batch, classes, pixels, mask_rate=0.5, dtype=np.int64):
    """Classes 0 … K, masked at the given rate."""
    x = rng.integers(0, classes, (batch, pixels))
    return np.where(rng.uniform(size=x.shape) < mask_rate, classes, x).astype(dtype)


def chi_square_p_value(counts, probabilities):
    """The probability of a chi-square statistic as large as that of the counts.

    Cells with few expected counts are pooled. A count where the probability is zero gives 0.
    """
    counts, probabilities = np.asarray(counts, float), np.asarray(probabilities, float)
    if counts[probabilities == 0].any():
        return 0.0
    expected = probabilities / probabilities.sum() * counts.sum()
    rare = expected < 10
    observed = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    if (
        expected[-1] < 10
    ):  # too few even when pooled: the last cell joins the smallest of the others
        smallest = np.argmin(expected[:-1])
        observed[smallest] += observed[-1]
        expected[smallest] += expected[-1]
        observed, expected = observed[:-1], expected[:-1]
    return chi_square_tail(((observed - expected) ** 2 / expected).sum(), len(observed) - 1)


def chi_square_tail(statistic, freedom):
    """P(χ² > statistic), by the recurrence that raises the degrees of freedom by two."""
    if freedom == 0:
        return 1.0
    half = statistic / 2
    tail = erfc(sqrt(half)) if freedom % 2 else exp(-half)
    for d in range(2 - freedom % 2, freedom, 2):
        tail += exp(d / 2 * np.log(half) - half) / gamma_function(d / 2 + 1) if half > 0 else 0.0
    return min(tail, 1.0)
