"""An independent reference: the noise of arXiv 2111.14822 as explicit matrices, in extended precision, and Bayes' rule.

Nothing here comes from the package. `Reference` builds the (K + 1) x (K + 1) matrices of eq. 7 and multiplies them
out; it is the truth for small K. `LogReference` says the same of one column in logarithms, row by row of the matrices,
and serves for large K.
"""

from math import erfc, exp, gamma, sqrt

import numpy as np

LOG_ZERO = np.log(1e-30)  # what one-hot logarithms of this family hold for log 0
DEFAULTS = {"alpha_cum_start": 0.99999, "alpha_cum_end": 9e-6, "gamma_cum_start": 9e-6, "gamma_cum_end": 0.99999}


def linear(start, end, steps):
    return np.arange(steps) / (steps - 1) * (end - start) + start


class Reference:
    """Explicit matrices. Index [to, from]; class K is the mask. Timesteps run from -1, which is clean data."""

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
        self.alpha_bar = np.append(alpha, np.longdouble(1))  # so that index -1 is clean data
        self.gamma_bar = np.append(gamma, np.longdouble(0))
        self.beta_bar = np.maximum((1 - self.alpha_bar - self.gamma_bar) / self.classes, 0)
        before = np.arange(num_train_timesteps) - 1
        self.alpha = alpha / self.alpha_bar[before]
        self.gamma = 1 - (1 - gamma) / (1 - self.gamma_bar[before])
        self.beta = np.maximum((1 - self.alpha - self.gamma) / self.classes, 0)

    def _matrix(self, alpha, beta, gamma):
        k = self.classes
        matrix = np.full((k + 1, k + 1), beta, np.longdouble)
        matrix[np.arange(k), np.arange(k)] = alpha + beta
        matrix[k, :k] = gamma
        matrix[:k, k] = 0
        matrix[k, k] = 1
        return matrix

    def single(self, t):
        """Eq. 7: q(x_t | x_{t-1})."""
        return self._matrix(self.alpha[t], self.beta[t], self.gamma[t])

    def cumulative(self, t):
        """Eq. 8: q(x_t | x_0), in closed form."""
        return self._matrix(self.alpha_bar[t], self.beta_bar[t], self.gamma_bar[t])

    def product(self, t):
        """The same, as the product of the single steps up to t."""
        matrix = np.eye(self.classes + 1, dtype=np.longdouble)
        for one in range(t + 1):
            matrix = self.single(one) @ matrix
        return matrix

    def posterior(self, log_p, x_t, t):
        """Σ_{x_0} q(x_{t-1} | x_t, x_0) p(x_0), as probabilities (B, K + 1, N), by Bayes' rule on the matrices."""
        k = self.classes
        p = np.exp(log_p.astype(np.longdouble))
        forward, before, now = self.single(t), self.cumulative(t - 1), self.cumulative(t)
        out = np.zeros((p.shape[0], k + 1, p.shape[2]), np.longdouble)
        for b, n in np.ndindex(p.shape[0], p.shape[2]):
            x = x_t[b, n]
            weights = p[b, :, n] / now[x, :k]
            out[b, :, n] = forward[x, :] * (before[:, :k] @ weights)
        return out

    def step_probabilities(self, log_p, x_t, t):
        """What `step` has to draw from, normalised: (B, K + 1, N)."""
        if t == 0:
            p = np.exp(log_p.astype(np.longdouble))
            p = np.concatenate([p, np.zeros_like(p[:, :1])], axis=1)
        else:
            p = self.posterior(log_p, x_t, t)
        return (p / p.sum(axis=1, keepdims=True)).astype(np.float64)


class LogReference(Reference):
    """The same in logarithms and float64, with log 1e-30 for one-hot zeros, for any K: no matrix is ever made."""

    def log_row(self, x, t, cumulative):
        """log q(x_t = x | j) for each class j, the mask included: a row of the matrix of eq. 7, or of eq. 8."""
        k = self.classes
        table = (self.alpha_bar, self.beta_bar, self.gamma_bar) if cumulative else (self.alpha, self.beta, self.gamma)
        with np.errstate(divide="ignore"):
            other, same, mask = (float(np.log(v)) for v in (table[1][t], table[0][t] + table[1][t], table[2][t]))
        if x == k:
            return np.append(np.full(k, mask), 0.0)
        row = np.append(np.full(k, other), LOG_ZERO)
        row[x] = same
        return row

    def log_posterior(self, log_p, x_t, t):
        """log Σ_{x_0} q(x_{t-1} | x_t, x_0) p(x_0), float64, (B, K + 1, N)."""
        k = self.classes
        out = np.empty((log_p.shape[0], k + 1, log_p.shape[2]))
        with np.errstate(divide="ignore"):
            log_alpha, log_beta, log_gamma = (
                float(np.log(table[t - 1])) for table in (self.alpha_bar, self.beta_bar, self.gamma_bar)
            )
        for b, n in np.ndindex(log_p.shape[0], log_p.shape[2]):
            x = x_t[b, n]
            weights = log_p[b, :, n].astype(np.float64) - self.log_row(x, t, cumulative=True)[:k]
            total = np.logaddexp.reduce(weights)
            before = np.append(np.logaddexp(weights + log_alpha, total + log_beta), total + log_gamma)
            out[b, :, n] = before + self.log_row(x, t, cumulative=False)
        return out


def log_softmax(logits):
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def random_log_p(rng, batch, classes, pixels, scale=3.0, dtype=np.float32):
    """Log-probabilities from nearly flat to peaked, floored at -70 as pipelines of this family do."""
    logits = rng.normal(size=(batch, classes, pixels)) * scale * rng.uniform(size=(batch, 1, pixels))
    return np.maximum(log_softmax(logits), -70).astype(dtype)


def random_classes(rng, batch, classes, pixels, mask_rate=0.5, dtype=np.int64):
    """Classes 0 … K, masked at the given rate."""
    x = rng.integers(0, classes, (batch, pixels))
    return np.where(rng.uniform(size=x.shape) < mask_rate, classes, x).astype(dtype)


def gumbel(uniforms):
    return -np.log(-np.log(uniforms + 1e-30) + 1e-30)


def chi_square_p_value(counts, probabilities):
    """The probability of a chi-square statistic as large as that of the counts, cells with few expected counts pooled.

    A count where the probability is zero gives 0.
    """
    counts, probabilities = np.asarray(counts, float), np.asarray(probabilities, float)
    if counts[probabilities == 0].any():
        return 0.0
    expected = probabilities / probabilities.sum() * counts.sum()
    rare = expected < 10
    observed, expected = np.append(counts[~rare], counts[rare].sum()), np.append(expected[~rare], expected[rare].sum())
    if expected[-1] < 10:  # too few even when pooled: the last cell joins the smallest of the others
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
        tail += exp(d / 2 * np.log(half) - half) / gamma(d / 2 + 1) if half > 0 else 0.0
    return min(tail, 1.0)
