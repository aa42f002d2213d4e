"""What the scheduler is compared with, other than diffusers' class: the posterior in closed form, written for torch.compile and for
NumPy, and the inverse CDF in float64. With p the model's probabilities, P their sum, s = t - 1 and i the class of an unmasked pixel:

    masked:    class k (γ/γ̄_t)(ᾱ_s p_k + β̄_s P), mask (γ̄_s/γ̄_t) P
    unmasked:  S = (P - p_i)/β̄_t + p_i/D_t, D_t = ᾱ_t + β̄_t;  k ≠ i: β(ᾱ_s p_k/β̄_t + β̄_s S);  i: (α + β)(ᾱ_s p_i/D_t + β̄_s S)

The largest log p + Gumbel noise is the largest p/(-log u), which saves two logarithms for each class and pixel.
"""

from typing import NamedTuple

import diffusers
import numpy as np
import torch

from vqdiffusion import alpha_schedules, gamma_schedules

IMPOSSIBLE = float(np.log(1e-30))  # diffusers' logarithm of zero


class Law(NamedTuple):
    """The numbers of one step s → t, s = t - 1."""

    alpha: float
    beta: float
    gamma: float
    alpha_s: float
    beta_s: float
    gamma_s: float
    beta_t: float
    gamma_t: float
    own_t: float  # D_t

    @classmethod
    def of(cls, embeddings, t, steps=100):
        """For the schedule of the published models."""
        alphas = alpha_schedules(steps)[1][:steps]
        gammas = gamma_schedules(steps)[1][:steps]
        betas = (1 - alphas - gammas) / (embeddings - 1)
        alpha_s, beta_s, gamma_s = (alphas[t - 1], betas[t - 1], gammas[t - 1]) if t else (1.0, 0.0, 0.0)
        alpha = alphas[t] / alpha_s
        beta = (betas[t] - alpha * beta_s) / (1 - gamma_s)
        gamma = 1 - (1 - gammas[t]) / (1 - gamma_s)
        return cls(alpha, beta, gamma, alpha_s, beta_s, gamma_s, betas[t], gammas[t], alphas[t] + betas[t])


# ---- torch, to be compiled -------------------------------------------------------------------------------------------


def torch_posterior(log_p, x_t, law):
    """p(x_s | x_t), not normalised: of the classes, of the mask, and S; `law` is a tensor, so that one compilation serves every t."""
    alpha, beta, gamma, alpha_s, beta_s, gamma_s, beta_t, gamma_t, own_t = law.unbind()
    num_classes = log_p.shape[1]
    x = x_t[:, None]
    masked = x == num_classes
    p = torch.exp(log_p)
    total = p.sum(1, keepdim=True)
    p_own = torch.exp(torch.gather(log_p, 1, torch.where(masked, 0, x)))
    s = torch.where(masked, total / gamma_t, (total - p_own) / beta_t + p_own / own_t)
    factor = torch.where(masked, gamma * alpha_s / gamma_t, beta * alpha_s / beta_t)
    level = torch.where(masked, gamma, beta) * beta_s * s
    own = (alpha + beta) * (alpha_s * p_own / own_t + beta_s * s)
    classes = torch.where(torch.arange(num_classes)[None, :, None] == x, own, factor * p + level)
    return classes, torch.where(masked, gamma_s * s, 0.0), s


def torch_race(classes, mask, uniforms):
    num_classes = classes.shape[1]
    times = -torch.log(uniforms + 1e-30)
    best, winner = (classes / times[:, :num_classes]).max(1)
    return torch.where((mask / times[:, num_classes:])[:, 0] > best, num_classes, winner)


def torch_step(log_p, x_t, uniforms, law):
    classes, mask, _ = torch_posterior(log_p, x_t, law)
    return torch_race(classes, mask, uniforms)


def torch_last_step(log_p, uniforms):
    """t = 0: from the model output itself."""
    return (torch.exp(log_p) / -torch.log(uniforms + 1e-30)).max(1).indices


def torch_log_posterior(log_p, x_t, law):
    classes, mask, s = torch_posterior(log_p, x_t, law)
    impossible = IMPOSSIBLE + torch.log(law[5] * s)
    return torch.cat([torch.log(classes), torch.where(mask > 0, torch.log(mask), impossible)], 1)


class Compiled:
    """The functions above under torch.compile, with uniforms drawn by torch.rand: drawn inside they take longer, and are others."""

    def __init__(self, embeddings):
        torch._dynamo.reset()
        self._embeddings = embeddings
        self._step = torch.compile(torch_step, dynamic=False)
        self._last_step = torch.compile(torch_last_step, dynamic=False)
        self._posterior = torch.compile(torch_log_posterior, dynamic=False)

    def law(self, t):
        return torch.tensor(Law.of(self._embeddings, t), dtype=torch.float32)

    def step(self, log_p, x_t, t, law, generator):
        batch, classes, pixels = log_p.shape
        uniforms = torch.rand((batch, classes + (t > 0), pixels), generator=generator)
        return self._step(log_p, x_t, uniforms, law) if t else self._last_step(log_p, uniforms)

    def q_posterior(self, log_p, x_t, law):
        return self._posterior(log_p, x_t, law)


