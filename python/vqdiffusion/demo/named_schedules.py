"""The schedules of `vqdiffusion.schedules` by the names that commands take."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from .. import schedules

_Tables = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

_SCHEDULES: dict[str, Callable[[int], _Tables]] = {
    "linear": schedules.linear,
    "log_linear": schedules.log_linear,
    "cosine-mdlm": partial(schedules.cosine, variant="mdlm"),
    "cosine-maskgit": partial(schedules.cosine, variant="maskgit"),
    "cosine-d3pm": partial(schedules.cosine, variant="d3pm"),
    "polynomial": schedules.polynomial,
    "geometric": schedules.geometric,
    "hybrid": schedules.hybrid,
}
NAMES = tuple(_SCHEDULES)


def tables(name: str, timesteps: int) -> _Tables:
    """ᾱ and γ̄ of one of `NAMES`, with the numbers of its paper."""
    return _SCHEDULES[name](timesteps)
