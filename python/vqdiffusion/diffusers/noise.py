"""Uniforms drawn as torch.rand draws them, and generators that go back when the call they were drawn for fails."""

from __future__ import annotations

from types import TracebackType

import torch
from torch import Generator, Tensor


def uniforms(
    shape: tuple[int, ...],
    generator: Generator | list[Generator] | None,
    device: torch.device | str,
    dtype: torch.dtype | None = None,
    rows: list[int] | None = None,
) -> Tensor:
    """Uniforms on [0, 1) of a shape that begins with the batch, in torch's default dtype unless another is given.

    A list of generators gives each batch row what its own generator gives for that row alone. With `rows`, batch row i
    gets only that many of `shape[1]`, drawn in turn; what follows is 0.
    """
    if rows is None and not isinstance(generator, list):
        return torch.rand(shape, generator=generator, device=device, dtype=dtype)
    out = torch.zeros(shape, device=device, dtype=dtype)
    for i in range(shape[0]):
        part = out[i] if rows is None else out[i, : rows[i]]
        one = generator[i] if isinstance(generator, list) else generator
        part.copy_(torch.rand(part.shape, generator=one, device=device, dtype=dtype))
    return out


def pixel_uniforms(
    batch: int, pixels: int, generator: Generator | list[Generator] | None, device: torch.device | str
) -> Tensor:
    """One uniform for each pixel, in float64 where the device has that."""
    # The native step says "cpu": after a network has emptied the caches `torch.device` takes 0.03 ms to understand it.
    has_float64 = device == "cpu" or torch.device(device).type != "mps"
    dtype = torch.float64 if has_float64 else torch.float32
    return uniforms((batch, pixels), generator, device, dtype)


class restored_on_error:
    """Context manager: when its block raises, the generators, or for None that of the CPU, are put back."""

    __slots__ = ("_states",)

    def __init__(self, generator: Generator | list[Generator] | None) -> None:
        generators = generator if isinstance(generator, list) else [generator or torch.default_generator]
        self._states = [(one, one.get_state()) for one in generators]

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for generator, state in self._states:
                generator.set_state(state)