# ---- diffusers' pipeline, between the model and the next sample --------------------------------------------------------


def pipeline_step(scheduler, uncond, cond, t, sample, generator, scale, rate):
    """Guidance, truncation, clamp and step with diffusers' objects."""
    guided = uncond + scale * (cond - uncond)
    guided -= torch.logsumexp(guided, dim=1, keepdim=True)
    log_p = diffusers.VQDiffusionPipeline.truncate(None, guided, rate).clamp(-70)
    return scheduler.step(log_p, t, sample, generator).prev_sample


# ---- NumPy -------------------------------------------------------------------------------------------------------------


def numpy_posterior(log_p, x_t, law):
    """As `torch_posterior`, in float32 and one array of (B, K + 1, N)."""
    batch, num_classes, pixels = log_p.shape
    x = x_t[:, None]
    masked = x == num_classes
    own_index = np.where(masked, 0, x)
    out = np.empty((batch, num_classes + 1, pixels), np.float32)
    classes = out[:, :-1]
    np.exp(log_p, out=classes)
    total = classes.sum(1, keepdims=True)
    p_own = np.take_along_axis(classes, own_index, 1)
    s = np.where(masked, total / law.gamma_t, (total - p_own) / law.beta_t + p_own / law.own_t)
    factor = np.where(masked, law.gamma * law.alpha_s / law.gamma_t, law.beta * law.alpha_s / law.beta_t)
    level = np.where(masked, law.gamma, law.beta) * law.beta_s * s
    own = (law.alpha + law.beta) * (law.alpha_s * p_own / law.own_t + law.beta_s * s)
    classes *= factor.astype(np.float32)
    classes += level.astype(np.float32)
    kept = np.where(masked, np.take_along_axis(classes, own_index, 1), own)
    np.put_along_axis(classes, own_index, kept.astype(np.float32), 1)
    out[:, -1:] = np.where(masked, law.gamma_s * s, 0)
    return out, s


def numpy_log_posterior(log_p, x_t, law):
    out, s = numpy_posterior(log_p, x_t, law)
    mask = out[:, -1:].copy()
    np.log(out[:, :-1], out=out[:, :-1])
    with np.errstate(divide="ignore"):
        out[:, -1:] = np.where(mask > 0, np.log(mask), IMPOSSIBLE + np.log(law.gamma_s * s))
    return out


def numpy_step(log_p, x_t, t, uniforms, law):
    """`uniforms`, (B, K + 1, N) or at t = 0 (B, K, N), are overwritten."""
    scores = numpy_posterior(log_p, x_t, law)[0] if t else np.exp(log_p)
    uniforms += np.float32(1e-30)
    np.log(uniforms, out=uniforms)
    scores /= uniforms
    return scores.argmin(1)  # of the negative


def numpy_inverse_cdf(log_p, x_t, t, uniforms, law):
    """One uniform for each pixel, in float64, reading only the columns that are needed; the reference for tokens."""
    num_classes = log_p.shape[1]
    columns = np.moveaxis(log_p, 1, 2)
    out = np.empty(x_t.shape, np.int64)

    def invert(where, fraction, without=None):
        """The first class whose cumulative probability exceeds that fraction of the column's sum."""
        p = np.exp(columns[where].astype(np.float64))
        if without is not None:
            p[np.arange(len(p)), without] = 0
        cumulative = np.cumsum(p, axis=1)
        return (cumulative > (fraction * cumulative[:, -1])[:, None]).argmax(1)

    masked = np.ones_like(x_t, bool) if t == 0 else x_t == num_classes
    stay = law.gamma_s / law.gamma_t if t else 0.0
    level = num_classes * law.beta_s / (1 - law.gamma_s)
    v = (uniforms - stay) / (1 - stay)
    out[masked & (v < 0)] = num_classes
    blind = masked & (v >= 0) & (v < level)
    out[blind] = (v[blind] * num_classes / level).astype(np.int64) if blind.any() else 0
    read = masked & (v >= level)
    out[read] = invert(read, (v[read] - level) / (1 - level))
    if t == 0:
        return out

    out[~masked] = x_t[~masked]
    read = ~masked & (uniforms >= (law.alpha + law.beta) * law.beta_s / law.beta_t)
    p = np.exp(columns[read].astype(np.float64))
    own = x_t[read]
    p_own = p[np.arange(len(p)), own] / p.sum(1)
    s = (1 - p_own) / law.beta_t + p_own / law.own_t
    v = uniforms[read] - (law.alpha + law.beta) * (law.alpha_s * p_own / law.own_t + law.beta_s * s)
    each = law.beta * law.beta_s * s
    blind = (v / each).astype(np.int64)
    fraction = (v - (num_classes - 1) * each) * law.beta_t / (law.beta * law.alpha_s) / (1 - p_own)
    new = np.where(v < (num_classes - 1) * each, blind + (blind >= own), invert(read, fraction, own))
    out[read] = np.where(v < 0, own, new)
    return out
