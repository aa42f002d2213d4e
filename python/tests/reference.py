"""The readable twin of the kernels: each formula of docs/theory.md once, in float64 or wider.

Nothing here comes from the package and nothing is fast. There are two independent ways to the same
numbers, and test_reference.py holds them against each other and the kernels against them:

- closed forms, one function each, as the Swift core evaluates them: `transition`, `add_noise`,
  `posterior`, `needs_column`, `inverse_cdf`, `gumbel_max`, `guide`, `truncate`;
- `Reference`, the (K + 1) x (K + 1) matrices of eq. 7, multiplied out, and Bayes' rule. It is the
  truth for small K. `LogReference` says the same in logarithms, row by row, for large K.

`row_uniforms` draws the uniforms of RowKeys with NumPy's Philox.

Equation numbers are those of arXiv 2111.14822. Names follow it:

    K             the number of classes, 0 … K - 1; the mask has index K
    t, s          the time of the noisier grid, and s < t, to which a step leads; s = -1 is clean
                  data, and the s of the paper is t - 1
    now, earlier  the cumulative rates at t and at s, of type `Rates`
    p, x, u       one pixel: its column of model probabilities (K,), what it shows at t, a uniform
    log_p, x_t    a batch: the model output (B, K, N) and the grid (B, N)
"""

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
    unmasked = 1 - earlier.gamma
    alpha = now.alpha / earlier.alpha if earlier.alpha > 0 else 0.0
    beta = max((now.beta - alpha * earlier.beta) / unmasked, 0.0)
    gamma = (now.gamma - earlier.gamma) / unmasked
    return Rates(alpha, beta, gamma)


def transition_matrix(rates, classes):
    """q(to | from) as a matrix (K + 1, K + 1), index [to, from]: eq. 7, or eq. 8 for cumulative
    rates."""
    matrix = np.full((classes + 1, classes + 1), rates.beta, np.longdouble)
    matrix[np.arange(classes), np.arange(classes)] = rates.alpha + rates.beta
    matrix[classes, :classes] = rates.gamma
    matrix[:classes, classes] = 0
    matrix[classes, classes] = 1
    return matrix


# ---- The forward process -------------------------------------------------------------------------


def add_noise(x, u, classes, now, earlier=CLEAN):
    """Eq. 7: what a pixel that shows x at s shows at t, from one uniform; from clean data eq. 8.
    The mask comes first, then what noise has replaced, any class alike."""
    step = transition(earlier, now)
    if x == classes or u < step.gamma:
        return classes
    v = u - step.gamma
    return int(v / step.beta) if v < classes * step.beta else x


# ---- The posterior -------------------------------------------------------------------------------


