"""Random numbers: what may be passed as a generator, and uniforms that go back when the call they are for fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.random import BitGenerator, Generator, RandomState, SeedSequence, default_rng

OneGenerator = None | int | np.integer[Any] | SeedSequence | BitGenerator | Generator | RandomState
GeneratorLike = OneGenerator | Sequence[OneGenerator]  # a list or a tuple

# What None draws from. It is seeded by the operating system, nobody can read or seed it, and a forked child gets one of
# its own; seeding afresh at every call would take longer than a small step.
_unseeded = default_rng()


def _seed_afresh() -> None:
    global _unseeded
    _unseeded = default_rng()


os.register_at_fork(after_in_child=_seed_afresh)


def _as_generator(generator: OneGenerator) -> Generator:
    if isinstance(generator, Generator):
        return generator
    if generator is None:
        return _unseeded
    if isinstance(generator, BitGenerator):
        return Generator(generator)
    if isinstance(generator, RandomState):
        return Generator(generator._bit_generator)
    if isinstance(generator, SeedSequence):
        return default_rng(generator)
    if isinstance(generator, (int, np.integer)) and not isinstance(generator, bool):
        if generator < 0:
            raise ValueError(f"generator as a seed must not be negative, not {generator}")
        return default_rng(int(generator))
    kind = type(generator)
    raise TypeError(
        "generator must be None, an int, a SeedSequence, BitGenerator, Generator or RandomState of numpy.random, "
        f"or a list with one of these for each batch row, not {kind.__module__}.{kind.__qualname__}"
    )


def _as_generators(generator: GeneratorLike, shape: tuple[int, ...]) -> Generator | list[Generator]:
    """One generator for an array of the given shape, or one for each of its rows."""
    if not isinstance(generator, (list, tuple)):
        return _as_generator(generator)  # type: ignore[arg-type]
    if shape[:1] != (len(generator),):
        raise ValueError(
            f"generator as a list must hold one for each batch row, not {len(generator)} for the shape {shape}"
        )
    return [_as_generator(one) for one in generator]


def draw_noise(generator: GeneratorLike, shape: tuple[int, ...], draw: Callable[[slice, Any], None]) -> None:
    """Call `draw(rows, source)` for all batch rows at once, or for each row where each has a generator of its own.

    `source` is what the native module draws the uniforms of Gumbel noise from, those that `Generator.random` would give
    as float32, without their ever being stored. It draws none before all else has been checked. So only the generators
    before a failing one have to be put back.
    """
    generators = _as_generators(generator, shape)
    if isinstance(generators, Generator):
        bit_generator = generators.bit_generator
        with bit_generator.lock:
            draw(slice(None), bit_generator)
        return
    states = [_state(one) for one in generators]
    try:
        for row, (bit_generator, _) in enumerate(states):
            with bit_generator.lock:
                draw(slice(row, row + 1), bit_generator)
    except BaseException:
        for bit_generator, state in states:
            if state is not None:
                bit_generator.state = state
        raise


class drawn_uniforms:
    """Context manager: uniforms on [0, 1) of the given shape, drawn on entry. When its block raises, every generator
    that was given is put back into the state in which it came.

    Parameters
    ----------
    generator : GeneratorLike
        One source for the whole array, or a list or tuple of sources, of which number i fills row i.
    shape : tuple of int
        Batch rows first.
    dtype : numpy.float64 or numpy.float32
        53 or 24 random bits each.
    """

    __slots__ = ("_dtype", "_generators", "_shape", "_states")

    def __init__(
        self, generator: GeneratorLike, shape: tuple[int, ...], dtype: type[np.floating[Any]] = np.float64
    ) -> None:
        self._shape = shape
        self._dtype = dtype
        if type(generator) is Generator:
            self._generators: Generator | list[Generator] = generator
        else:
            self._generators = _as_generators(generator, shape)

    def __enter__(self) -> npt.NDArray[Any]:
        # Everything that can fail comes before the first draw.
        uniforms = np.empty(self._shape, self._dtype)
        if isinstance(self._generators, list):
            self._states = [_state(one) for one in self._generators]
            for row, one in enumerate(self._generators):
                one.random(out=uniforms[row], dtype=self._dtype)
        else:
            self._states = [_state(self._generators)]
            self._generators.random(out=uniforms, dtype=self._dtype)
        return uniforms

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for bit_generator, state in self._states:
                if state is not None:
                    bit_generator.state = state


def _state(generator: Generator) -> tuple[BitGenerator, Any]:
    # Other threads may draw from `_unseeded` meanwhile: putting it back would hand them the same numbers twice.
    bit_generator = generator.bit_generator
    return bit_generator, None if generator is _unseeded else bit_generator.state
