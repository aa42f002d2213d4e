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

State = npt.NDArray[np.uint8]  # the bytes of `Generator.get_state()`, which the native module reads and advances

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

    def __enter__(self) -> list[State]:
        if self._lock:
            self._lock.acquire()
        try:
            # A generator that occurs twice has one engine, which serves both in turn.
            self._states = {one: one.get_state() for one in self._generators}
            arrays = {one: state.numpy() for one, state in self._states.items()}
        except BaseException:
            if self._lock:
                self._lock.release()
            raise
        return [arrays[one] for one in self._generators]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                for generator, state in self._states.items():
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
