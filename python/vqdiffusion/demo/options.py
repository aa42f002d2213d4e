"""What the commands have in common: options checked, files that can be written."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path


def digits_of(text: str) -> list[int]:
    if not text or not set(text) <= set("0123456789"):
        raise argparse.ArgumentTypeError(f"expected digits 0 to 9 such as 2024, got {text!r}")
    return [int(character) for character in text]


def int_between(low: int, high: int | None) -> Callable[[str], int]:
    """The type of an option that takes whole numbers of a range."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low or (high is not None and value > high):
            wanted = f"a whole number from {low}" + ("" if high is None else f" to {high}")
            raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}")
        return value

    return parse


def one_of(names: Sequence[str]) -> Callable[[str], str]:
    """The type of an option that takes one of some names."""

    def parse(text: str) -> str:
        if text not in names:
            wanted = f"{', '.join(names[:-1])} or {names[-1]}"
            raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}")
        return text

    return parse


def file_ending(*endings: str) -> Callable[[str], Path]:
    """The type of an option that takes a file name with one of some endings."""

    def parse(text: str) -> Path:
        path = Path(text)
        if path.suffix.lower() not in endings:
            wanted = f"a file name that ends in {' or '.join(endings)}"
            raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}")
        return path

    return parse


def not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number that is not negative, got {text!r}")
    return value


def unwritable(path: Path) -> str | None:
    """Why `path` cannot be written, as far as one can tell without writing."""
    if path.is_dir():
        return "it is a folder"
    if path.exists():
        return None if os.access(path, os.W_OK) else "no permission"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    return None if os.access(path.parent, os.W_OK) else f"no permission in the folder {path.parent}"
