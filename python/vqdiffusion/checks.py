"""Sentences for mistakes that are easy to make with the arguments of both scheduler classes."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

_BFLOAT16 = np.dtype([("bfloat16", "u2")])  # its bits: NumPy has no bfloat16
_FLOATING = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64), _BFLOAT16)

_warned = False


def warn_of_probabilities(x: npt.NDArray[Any], name: str, stacklevel: int = 3) -> None:
    """Warns the caller's caller, once per process, where `x` seems to hold probabilities.

    `x` has the axes (batch, classes, pixels). Nearly always its first element tells that it holds
    logarithms.
    """
    global _warned
    if _warned or not x.size:
        return
    first = x.item(0)
    if type(first) is float:
        if not first >= 0:
            return
    elif x.dtype != _BFLOAT16 or first[0] >= 0x8000:  # the bit of the sign
        return
    if _looks_like_probabilities(x):
        _warned = True
        warnings.warn(
            f"{name} must hold log-probabilities, but its first column looks like probabilities: "
            "it lies between 0 and 1 and sums to 1. Take the logarithm, or log_softmax for softmax",
            stacklevel=stacklevel,
        )


def _looks_like_probabilities(x: npt.NDArray[Any]) -> bool:
    """Whether the first column lies in [0, 1] and sums to 1 over several classes."""
    if x.ndim != 3:
        return False
    column = x[0, :, 0]
    for part in (column[:16], column):  # a few elements mostly tell; they are far apart in memory
        if part.dtype == _BFLOAT16:
            part = (part["bfloat16"].astype(np.uint32) << 16).view(np.float32)
        if not ((part >= 0) & (part <= 1)).all():
            return False
    tolerance = 0.01 if x.dtype.itemsize == 2 else 0.001
    return (
        bool(np.count_nonzero(part) > 1) and abs(float(part.sum(dtype=np.float64)) - 1) <= tolerance
    )


def check_classes(x: npt.NDArray[Any], classes: int, name: str, with_mask: bool = False) -> None:
    """Refuses floating arrays that have not `classes` classes; the native module refuses others."""
    if x.shape[-2] != classes and x.dtype in _FLOATING:
        raise wrong_classes(x.shape, classes, name, with_mask)


def wrong_classes(
    shape: tuple[int, ...], classes: int, name: str, with_mask: bool = False
) -> ValueError:
    """The error for an array (batch, classes, pixels) or (classes, pixels) of other classes.

    `classes` is K, or with the mask K + 1.
    """
    text = f"{name} must have K{' + 1' * with_mask} = {classes} classes, not {shape[-2]}"
    if shape[-2] == classes + 1:
        text += ": num_vec_classes counts the mask"
    elif with_mask and shape[-2] == classes - 1:
        text += ": the mask has a row of its own"
    elif shape[-1] == classes or (shape[-1] == classes + 1 and not with_mask):
        text += ": transposed?"
    axes = "(batch, classes, pixels)" if len(shape) == 3 else "(classes, needed pixels)"
    return ValueError(f"{text} (of the axes {axes}; its shape is {tuple(shape)})")


def check_rate(rate: float, name: str) -> None:
    """Refuses a rate of truncation that is neither a share nor infinite.

    Raises
    ------
    ValueError
    """
    if not (0 <= rate <= 1 or rate == math.inf):
        number = repr(rate).removesuffix(".0")
        percent = f": {rate / 100:g}?" if 2 <= rate <= 100 else ""
        raise ValueError(
            f"{name} must be a share of the probability, from 0 to 1, or math.inf for no "
            f"truncation, not {number}{percent}"
        )
