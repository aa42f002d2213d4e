"""How much of a distribution truncation keeps."""

from __future__ import annotations

from typing import NamedTuple, SupportsFloat, SupportsIndex

from .arguments import as_float, as_int
from .checks import check_rate


class Truncation(NamedTuple):
    """The arguments of `truncate`, checked, as the native module takes them."""

    rate: float
    floor: float
    top_k: int  # 0 for any number
    temperature: float


def as_truncation(
    rate: SupportsFloat,
    floor: SupportsFloat,
    top_k: SupportsIndex | None,
    temperature: SupportsFloat,
    rate_name: str = "rate",
) -> Truncation:
    """The arguments of `truncate`; a NaN in `floor` is for the native module to refuse.

    Raises
    ------
    TypeError, ValueError
    """
    share = as_float(rate, rate_name)
    check_rate(share, rate_name)
    number = as_float(temperature, "temperature")
    if not 1e-6 <= number <= 1e6:
        hint = f": only the most probable class is kept at {rate_name}=0" if number == 0 else ""
        raise ValueError(f"temperature must be in 1e-06 ... 1000000, not {number:g}{hint}")
    most = 0 if top_k is None else as_int(top_k, "top_k", 1)
    return Truncation(share, as_float(floor, "floor"), most, number)
