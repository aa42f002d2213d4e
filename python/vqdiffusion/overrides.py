"""Steps of schedulers whose posterior, or a part of it, someone has overridden.

`q_posterior` may be overridden, and the two methods that it is defined by:
log_Q_t_transitioning_to_known_class and apply_cumulative_transitions. Overrides get NumPy arrays
and t as an int. At t = 0 `step` does not call them: it draws from the model output itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _native, threads
from .arguments import as_array, as_tensor
from .checks import check_classes
from .functional import index_to_log_onehot
from .guidance import guide, truncate


def posterior(
    scheduler: Any, model_output: npt.ArrayLike, t: int, s: int, sample: npt.ArrayLike | None
) -> npt.NDArray[Any]:
    """What `scheduler.q_posterior` returns for a step, (B, K + 1, N), once it can be drawn from."""
    classes: int = scheduler.mask_class
    x = _as_log_p(model_output, "model_output", classes)
    batch, _, pixels = x.shape
    grid = _as_classes(sample, "sample", classes, (batch, pixels))
    # Overrides for the paper's chain need not know of strides.
    stride = {} if s == t - 1 else {"previous_timestep": s}
    returned = scheduler.q_posterior(x, grid, t, **stride)
    log_p = _returned(returned, "q_posterior", (batch, classes + 1, pixels))
    check_columns(log_p, "what q_posterior returns")
    return log_p


def check_known(known: npt.NDArray[Any] | None, classes: int) -> None:
    """Refuses known tokens that are no classes of clean data."""
    if known is None:
        return
    if known.dtype.kind not in "iu":
        raise TypeError(f"known must be of an integer dtype, not {known.dtype}")
    if known.size and not (known.min() >= -1 and known.max() < classes):
        raise ValueError(
            f"known must hold classes 0 ... {classes - 1}, or -1 where unknown, not {known.min()} "
            f"to {known.max()}"
        )


def guided(
    log_p_cond: npt.NDArray[Any],
    log_p_uncond: npt.NDArray[Any] | None,
    scale: float,
    rate: float,
    floor: float,
    top_k: int,
    temperature: float,
) -> npt.NDArray[Any]:
    """The model output that `guided_step` hands to the step."""
    if log_p_uncond is not None:
        with _naming(scale="guidance_scale"):
            log_p_cond = guide(log_p_uncond, log_p_cond, scale)
    with _naming(log_p="log_p_cond", rate="truncation_rate"):
        return truncate(log_p_cond, rate, floor, top_k or None, temperature)


def posterior_from_parts(
    scheduler: Any, log_p_x_0: npt.ArrayLike, x_t: npt.ArrayLike, t: int
) -> npt.NDArray[Any]:
    """Eq. 11 by the two methods of the scheduler that it is made of, in logarithms:

    q(x_t | x_{t-1}) Y Σ_{x_0} q(x_{t-1} | x_0) y(x_0) with y = p(x_0) / q(x_t | x_0) / Y, whose sum
    is one.
    """
    classes: int = scheduler.mask_class
    log_p = _as_log_p(log_p_x_0, "log_p_x_0", classes)
    batch, _, pixels = log_p.shape
    grid = _as_classes(x_t, "x_t", classes, (batch, pixels))
    dtype = np.float64 if log_p.dtype == np.float64 else np.float32
    onehot = index_to_log_onehot(grid, classes + 1).astype(dtype)

    def rows(cumulative: bool) -> npt.NDArray[Any]:
        name = "log_Q_t_transitioning_to_known_class"
        returned = getattr(scheduler, name)(
            t=t, x_t=grid, log_onehot_x_t=onehot, cumulative=cumulative
        )
        return _returned(returned, name, (batch, classes + (not cumulative), pixels))

    from_clean, from_before = rows(True), rows(False)
    with np.errstate(all="ignore"):  # infinities
        y = log_p.astype(dtype) - from_clean
        peak = y.max(axis=1, keepdims=True)
        total = peak + np.log(np.exp(y - peak).sum(axis=1, keepdims=True))
        y -= total
    name = "apply_cumulative_transitions"
    returned = getattr(scheduler, name)(y, t - 1)
    before = _returned(returned, name, (batch, classes + 1, pixels))
    with np.errstate(all="ignore"):
        result: npt.NDArray[Any] = (before + from_before + total).astype(dtype)
    return result


def _as_log_p(value: npt.ArrayLike, name: str, classes: int) -> npt.NDArray[Any]:
    array = as_tensor(value, name)
    check_classes(array, classes, name)
    check_columns(array, name)
    return array


def _as_classes(value: Any, name: str, mask: int, shape: tuple[int, int]) -> npt.NDArray[Any]:
    array = as_array(value, name)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be of an integer dtype, not {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
    if array.size and not (0 <= array.min() and array.max() <= mask):
        raise ValueError(
            f"{name} must hold classes 0 ... {mask}, not {array.min()} to {array.max()}"
        )
    return array


def _returned(value: Any, name: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    array = as_array(value, f"what {name} returns")
    if array.shape != shape:
        raise ValueError(f"{name} must return an array of shape {shape}, not {array.shape}")
    return array


def check_columns(array: npt.NDArray[Any], name: str) -> None:
    """Refuses what is not floating, NaN, +inf and columns of nothing but -inf."""
    with _naming(model_output=name):
        _native.check_model_output(array, threads._num_threads)


@contextmanager
def _naming(**names: str) -> Iterator[None]:
    """Errors of the block that begin with the name of an argument begin with another name."""
    try:
        yield
    except (TypeError, ValueError) as error:
        inner, _, rest = str(error).partition(" ")
        if inner not in names:
            raise
        raise type(error)(f"{names[inner]} {rest}") from None