def posterior(p, x, earlier, now):
    """Eq. 11 in closed form: Σ_j q(x_s | x_t = x, x_0 = j) p_j for one pixel, (K + 1,).

    Sums to Σ p, whatever that is. `mass` is the S of docs/theory.md.
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
    """A class for each pixel, (B, N): the largest noised log-probability, of equals the first.

    Log-probabilities and uniforms are of one shape, (B, K + 1, N), or (B, K, N) without the mask.
    """
    return (log_probabilities + gumbel(uniforms)).argmax(axis=1)


def inverse_cdf(p, x, u, earlier, now):
    """What one pixel shows at s, from one uniform: `posterior` laid along [0, 1), first what does
    not depend on p."""
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
    if now.beta == 0:  # absorbing
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


def guided(uncond, cond, scale, rate, floor):
    """What a step draws from under guidance and truncation; without `uncond` there is none."""
    log_p = cond if uncond is None else guide(uncond, cond, scale)
    return np.maximum(truncate(log_p, rate), floor)


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
        self.set_tables(
            num_vec_classes - 1,
            linear(alpha_cum_start, alpha_cum_end, num_train_timesteps),
            linear(gamma_cum_start, gamma_cum_end, num_train_timesteps),
        )

    @classmethod
    def of_tables(cls, classes, alpha_bar, gamma_bar):
        """The chain of any ᾱ_t and γ̄_t, (T,)."""
        reference = cls.__new__(cls)
        reference.set_tables(classes, alpha_bar, gamma_bar)
        return reference

    def set_tables(self, classes, alpha_bar, gamma_bar):
        self.classes, self.steps = classes, len(alpha_bar)
        self.alpha_bar = np.append(alpha_bar, 1).astype(np.longdouble)
        self.gamma_bar = np.append(gamma_bar, 0).astype(np.longdouble)
        self.beta_bar = np.maximum((1 - self.alpha_bar - self.gamma_bar) / classes, 0)
        last = np.arange(self.steps) - 1
        self.alpha = np.zeros(self.steps, np.longdouble)  # also where ᾱ is 0 at t - 1
        signal = self.alpha_bar[last]
        np.divide(self.alpha_bar[:-1], signal, out=self.alpha, where=signal > 0)
        self.gamma = 1 - (1 - self.gamma_bar[:-1]) / (1 - self.gamma_bar[last])
        self.beta = np.maximum((1 - self.alpha - self.gamma) / classes, 0)

    def level(self, t, dtype=float):
        """The cumulative rates at t: what the closed forms above take."""
        return Rates(*(dtype(bar[t]) for bar in (self.alpha_bar, self.beta_bar, self.gamma_bar)))

    def single(self, t):
        """Eq. 7: q(x_t | x_{t-1})."""
        return transition_matrix(Rates(self.alpha[t], self.beta[t], self.gamma[t]), self.classes)

    def cumulative(self, t):
        """Eq. 8: q(x_t | x_0), in closed form."""
        return transition_matrix(self.level(t, np.longdouble), self.classes)

    def product(self, t, s=-1):
        """q(x_t | x_s) as the product of the single steps after s up to t."""
        matrix = np.eye(self.classes + 1, dtype=np.longdouble)
        for one in range(s + 1, t + 1):
            matrix = self.single(one) @ matrix
        return matrix

    def posterior(self, log_p, x_t, t, s=None):
        """Eq. 11 by Bayes' rule: Σ_j q(x_s | x_t, x_0 = j) p_j as probabilities, (B, K + 1, N).

        Here and below s is t - 1 where none is given.
        """
        k, s = self.classes, previous(t, s)
        p = np.exp(log_p.astype(np.longdouble))
        forward, to_s, to_t = self.product(t, s), self.cumulative(s), self.cumulative(t)
        out = np.zeros((p.shape[0], k + 1, p.shape[2]), np.longdouble)
        for b, n in np.ndindex(log_p.shape[0], log_p.shape[2]):
            x = x_t[b, n]
            weights = p[b, :, n] / to_t[x, :k]
            out[b, :, n] = forward[x, :] * (to_s[:, :k] @ weights)
        return out

    def step_probabilities(self, log_p, x_t, t, s=None):
        """What a step draws from, normalised: (B, K + 1, N).

        In the last step it is the model output, but where β̄_t = 0 a pixel that shows a class keeps
        it.
        """
        if is_last(t, s):
            p = np.exp(log_p.astype(np.longdouble))
            p = np.concatenate([p, np.zeros_like(p[:, :1])], axis=1)
            if self.level(t).beta == 0:
                own = np.arange(self.classes + 1)[:, None] == x_t[:, None]
                p = np.where((x_t < self.classes)[:, None], own, p)
        else:
            p = self.posterior(log_p, x_t, t, s)
        return (p / p.sum(axis=1, keepdims=True)).astype(np.float64)

    def step_gumbel(self, log_p, x_t, t, uniforms, s=None):
        """The tokens of a step by Gumbel-max, (B, N), from uniforms (B, K + 1, N); in the last step
        (B, K, N), since the mask is no candidate."""
        p = self.step_probabilities(log_p, x_t, t, s)[:, : uniforms.shape[1]]
        with np.errstate(divide="ignore"):
            return gumbel_max(np.log(p), uniforms)

    def step_inverse_cdf(self, log_p, x_t, t, uniforms, s=None):
        """The tokens of a step by the inverse CDF, (B, N), from uniforms (B, N)."""
        earlier, now = self.level(previous(t, s)), self.level(t)
        out = np.empty(uniforms.shape, np.int64)
        for b, n in np.ndindex(out.shape):
            p, u = np.exp(log_p[b, :, n].astype(np.float64)), uniforms[b, n]
            if not is_last(t, s) or (now.beta == 0 and x_t[b, n] < self.classes):
                out[b, n] = inverse_cdf(p, x_t[b, n], u, earlier, now)
            else:
                out[b, n] = invert(p / p.sum(), u)
        return out


def previous(t, s=None):
    """The s that a step from t leads to: t - 1 where none is given."""
    return t - 1 if s is None else s


def is_last(t, s=None):
    """Whether a step draws from the model output as it is, and never the mask."""
    return previous(t, s) == -1


class LogReference(Reference):
    """The same in logarithms and float64, with log 1e-30 for one-hot zeros, for any K."""

    def log_posterior(self, log_p, x_t, t, s=None):
        """log Σ_j q(x_s | x_t, x_0 = j) p_j, float64, (B, K + 1, N)."""
        earlier, now = (self.level(one, np.longdouble) for one in (previous(t, s), t))
        step, (log_alpha, log_beta, log_gamma) = transition(earlier, now), log_rates(earlier)
        out = np.empty((log_p.shape[0], self.classes + 1, log_p.shape[2]))
        for b, n in np.ndindex(log_p.shape[0], log_p.shape[2]):
            x = x_t[b, n]
            weights = log_p[b, :, n].astype(np.float64) - self.log_row(x, now)[: self.classes]
            total = np.logaddexp.reduce(weights)
            at_s = np.append(np.logaddexp(weights + log_alpha, total + log_beta), total + log_gamma)
            out[b, :, n] = at_s + self.log_row(x, step)
        return out

    def log_row(self, x, rates):
        """log q(x | j) for each class j, the mask included: a row of `transition_matrix`."""
        same = Rates(rates.alpha + rates.beta, rates.beta, rates.gamma)
        log_same, log_other, log_mask = log_rates(same)
        if x == self.classes:
            return np.append(np.full(self.classes, log_mask), 0.0)
        row = np.append(np.full(self.classes, log_other), LOG_ZERO)
        row[x] = log_same
        return row


def log_rates(rates):
    with np.errstate(divide="ignore"):
        return [float(np.log(rate)) for rate in rates]


# ---- Inputs, shared by the tests -----------------------------------------------------------------


def random_log_p(rng, batch, classes, pixels, scale=3.0, dtype=np.float32):
    """Log-probabilities from nearly flat to peaked, floored at -70 as pipelines do."""
    logits = rng.normal(size=(batch, classes, pixels)) * scale
    logits *= rng.uniform(size=(batch, 1, pixels))
    return np.maximum(log_softmax(logits), -70).astype(dtype)


def random_classes(rng, batch, classes, pixels, mask_rate=0.5, dtype=np.int64):
    """Classes 0 … K, masked at the given rate."""
    x = rng.integers(0, classes, (batch, pixels))
    return np.where(rng.uniform(size=x.shape) < mask_rate, classes, x).astype(dtype)


def row_uniforms(seed, ids, timesteps, draw, shape, dtype=np.float64):
    """The uniforms of RowKeys, by NumPy alone."""
    rows = []
    for one, t in zip(ids, np.broadcast_to(timesteps, len(ids)), strict=True):
        key = np.array([seed, int(one)], np.uint64)
        counter = np.array([0, int(t), draw, 0], np.uint64)
        rows.append(
            np.random.Generator(np.random.Philox(key=key, counter=counter)).random(
                shape, dtype=dtype
            )
        )
    return np.stack(rows) if rows else np.empty((0, *np.atleast_1d(shape)), dtype)
