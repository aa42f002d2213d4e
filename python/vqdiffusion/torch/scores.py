"""Tokens drawn from tensors of logits, and how sure the model is of each."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, SupportsFloat

import torch
from torch import Tensor

from .. import scores
from ..arguments import as_array, as_float
from .guidance import as_float_tensor, at_least_float32, check_columns, recorded
from .inverse_cdf import invert
from .view import numpy_view, traced


class TokenScores(NamedTuple):
    """What `token_scores` returns: tensors of shape (B, N), as `vqdiffusion.scores.TokenScores`."""

    token: Tensor
    probability: Tensor
    entropy: Tensor
    margin: Tensor
    logsumexp: Tensor


def token_scores(
    logits: Any, uniforms: Any = None, temperature: SupportsFloat = 1.0
) -> TokenScores:
    """Tokens and scores of a tensor, as `vqdiffusion.token_scores` of an array, whose errors it
    raises.

    Computed by torch where autograd or torch.compile records, or the memory is out of reach. It
    then makes several tensors of the size of the logits.

    Parameters
    ----------
    logits : torch.Tensor of float16, bfloat16, float32 or float64, shape (B, K, N)
        Any device and strides; those of a language model are `logits.transpose(1, 2)`.
    uniforms : torch.Tensor of float32 or float64, shape (B, N), optional
        In [0, 1), on the device of the logits, such as `torch.rand(B, N, dtype=torch.float64)`.
        Without them the token is the argmax.
    temperature : float
        Of the draw alone; at 0 the token is the argmax, whatever the uniforms.

    Returns
    -------
    TokenScores
        A named tuple (token, probability, entropy, margin, logsumexp), differentiable but for the
        token. Numbers are float64 when `logits` is, else float32.
    """
    temperature = as_float(temperature, "temperature")
    if not recorded(logits, uniforms):
        array = numpy_view(logits, "logits")
        drawn = None if uniforms is None else numpy_view(uniforms, "uniforms")
        if array is not None and (drawn is not None or uniforms is None):
            return TokenScores(
                *map(torch.from_numpy, scores.token_scores(array, drawn, temperature))
            )
    x = at_least_float32(as_float_tensor(logits, "logits"))
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be a finite number from 0 on, not {temperature:g}")
    u = None if uniforms is None else _uniforms_of(x, uniforms)
    check_columns(x, "logits")
    return _by_torch(x, u, temperature)


def _by_torch(x: Tensor, u: Tensor | None, temperature: float) -> TokenScores:
    top = x.topk(min(2, x.shape[1]), 1).values if x.shape[1] else x.new_zeros(x.shape)
    total = x.logsumexp(1)
    log_p = x - total.unsqueeze(1)
    p = log_p.exp()
    # 0 log 0 = 0, and so is its gradient.
    entropy = -(p * log_p.masked_fill(p == 0, 0)).sum(1)
    p_top = (top - total.unsqueeze(1)).exp()
    margin = p_top[:, 0] - p_top[:, 1] if x.shape[1] > 1 else p_top.sum(1)
    if u is None or temperature == 0:
        token = x.argmax(1)
    else:
        token = invert((x.detach() - top[:, :1].detach()) / temperature, u)
    probability = p.gather(1, token.unsqueeze(1)).squeeze(1)
    return TokenScores(token, probability, entropy, margin, total)


def _uniforms_of(x: Tensor, value: Any) -> Tensor:
    """One uniform for each pixel of `x`."""
    u = value if isinstance(value, Tensor) else torch.tensor(as_array(value, "uniforms"))
    if u.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"uniforms must be float32 or float64, not {u.dtype}")
    if u.shape != (x.shape[0], x.shape[2]):
        raise ValueError(
            f"uniforms must have shape {(x.shape[0], x.shape[2])}, not {tuple(u.shape)}"
        )
    if u.device != x.device:
        raise ValueError(f"uniforms must be on {x.device} as logits are, not on {u.device}")
    if not traced():
        try:
            outside = (~((u >= 0) & (u < 1))).nonzero()[:1].tolist()
        except RuntimeError:  # no values: under vmap, or on the meta device
            return u
        for row, pixel in outside:
            raise ValueError(f"uniforms must be in [0, 1), not {u[row, pixel]:g}")
    return u
