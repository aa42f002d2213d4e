"""Classifier-free guidance and truncation of a model's log-probabilities, before they are handed to
the scheduler.
"""

from __future__ import annotations

import sys
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np
import numpy.typing as npt

from . import _native, threads
from .arguments import as_float, as_tensor
from .truncation import as_truncation

FloatArray = npt.NDArray[np.float32] | npt.NDArray[np.float64]


def guide(
    log_p_uncond: npt.ArrayLike, log_p_cond: npt.ArrayLike, scale: SupportsFloat
) -> FloatArray:
    """Classifier-free guidance: log-softmax over the classes of u + scale * (c - u).

    Parameters
    ----------
    log_p_uncond, log_p_cond : array of float16, float32 or float64, shape (B, K, N)
        u and c, the model's log-probabilities without and with the condition; both of one dtype.
        Any strides. For torch tensors there is `vqdiffusion.torch.guide`.
    scale : float
        1 gives the conditional distribution, more exaggerates what sets it apart. Pipelines guide
        when it is above 1.

    Returns
    -------
    numpy.ndarray, shape (B, K, N)
        float64 when the inputs are, else float32. Every column is a distribution. Not clamped. A
        class that is -inf in either input is -inf. So is one that either gives the lowest float16,
        in float16, or at most -greatest / (4 * (1 + abs(scale))), where greatest is the largest
        number of the result's dtype: less could overflow, and `finfo(dtype).min` is what people
        write for -inf.

    Raises
    ------
    TypeError
        If an input is not floating or is a torch tensor, or their dtypes differ.
    ValueError
        If the shapes differ, an input holds NaN or +inf or numbers so large that a column
        overflows, or leaves a column without mass, or `scale` is not finite.
    """
    check_no_tensor(log_p_uncond, "log_p_uncond", "guide")
    check_no_tensor(log_p_cond, "log_p_cond", "guide")
    uncond = as_tensor(log_p_uncond, "log_p_uncond")
    cond = as_tensor(log_p_cond, "log_p_cond")
    out = _result(uncond)
    _native.guide(uncond, cond, as_float(scale, "scale"), out, threads._num_threads)
    return out


def truncate(
    log_p: npt.ArrayLike,
    rate: SupportsFloat,
    floor: SupportsFloat = -np.inf,
    top_k: SupportsIndex | None = None,
    temperature: SupportsFloat = 1.0,
) -> FloatArray:
    """Keep the most probable classes that make up `rate` of the probability, and set the others to
    -inf.

    Of a pixel's classes in the order of falling probability, those are kept before which less than
    `rate` lies: the class that crosses the rate is kept, and so is the most probable one always.
    Equal ones count in the order of their indices. The result is not renormalised, which the
    scheduler does not ask for.

    `temperature`, `top_k` and `rate` act in this order, as samplers of language models have it:
    `temperature` divides the logarithms and normalises them again, `top_k` keeps the first classes
    in the same order (of several equal ones at the end those of lower index, never more than k),
    and `rate` is then a share of the probability of these.

    Parameters
    ----------
    log_p : array of float16, float32 or float64, shape (B, K, N)
        Log-probabilities. Any strides. For torch tensors there is `vqdiffusion.torch.truncate`.
    rate : float
        From 0 to 1, a share, not a percentage. At 0 only the most probable class is kept; at 1
        classes are dropped only once 1 is reached; at math.inf none is.
    floor : float
        Lower values of the result are raised to this; pipelines clamp at -70.
    top_k : int, optional
        The most classes to keep, from 1; None for any number, and `rate` is of the probability as
        it is. With `rate=math.inf` or 1 only the number counts.
    temperature : float
        From 1e-6 to 1e6. At 1 nothing happens; otherwise the column becomes log-softmax(log_p /
        temperature) first, whether it was normalised or not.

    Returns
    -------
    numpy.ndarray, shape (B, K, N)
        float64 when `log_p` is, else float32.

    Raises
    ------
    TypeError
        If `log_p` is not floating or is a torch tensor.
    ValueError
        If `log_p` holds NaN or +inf or a column of nothing but -inf, `rate`, `top_k` or
        `temperature` is out of range, or `floor` is NaN.
    """
    check_no_tensor(log_p, "log_p", "truncate")
    array = as_tensor(log_p, "log_p")
    how = as_truncation(rate, floor, top_k, temperature)
    out = _result(array)
    _native.truncate(
        array, how.rate, how.floor, out, how.top_k, how.temperature, threads._num_threads
    )
    return out


def check_no_tensor(value: Any, name: str, function: str) -> None:
    """Refuses a torch tensor; torch is not imported for that."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        raise TypeError(
            f"{name} must be an array, not a torch tensor: vqdiffusion.torch.{function} takes "
            "tensors"
        )


def _result(like: npt.NDArray[Any]) -> FloatArray:
    return np.empty(like.shape, np.float64 if like.dtype == np.float64 else np.float32)
