"""A page that shows a chain step by step: which pixels a step needed, and what each became."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib import resources
from itertools import pairwise
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import VQDiffusionScheduler
from ..whole_file import write_whole
from .denoiser import DigitDenoiser

_PLACE = "CHAIN_AS_JSON"  # in chain.html

Frames = Sequence[npt.NDArray[np.int64]]


def needed_pixels(
    frames: Frames,
    *,
    timestep_spacing: str = "reference",
    unmask: bool = False,
    generator: np.random.Generator,
) -> tuple[list[int], list[npt.NDArray[np.bool_]]]:
    """The timesteps of a chain, and for each the pixels that its step needed.

    Parameters
    ----------
    frames : sequence of arrays, each of shape (B, 64)
        Those of `generate`.
    timestep_spacing : str
        As `generate` had it.
    unmask : bool
        Whether `generate` had an `unmask`. Then these are the pixels that a step revealed.
    generator : numpy.random.Generator
        In the state in which `generate` got it: `plan` draws the numbers of the step again.

    Returns
    -------
    timesteps : list of int
    needed : list of bool arrays, each of shape (B, 64)
    """
    scheduler = VQDiffusionScheduler(
        DigitDenoiser.num_classes + 1, timestep_spacing=timestep_spacing
    )
    scheduler.set_timesteps(len(frames) - 1)
    timesteps = scheduler.timesteps.tolist()
    if unmask:
        return timesteps, [before != after for before, after in pairwise(frames)]
    plans = (scheduler.plan(t, x_t, generator) for t, x_t in zip(timesteps, frames))
    return timesteps, [plan.needed for plan in plans]


def chain_as_json(
    frames: Frames,
    timesteps: Iterable[int],
    needed: Iterable[npt.NDArray[np.bool_]],
    *,
    digits: Sequence[int],
    columns: int,
    unmask: str | None,
    title: str,
) -> str:
    """What the page reads: of every step the pixels that it needed, and those that it changed.

    Pixels are numbered row by row over all digits, 64 b + p. All are masks before the first step.
    """
    steps: list[dict[str, Any]] = []
    for t, read, (before, after) in zip(timesteps, needed, pairwise(frames), strict=True):
        changed = np.flatnonzero(before != after)
        steps.append(
            {
                "t": t,
                "needed": np.flatnonzero(read).tolist(),
                "changed": changed.tolist(),
                "became": after.ravel()[changed].tolist(),
            }
        )
    chain = {
        "title": title,
        "digits": list(digits),
        "columns": columns,
        "unmask": unmask,
        "steps": steps,
    }
    return json.dumps(chain, separators=(",", ":")).replace("<", "\\u003c")


def save_page(path: str | PathLike[str], chain: str) -> None:
    """Write the page of `chain`, which `chain_as_json` made, whole or not at all.

    It needs nothing but itself: no network and no other file.
    """
    template = resources.files(__package__).joinpath("chain.html").read_text("utf-8")
    write_whole(path, template.replace(_PLACE, chain))
