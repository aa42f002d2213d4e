"""The engines of torch's generators on the CPU, for native code to go on drawing where torch has stopped."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from ..torch_memory import memory
from .noise import States

# The bytes of `Generator.get_state()`, which the native module reads and advances.
State = npt.NDArray[np.uint8]


def _make_locks() -> None:
    """Reentrant ones, for signal handlers and finalizers that draw; a forked child has its own."""
    global _global_lock, _write_lock
    _global_lock = threading.RLock()  # threads that draw from torch's global generator take turns
    _write_lock = threading.RLock()  # between comparing a generator's state and setting it


_make_locks()
os.register_at_fork(after_in_child=_make_locks)


def turn(generators: Sequence[Generator | None]) -> AbstractContextManager[object]:
    """What to hold while `Engines` of these generators are in use."""
    is_global = None in generators or torch.default_generator in generators
    return _global_lock if is_global else nullcontext()


class Engines:
    """Copies of the engines of generators, None standing for torch's global one, and the way back.

    Attributes
    ----------
    sources : list of uint8 arrays
        One for each generator. A generator that occurs twice has one engine, which serves both in
        turn.
    """

    def __init__(self, generators: Sequence[Generator | None]) -> None:
        given = [one or torch.default_generator for one in generators]
        self._generators = list(dict.fromkeys(given))
        self._before = [one.get_state() for one in self._generators]
        copies = {one: state.numpy().copy() for one, state in zip(self._generators, self._before)}
        self._after = [torch.from_numpy(copy) for copy in copies.values()]
        self.sources: list[State] = [copies[one] for one in given]

    def write_back(self, states: States) -> bool:
        """Advance the generators to where their engines are, or return False and leave them alone
        where another thread or a signal handler has drawn from one of them meanwhile. `states`
        receives what undoes the advance.
        """
        before = [bytes(state.numpy()) for state in self._before]
        now = map(bytes, map(Tensor.numpy, map(Generator.get_state, self._generators)))
        advance = map(Generator.set_state, self._generators, self._after)
        states += zip(self._generators, self._before)
        with _write_lock:
            # These two run in C: no signal is handled in between.
            if [*now] == before:
                list(advance)
                return True
        states.clear()
        return False


def can_continue(generators: Sequence[Generator | None]) -> bool:
    """Whether `torch.rand` would now draw with the engines of these generators, as float32."""
    if torch.get_default_dtype() is not torch.float32:
        return False
    for one in generators:
        # Draws nothing, but shows what would be drawn: random numbers of vmap, for one, are out of reach.
        if memory(torch.rand(0, generator=one, device="cpu"), "uniforms") is None:
            return False
    return True
