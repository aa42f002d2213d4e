"""The engines of torch's generators on the CPU, for native code to go on drawing where torch has
stopped.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from . import noise
from .noise import States, draws

# The bytes of `Generator.get_state()`, which the native module reads and advances.
State = npt.NDArray[np.uint8]


# Threads that draw from torch's global generator take turns. Reentrant, for signal handlers and
# finalizers that draw.
_global_lock: AbstractContextManager[object]


def _make_lock() -> None:
    """A forked child has one of its own."""
    global _global_lock
    _global_lock = threading.RLock()


_make_lock()
os.register_at_fork(after_in_child=_make_lock)


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
        self._ticket = next(draws)
        given = [one or torch.default_generator for one in generators]
        self._generators = given if len(given) == 1 else list(dict.fromkeys(given))
        self._after = [one.get_state() for one in self._generators]
        engines = [*map(Tensor.numpy, self._after)]
        self._before = [*map(np.ndarray.copy, engines)]
        if len(given) > 1:
            of = dict(zip(self._generators, engines))
            engines = [of[one] for one in given]
        self.sources: list[State] = engines

    def write_back(self, states: States) -> bool:
        """Advance the generators to where their engines are, or return False and leave them alone
        where another call, of a thread or a signal handler, has drawn from one of them meanwhile.
        `states` receives what undoes the advance.
        """
        # Anybody may draw from the global generator with functions of torch's own.
        is_private = torch.default_generator not in self._generators
        expected = [self._ticket + 1] if is_private else []
        ticket = map(next, (draws,))
        states_now = map(Tensor.numpy, map(Generator.get_state, self._generators))
        now = map(np.ndarray.tobytes, states_now)
        before = map(np.ndarray.tobytes, self._before)
        advance = map(Generator.set_state, self._generators, self._after)
        states += zip(self._generators, map(torch.from_numpy, self._before))
        with noise.lock:
            # Calls of C code alone, so that no signal is handled before the generators are set.
            # States are compared only where another call has drawn: that costs 3 % of a step.
            if [*ticket] == expected or [*now] == [*before]:
                list(advance)
                return True
        states.clear()
        return False


# What vmap and its like put themselves on; torch has no public name for it.
_transform = getattr(getattr(torch._C, "_functorch", None), "peek_interpreter_stack", None)


def can_continue(generators: Sequence[Generator | None]) -> bool:
    """Whether `torch.rand` would now draw with the engines of these generators, as float32."""
    if torch.get_default_dtype() is not torch.float32:
        return False
    if _transform is not None and _transform() is not None:  # random numbers are vmap's
        return False
    return all(one is None or one.device.type == "cpu" for one in generators)
