"""What the scheduler is compared with, other than diffusers' class: the closed form of the
posterior (docs/theory.md), written for torch.compile and for NumPy.

The largest log p + Gumbel noise is the largest p/(-log u), which saves two logarithms for each
class and pixel.
"""

from typing import NamedTuple

import diffusers
import numpy as np
import torch
from twin import transition

IMPOSSIBLE = float(np.log(1e-30))  # diffusers' logarithm of zero


class Rates(NamedTuple):
    """The numbers of one step from t to s = t - 1, named as in docs/theory.md."""

    alpha: float
    beta: float
    gamma: float
    alpha_s: float
    beta_s: float
    gamma_s: float
    beta_t: float
    gamma_t: float
    keep_t: float  # D_t

    @classmethod
    def of(cls, chain, t):
        """`chain` is a `Reference`, which holds the schedule."""
        earlier, now = chain.level(t - 1), chain.level(t)
        step = transition(earlier, now)
        return cls(*step, *earlier, now.beta, now.gamma, now.alpha + now.beta)


# ---- torch, to be compiled -----------------------------------------------------------------------


def torch_posterior(log_p, x_t, rates):
    """p(x_s | x_t), not normalised: of the classes, of the mask, and S; `rates` is a tensor, so
    that one compilation serves every t."""
    alpha, beta, gamma, alpha_s, beta_s, gamma_s, beta_t, gamma_t, keep_t = rates.unbind()
    num_classes = log_p.shape[1]
    x = x_t[:, None]
    masked = x == num_classes
    p = torch.exp(log_p)
    total = p.sum(1, keepdim=True)
    p_own = torch.exp(torch.gather(log_p, 1, torch.where(masked, 0, x)))
    s = torch.where(masked, total / gamma_t, (total - p_own) / beta_t + p_own / keep_t)
    factor = torch.where(masked, gamma * alpha_s / gamma_t, beta * alpha_s / beta_t)
    level = torch.where(masked, gamma, beta) * beta_s * s
    own = (alpha + beta) * (alpha_s * p_own / keep_t + beta_s * s)
    classes = torch.where(torch.arange(num_classes)[None, :, None] == x, own, factor * p + level)
    return classes, torch.where(masked, gamma_s * s, 0.0), s


def torch_argmax(classes, mask, uniforms):
    num_classes = classes.shape[1]
    times = -torch.log(uniforms + 1e-30)
    best, winner = (classes / times[:, :num_classes]).max(1)
    return torch.where((mask / times[:, num_classes:])[:, 0] > best, num_classes, winner)


def torch_step(log_p, x_t, uniforms, rates):
    classes, mask, _ = torch_posterior(log_p, x_t, rates)
    return torch_argmax(classes, mask, uniforms)


def torch_last_step(log_p, uniforms):
    """t = 0: from the model output itself."""
    return (torch.exp(log_p) / -torch.log(uniforms + 1e-30)).max(1).indices


def torch_log_posterior(log_p, x_t, rates):
    classes, mask, s = torch_posterior(log_p, x_t, rates)
    impossible = IMPOSSIBLE + torch.log(rates[5] * s)
    return torch.cat([torch.log(classes), torch.where(mask > 0, torch.log(mask), impossible)], 1)


class Compiled:
    """The functions above under torch.compile, with uniforms drawn by torch.rand: drawn inside they
    take longer, and are others."""

    def __init__(self, chain):
        torch._dynamo.reset()
        self._chain = chain
        self._step = torch.compile(torch_step, dynamic=False)
        self._last_step = torch.compile(torch_last_step, dynamic=False)
        self._posterior = torch.compile(torch_log_posterior, dynamic=False)

    def rates(self, t):
        return torch.tensor(Rates.of(self._chain, t), dtype=torch.float32)

    def step(self, log_p, x_t, t, rates, generator):
        batch, classes, pixels = log_p.shape
        uniforms = torch.rand((batch, classes + (t > 0), pixels), generator=generator)
        return self._step(log_p, x_t, uniforms, rates) if t else self._last_step(log_p, uniforms)

    def q_posterior(self, log_p, x_t, rates):
        return self._posterior(log_p, x_t, rates)


# ---- diffusers' pipeline, between the model and the next sample ----------------------------------


def pipeline_step(scheduler, uncond, cond, t, sample, generator, scale, rate):
    """Guidance, truncation, clamp and step with diffusers' objects."""
    guided = uncond + scale * (cond - uncond)
    guided -= torch.logsumexp(guided, dim=1, keepdim=True)
    log_p = diffusers.VQDiffusionPipeline.truncate(None, guided, rate).clamp(-70)
    return scheduler.step(log_p, t, sample, generator).prev_sample


# ---- NumPy ---------------------------------------------------------------------------------------


def numpy_posterior(log_p, x_t, rates):
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
    s = np.where(
        masked, total / rates.gamma_t, (total - p_own) / rates.beta_t + p_own / rates.keep_t
    )
    factor = np.where(
        masked,
        rates.gamma * rates.alpha_s / rates.gamma_t,
        rates.beta * rates.alpha_s / rates.beta_t,
    )
    level = np.where(masked, rates.gamma, rates.beta) * rates.beta_s * s
    own = (rates.alpha + rates.beta) * (rates.alpha_s * p_own / rates.keep_t + rates.beta_s * s)
    classes *= factor.astype(np.float32)
    classes += level.astype(np.float32)
    kept = np.where(masked, np.take_along_axis(classes, own_index, 1), own)
    np.put_along_axis(classes, own_index, kept.astype(np.float32), 1)
    out[:, -1:] = np.where(masked, rates.gamma_s * s, 0)
    return out, s


def numpy_log_posterior(log_p, x_t, rates):
    out, s = numpy_posterior(log_p, x_t, rates)
    mask = out[:, -1:].copy()
    np.log(out[:, :-1], out=out[:, :-1])
    with np.errstate(divide="ignore"):
        out[:, -1:] = np.where(mask > 0, np.log(mask), IMPOSSIBLE + np.log(rates.gamma_s * s))
    return out


def numpy_step(log_p, x_t, t, uniforms, rates):
    """`uniforms`, (B, K + 1, N) or at t = 0 (B, K, N), are overwritten."""
    scores = numpy_posterior(log_p, x_t, rates)[0] if t else np.exp(log_p)
    uniforms += np.float32(1e-30)
    np.log(uniforms, out=uniforms)
    scores /= uniforms
    return scores.argmin(1)  # of the negative
