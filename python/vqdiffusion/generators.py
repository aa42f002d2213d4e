"""Random numbers: what may be passed as a generator, and draws that a failing call undoes.

A call that draws undoes its draws on any exception, an interrupt included::

    states: States = []
    put_back = starmap(setattr, states)
    try:
        uniforms = draw_uniforms(generator, shape, states)
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
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.random import BitGenerator, Generator, RandomState, SeedSequence, default_rng

from .arguments import as_digits
from .row_keys import KeysAt, RowKeys

OneGenerator = None | int | np.integer[Any] | SeedSequence | BitGenerator | Generator | RandomState
GeneratorLike = OneGenerator | Sequence[OneGenerator] | RowKeys  # a list or a tuple
# Arguments of `setattr`: a bit generator, "state", and what that was.
States = list[tuple[BitGenerator, str, Any]]

# What None draws from. It is seeded by the operating system, nobody can read or seed it, and a
# forked child gets one of its own; seeding afresh at every call would take longer than a small
# step.
_unseeded = default_rng()

# The threads that hold the lock of a bit generator in `_draw_locked`.
_drawing: dict[BitGenerator, int] = {}


def _seed_afresh() -> None:
    global _unseeded
    _unseeded = default_rng()
    _drawing.clear()


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
            number = as_digits(int(generator))
            raise ValueError(f"generator as a seed must not be negative, not {number}")
        return default_rng(int(generator))
    if isinstance(generator, RowKeys):
        raise TypeError(
            "generator must not be RowKeys in a list, as one holds all rows, nor where there is no "
            "timestep to draw at"
        )
    kind = type(generator)
    raise TypeError(
        "generator must be None, an int, a SeedSequence, BitGenerator, Generator or RandomState of "
        "numpy.random, a list with one of these for each batch row, "
        f"or RowKeys, not {kind.__module__}.{kind.__qualname__}"
    )


def as_generators(generator: GeneratorLike, shape: tuple[int, ...]) -> Generator | list[Generator]:
    """One generator for an array of the given shape, or one for each of its rows."""
    if not isinstance(generator, (list, tuple)):
        return _as_generator(generator)  # type: ignore[arg-type]
    generators = list(generator)  # a subclass may say another length than it has
    if shape[:1] != (len(generators),):
        raise ValueError(
            f"generator as a list must hold one for each batch row, not {len(generators)} for the "
            f"shape {shape}"
        )
    return list(map(_as_generator, generators))


def draw_noise(
    generator: GeneratorLike | KeysAt,
    shape: tuple[int, ...],
    draw: Callable[[slice, Any], None],
    states: States,
) -> None:
    """Call `draw(rows, source)` for all batch rows at once, or for each row where each has a
    generator of its own.

    `source` is what the native module draws the uniforms of Gumbel noise from, those that
    `Generator.random` would give as float32 of `shape`, without their ever being stored; of keys
    it is the uniforms. `states` receives what undoes the draws.
    """
    if isinstance(generator, KeysAt):
        draw(slice(None), generator.uniforms(shape, np.float32))
        return
    generators = generator if type(generator) is Generator else as_generators(generator, shape[:1])
    if isinstance(generators, Generator):
        _remember(generators, states)
        _draw_locked(generators, draw, slice(None))
        return
    for one in generators:
        _remember(one, states)
    for row, one in enumerate(generators):
        _draw_locked(one, draw, slice(row, row + 1))


def draw_uniforms(
    generator: GeneratorLike | KeysAt,
    shape: tuple[int, ...],
    states: States,
    dtype: type[np.floating[Any]] = np.float64,
) -> npt.NDArray[Any]:
    """Uniforms on [0, 1).

    Parameters
    ----------
    generator : GeneratorLike or KeysAt
        One source for the whole array, a list or tuple of sources, of which number i fills row i,
        or keys with their timesteps.
    shape : tuple of int
        Batch rows first.
    states : States
        Receives what undoes the draws.
    dtype : numpy.float64 or numpy.float32
        53 or 24 random bits each.
    """
    if isinstance(generator, KeysAt):
        return generator.uniforms(shape, dtype)
    generators = generator if type(generator) is Generator else as_generators(generator, shape)
    uniforms = np.empty(shape, dtype)
    if isinstance(generators, list):
        for one in generators:
            _remember(one, states)
        for row, one in enumerate(generators):
            one.random(out=uniforms[row], dtype=dtype)
    else:
        _remember(generators, states)
        generators.random(out=uniforms, dtype=dtype)
    return uniforms


def remember(generators: Generator | list[Generator], states: States) -> None:
    """Note what undoes the draws of a call from these generators."""
    for one in generators if isinstance(generators, list) else [generators]:
        _remember(one, states)


def _remember(generator: Generator, states: States) -> None:
    # Other threads may draw from `_unseeded` meanwhile: putting it back would hand them the same
    # numbers twice.
    if generator is not _unseeded:
        bit_generator = generator.bit_generator
        states.append((bit_generator, "state", bit_generator.state))


# An exception that a tracing function raises between two instructions, where Python handles no
# signal, may leave an entry behind.
def _draw_locked(generator: Generator, draw: Callable[[slice, Any], None], rows: slice) -> None:
    bit_generator, thread = generator.bit_generator, get_ident()
    # A signal handler or a finalizer that runs inside the block below would wait for itself:
    # NumPy's lock is not reentrant before NumPy 2.4.
    if _drawing.get(bit_generator) == thread:
        if generator is not _unseeded:
            raise RuntimeError(
                "generator is in use by the call that this one has interrupted; pass another one"
            )
        bit_generator = default_rng().bit_generator
    with bit_generator.lock:
        try:
            _drawing[bit_generator] = thread
            draw(rows, bit_generator)
        finally:
            _drawing.pop(bit_generator, None)
