"""The engines of torch's generators on the CPU, for native code to go on drawing where torch has stopped."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from types import TracebackType

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator

from ..torch_memory import memory

Engine = npt.NDArray[np.uint32]  # the 624 words of an MT19937 state, and how many have been given out since it was twisted

# Offsets in the bytes of `Generator.get_state()`: int32 words left plus 1, uint64 words given out, 624 uint64 words.
_SIZE, _LEFT, _NEXT, _WORDS = 5056, 8, 16, 24

# Between reading torch's global generator and writing it back no other thread may do the same, or both draw alike.
_global_lock = threading.Lock()


def _unlock_after_fork() -> None:
    global _global_lock
    _global_lock = threading.Lock()


os.register_at_fork(after_in_child=_unlock_after_fork)


class engines:
    """Context manager: the engine of each generator, None standing for torch's global one. The generators are advanced
    when its block ends, and left alone when it raises.

    No other thread may draw from one of these generators meanwhile: what it drew would be drawn again.
    """

    def __init__(self, generators: Sequence[Generator | None]) -> None:
        self._generators = [one or torch.default_generator for one in generators]
        self._lock = _global_lock if torch.default_generator in self._generators else None

    def __enter__(self) -> list[Engine]:
        if self._lock:
            self._lock.acquire()
        # A generator that occurs twice has one engine, which serves both in turn.
        self._states = {one: one.get_state() for one in self._generators}
        self._engines = {one: _read(state.numpy()) for one, state in self._states.items()}
        return [self._engines[one] for one in self._generators]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                for generator, state in self._states.items():
                    engine = self._engines[generator]
                    if not np.array_equal(engine, _read(state.numpy())):
                        _write(engine, state.numpy())
                        generator.set_state(state)
        finally:
            if self._lock:
                self._lock.release()


def can_continue(generators: Sequence[Generator | None]) -> bool:
    """Whether `torch.rand` would now draw with the engines of these generators, as float32."""
    if torch.get_default_dtype() is not torch.float32:
        return False
    for one in generators:
        # Draws nothing, but shows what would be drawn: random numbers of vmap, for one, are out of reach.
        if memory(torch.rand(0, generator=one, device="cpu"), "uniforms") is None:
            return False
    return True


def _read(state: npt.NDArray[np.uint8]) -> Engine:
    engine = np.empty(625, np.uint32)
    engine[:624] = state[_WORDS : _WORDS + 8 * 624].view(np.uint64)
    # The engine of a fresh seed, which has to be twisted first, counts as used up: one left.
    engine[624] = 625 - state[_LEFT : _LEFT + 4].view(np.int32)[0]
    return engine


def _write(engine: Engine, state: npt.NDArray[np.uint8]) -> None:
    state[_WORDS : _WORDS + 8 * 624].view(np.uint64)[:] = engine[:624]
    state[_LEFT : _LEFT + 4].view(np.int32)[0] = 625 - int(engine[624])
    state[_NEXT : _NEXT + 8].view(np.uint64)[0] = engine[624]
