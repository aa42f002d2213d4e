"""Draws digits as a picture and their denoising as an animation. Needs Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np
import numpy.typing as npt
from PIL import Image

_PAPER, _INK, _MASK = (250, 248, 243), (28, 32, 64), (232, 152, 104)
_GREYS = np.linspace(_PAPER, _INK, 17).round()
_PALETTE = np.concatenate([_GREYS, [_MASK], [_PAPER]]).astype(np.uint8)
_GAP = 18  # index of the colour between digits

_MILLISECONDS = 60
_MILLISECONDS_AT_THE_END = 3000


def draw(digits: npt.NDArray[np.int64], columns: int, scale: int) -> Image.Image:
    """A grid of 8×8 digits, row by row, one digit pixel of paper around each.

    Parameters
    ----------
    digits : integer array, shape (B, 64)
        Grey levels 0 … 16, from paper to ink, and 17, the mask, in a colour of its own.
    columns : int
        Digits in a row of the grid.
    scale : int
        Side of a digit's pixel in the picture.

    Returns
    -------
    PIL.Image.Image
        With a palette.
    """
    rows = -(-len(digits) // columns)
    cells = np.full((rows * columns, 9, 9), _GAP, np.uint8)
    cells[: len(digits), 1:, 1:] = digits.reshape(-1, 8, 8)
    grid = cells.reshape(rows, columns, 9, 9).swapaxes(1, 2).reshape(rows * 9, columns * 9)
    grid = np.pad(grid, ((0, 1), (0, 1)), constant_values=_GAP)
    image = Image.fromarray(grid.repeat(scale, axis=0).repeat(scale, axis=1))
    image.putpalette(_PALETTE.tobytes())
    return image


def save_picture(
    path: str | PathLike[str], digits: npt.NDArray[np.int64], columns: int, scale: int
) -> None:
    """Write `draw(digits, columns, scale)` to a PNG file."""
    draw(digits, columns, scale).save(path, format="PNG", optimize=True)


def save_animation(
    path: str | PathLike[str], frames: Sequence[npt.NDArray[np.int64]], columns: int, scale: int
) -> None:
    """Write the frames to a GIF file that plays for ever and rests on the last frame."""
    images = [draw(frame, columns, scale) for frame in frames]
    durations = [_MILLISECONDS] * (len(images) - 1) + [_MILLISECONDS_AT_THE_END]
    images[0].save(
        path, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0
    )
