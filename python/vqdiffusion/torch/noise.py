"""Uniforms drawn as torch.rand draws them, so that a call that fails can be undone.

A call that draws undoes its draws on any exception, an interrupt included::

    states: States = []
    put_back = starmap(Generator.set_state, states)
    try:
        ...
        remember(generator, states)
        ...
        return result
    except BaseException:
        list(put_back)
        raise

Everything up to the `return` is inside, so that a generator has only advanced where the result is
returned. The states are written back by one call of C code, in which Python handles no signal.
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager
from itertools import count
from typing import TypeAlias

import numpy as np
import torch
from torch import Generator, Tensor
from torch.compiler import is_compiling

from ..row_keys import KeysAt

States = list[tuple[Generator, Tensor]]  # generators, and what `get_state` gave
draws = count()  # draws take a number each, with the lock held
# While torch draws, and while an engine is written back. Reentrant, for signal handlers and
# finalizers that draw.
lock: AbstractContextManager[object]


def _make_lock() -> None:
    """A forked child has one of its own."""
    global lock
    lock = threading.RLock()


_make_lock()
os.register_at_fork(after_in_child=_make_lock)


# What a call draws from, None being a device's own generator.
Source: TypeAlias = Generator | list[Generator] | KeysAt | None


def uniforms(
    shape: tuple[int, ...],
    generator: Source,
    device: torch.device | str,
    dtype: torch.dtype | None = None,
    rows: list[int] | None = None,
) -> Tensor:
    """Uniforms on [0, 1) of a shape that begins with the batch, in torch's default dtype unless
    another is given.

    A list of generators gives each batch row what its own generator gives for that row alone. With
    `rows`, batch row i gets only that many of `shape[1]`, drawn in turn; what follows is 0, or of
    keys a number too. Keys give float32 unless float64 is asked for.
    """
    if isinstance(generator, KeysAt):
        return _of_keys(generator, shape, device, dtype)
    if is_compiling():  # torch cannot compile locks
        return _drawn(shape, generator, device, dtype, rows)
    with lock:
        out = _drawn(shape, generator, device, dtype, rows)
        next(draws)
    return out


@torch.compiler.disable  # the core draws
def _of_keys(
    keys: KeysAt, shape: tuple[int, ...], device: torch.device | str, dtype: torch.dtype | None
) -> Tensor:
    drawn = keys.uniforms(shape, np.float64 if dtype is torch.float64 else np.float32)
    return torch.from_numpy(drawn).to(device)


def _drawn(
    shape: tuple[int, ...],
    generator: Generator | list[Generator] | None,
    device: torch.device | str,
    dtype: torch.dtype | None,
    rows: list[int] | None,
) -> Tensor:
    if rows is None and generator is None:
        # Code compiled for any shape has symbols in it, which torch takes without a generator only.
        return torch.rand(shape, device=device, dtype=dtype)
    if rows is None and not isinstance(generator, list):
        return torch.rand(shape, generator=generator, device=device, dtype=dtype)
    out = torch.zeros(shape, device=device, dtype=dtype)
    for i in range(shape[0]):
        part = out[i] if rows is None else out[i, : rows[i]]
        one = generator[i] if isinstance(generator, list) else generator
        part.copy_(torch.rand(part.shape, generator=one, device=device, dtype=dtype))
    return out


def pixel_uniforms(
    batch: int, pixels: int, generator: Source, device: torch.device | str
) -> Tensor:
    """One uniform for each pixel, in float64 where the device has that."""
    return uniforms((batch, pixels), generator, device, _wide(device))


def order_uniforms(
    batch: int, pixels: int, generator: Source, device: torch.device | str, has_order: bool
) -> tuple[Tensor, Tensor | None]:
    """One uniform for each pixel's class, and then one for its place in the order, if there is one.

    Keys give each row `random((2, N))`, whose first half is what they give for the classes alone.
    """
    if has_order and isinstance(generator, KeysAt):
        both = uniforms((batch, 2, pixels), generator, device, _wide(device))
        return both[:, 0], both[:, 1]
    of_classes = pixel_uniforms(batch, pixels, generator, device)
    return of_classes, pixel_uniforms(batch, pixels, generator, device) if has_order else None


def _wide(device: torch.device | str) -> torch.dtype:
    # The native step says "cpu": after a network has emptied the caches `torch.device` takes 0.03
    # ms to understand it.
    has_float64 = device == "cpu" or torch.device(device).type != "mps"
    return torch.float64 if has_float64 else torch.float32


def remember(generator: Source, device: torch.device | str, states: States) -> None:
    """Note the states of the generators, for None the device's, before they are drawn from. Keys
    have none.
    """
    if isinstance(generator, KeysAt):
        return
    generators = (
        generator if isinstance(generator, list) else [generator or _default_generator(device)]
    )
    states += [(one, one.get_state()) for one in generators if one is not None]


def _default_generator(device: torch.device | str) -> Generator | None:
    """What `torch.rand` draws from on a device; None where torch does not show it."""
    if device == "cpu":
        return torch.default_generator
    device = torch.device(device)
    if device.type == "cpu":
        return torch.default_generator
    of_type = getattr(getattr(torch, device.type, None), "default_generators", ())
    return (
        of_type[device.index] if device.index is not None and device.index < len(of_type) else None
    )
