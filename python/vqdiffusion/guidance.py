"""Classifier-free guidance and truncation of a model's log-probabilities, before they are handed to
the scheduler.
"""

from __future__ import annotations

import sys
from typing import Any, SupportsFloat

import numpy as np
import numpy.typing as npt

from . import _native, threads
from .arguments import as_float, as_tensor
from .checks import check_rate

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
    _check_no_tensor(log_p_uncond, "log_p_uncond", "guide")
    _check_no_tensor(log_p_cond, "log_p_cond", "guide")
    uncond = as_tensor(log_p_uncond, "log_p_uncond")
    cond = as_tensor(log_p_cond, "log_p_cond")
    out = _result(uncond)
    _native.guide(uncond, cond, as_float(scale, "scale"), out, threads._num_threads)
    return out


def truncate(
    log_p: npt.ArrayLike, rate: SupportsFloat, floor: SupportsFloat = -np.inf
) -> FloatArray:
    """Keep the most probable classes that make up `rate` of the probability, and set the others to
    -inf.

    Of a pixel's classes in the order of falling probability, those are kept before which less than
    `rate` lies; the most probable one always, equal ones in the order of their indices. The result
    is not renormalised, which the scheduler does not ask for.

    Parameters
    ----------
    log_p : array of float16, float32 or float64, shape (B, K, N)
        Log-probabilities. Any strides. For torch tensors there is `vqdiffusion.torch.truncate`.
    rate : float
        From 0 to 1, a share, not a percentage. At 0 only the most probable class is kept; at 1
        classes are dropped only once 1 is reached; at math.inf none is.
    floor : float
        Lower values of the result are raised to this; pipelines clamp at -70.

    Returns
    -------
    numpy.ndarray, shape (B, K, N)
        float64 when `log_p` is, else float32.

    Raises
    ------
    TypeError
        If `log_p` is not floating or is a torch tensor.
    ValueError
        If `log_p` holds NaN or +inf or a column of nothing but -inf, `rate` is out of range, or
        `floor` is NaN.
    """
    _check_no_tensor(log_p, "log_p", "truncate")
    array = as_tensor(log_p, "log_p")
    rate = as_float(rate, "rate")
    check_rate(rate, "rate")
    out = _result(array)
    _native.truncate(array, rate, as_float(floor, "floor"), out, threads._num_threads)
    return out


def _check_no_tensor(value: Any, name: str, function: str) -> None:
    """Refuses a torch tensor; torch is not imported for that."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        raise TypeError(
            f"{name} must be an array, not a torch tensor: vqdiffusion.torch.{function} takes "
            "tensors"
        )


def _result(like: npt.NDArray[Any]) -> FloatArray:
    return np.empty(like.shape, np.float64 if like.dtype == np.float64 else np.float32)
