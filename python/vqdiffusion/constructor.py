"""The arguments of a scheduler's constructor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .arguments import MOST_CLASSES, MOST_TIMESTEPS, as_array, as_float, as_int
from .spacing import SPACINGS

SAMPLING_METHODS = ("inverse_cdf", "gumbel")
# Arguments that diffusers' scheduler lacks: a configuration file names them only where they are
# other than these.
LATER_DEFAULTS = {"timestep_spacing": "reference", "alphas_cumprod": None, "gammas_cumprod": None}

_DEFAULT_TIMESTEPS = 100


def without_later_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a configuration that its file names."""
    return {
        name: value
        for name, value in config.items()
        if not (name in LATER_DEFAULTS and value == LATER_DEFAULTS[name])
    }


def checked_arguments(
    num_vec_classes: Any,
    num_train_timesteps: Any,
    *,
    sampling_method: Any,
    timestep_spacing: Any,
    alphas_cumprod: Any,
    gammas_cumprod: Any,
    **ends: Any,
) -> dict[str, Any]:
    """The arguments of a scheduler's constructor by name, with the types of a configuration.

    Raises TypeError or ValueError where one is not of its type or out of its range.
    """
    for name, value, allowed in (
        ("sampling_method", sampling_method, SAMPLING_METHODS),
        ("timestep_spacing", timestep_spacing, SPACINGS),
    ):
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    classes = as_int(num_vec_classes, "num_vec_classes", 2, MOST_CLASSES + 1)
    has_tables = alphas_cumprod is not None or gammas_cumprod is not None
    least = 1 if has_tables else 2
    steps = as_int(num_train_timesteps, "num_train_timesteps", least, MOST_TIMESTEPS)
    tables: dict[str, tuple[float, ...] | None] = {"alphas_cumprod": None, "gammas_cumprod": None}
    if has_tables:
        alphas = _as_table(alphas_cumprod, "alphas_cumprod")
        gammas = _as_table(gammas_cumprod, "gammas_cumprod")
        tables = {"alphas_cumprod": alphas, "gammas_cumprod": gammas}
        steps = _length(alphas, gammas, steps)
    return {
        "num_vec_classes": classes,
        "num_train_timesteps": steps,
        **{name: as_float(value, name) for name, value in ends.items()},
        "sampling_method": sampling_method,
        "timestep_spacing": timestep_spacing,
        **tables,
    }


def _as_table(values: Any, name: str) -> tuple[float, ...]:
    if values is None:
        raise ValueError("alphas_cumprod and gammas_cumprod must be given together: both or none")
    array = as_array(values, name)
    if array.ndim != 1 or not 1 <= len(array) <= MOST_TIMESTEPS:
        raise ValueError(
            f"{name} must hold one number for each of 1 to {MOST_TIMESTEPS} timesteps, not shape "
            f"{array.shape}"
        )
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold real numbers, not {array.dtype}")
    return tuple(array.astype(np.float64).tolist())


def _length(alphas: tuple[float, ...], gammas: tuple[float, ...], given: int) -> int:
    if len(gammas) != len(alphas):
        raise ValueError(
            "gammas_cumprod must have the length of alphas_cumprod, "
            f"{len(alphas)}, not {len(gammas)}"
        )
    if given not in (len(alphas), _DEFAULT_TIMESTEPS):
        raise ValueError(
            "num_train_timesteps must be the length of alphas_cumprod beside it, "
            f"{len(alphas)}, or left out, not {given}"
        )
    return len(alphas)
