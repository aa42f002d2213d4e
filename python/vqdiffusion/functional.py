"""Functions on arrays that need no schedule."""

from __future__ import annotations

from itertools import starmap
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _native, threads
from .arguments import MOST_CLASSES, as_array, as_grid, as_int
from .generators import GeneratorLike, States, draw_uniforms


def index_to_log_onehot(x: npt.ArrayLike, num_classes: int) -> npt.NDArray[np.float32]:
    """Logarithms of one-hot vectors: 0 at the class, log 1e-30 elsewhere.

    Parameters
    ----------
    x : array of any integer dtype, shape (B, N)
        Classes, 0 … num_classes - 1.
    num_classes : int
        From 1 to 2**31 - 2; with the mask when `x` may hold it.

    Returns
    -------
    numpy.ndarray of float32, shape (B, num_classes, N)

    Raises
    ------
    TypeError
        If `x` is not of an integer dtype, or `num_classes` not an integer.
    ValueError
        If `x` does not have two axes or a class is out of range.
    """
    x = as_grid(x, "x")
    num_classes = as_int(num_classes, "num_classes", 1, MOST_CLASSES)
    out = np.empty((x.shape[0], num_classes, x.shape[1]), np.float32)
    _native.index_to_log_onehot(x, num_classes, out, threads._num_threads)
    return out


def gumbel_noised(
    logits: npt.ArrayLike, generator: GeneratorLike
) -> npt.NDArray[np.float32] | npt.NDArray[np.float64]:
    """Logits with Gumbel noise: logits - log(-log(u + 1e-30) + 1e-30), whose argmax draws from
    softmax(logits).

    The noise lies in [-4.24, 16.64], since u has 24 bits: classes rarer than about 1e-7 are drawn
    too seldom.

    Parameters
    ----------
    logits : array of float16, float32 or float64, any shape
    generator : GeneratorLike
        As in `VQDiffusionScheduler.step`; a list holds one generator for each entry of the first
        axis. One float32 uniform is drawn for each element, in memory order.

    Returns
    -------
    numpy.ndarray, the shape of `logits`
        float64 when `logits` is float64, else float32.

    Raises
    ------
    TypeError
        If `logits` is not floating or `generator` is none of its kinds.
    ValueError
        If `logits` holds NaN or +inf, or a list of generators has the wrong length. The generators
        are left as they were.
    """
    array = as_array(logits, "logits")
    out: npt.NDArray[Any] = np.empty(
        array.shape, np.float64 if array.dtype == np.float64 else np.float32
    )
    states: States = []
    put_back = starmap(setattr, states)
    try:
        uniforms = draw_uniforms(generator, array.shape, states, np.float32)
        flat = (1, 1, array.size)
        _native.gumbel_noised(
            array.reshape(flat), uniforms.reshape(flat), out.reshape(flat), threads._num_threads
        )
        return out
    except BaseException:
        list(put_back)
        raise
