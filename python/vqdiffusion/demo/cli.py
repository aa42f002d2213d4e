"""`python -m vqdiffusion demo`: draws digits and shows how they came out of the noise."""

from __future__ import annotations

import argparse
import math
import os
from functools import partial
from pathlib import Path

import numpy as np

from .generate import DEFAULT_GUIDANCE, Generated, generate

_DESCRIPTION = """\
Draws handwritten digits, 8 by 8 pixels of 17 grey levels, by discrete diffusion: every pixel
starts as a mask, and at every step the denoiser says what each pixel could be and the scheduler
draws the next, less noisy image. Writes a picture and, beside it, an animation.
"""

_PIXELS_ACROSS = 640  # about; the picture's width


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `demo`."""
    parser = subparsers.add_parser("demo", help="draw handwritten digits", description=_DESCRIPTION)
    parser.add_argument(
        "--digits",
        type=_digits,
        metavar="DIGITS",
        help="what to draw, such as 2024 (default: a hundred digits, ten of each)",
    )
    parser.add_argument(
        "--seed",
        type=_seed,
        default=0,
        metavar="N",
        help="the same seed gives the same picture (default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        type=_steps,
        default=100,
        metavar="N",
        help="1 to 100 (default: %(default)s). Fewer than 100 run the end of the noise schedule "
        "only, though the pixels still start as masks: faster, and the digits are worse",
    )
    parser.add_argument(
        "--guidance",
        type=_guidance,
        default=DEFAULT_GUIDANCE,
        metavar="G",
        help="how strongly to insist on the digit asked for; up to 1 there is no guidance "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=_picture_path,
        default=Path("digits.png"),
        metavar="FILE.png",
        help="the picture; the animation goes to FILE.gif (default: %(default)s)",
    )
    parser.set_defaults(run=partial(_run, parser))


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    try:
        from tqdm import tqdm

        from . import pictures
    except ModuleNotFoundError as error:
        parser.exit(1, f"{parser.prog}: {error.name} is missing: pip install 'vqdiffusion[demo]'\n")
    animation = arguments.out.with_suffix(".gif")
    for path in (arguments.out, animation):
        if reason := _unwritable(path):
            parser.error(f"argument --out: cannot write {path}: {reason}")

    digits = arguments.digits or [digit for digit in range(10) for _ in range(10)]
    columns = 10 if arguments.digits is None else min(len(digits), 20)
    scale = max(6, min(16, _PIXELS_ACROSS // (9 * columns)))
    made = generate(
        digits,
        steps=arguments.steps,
        guidance=arguments.guidance,
        generator=np.random.default_rng(arguments.seed),
        progress=partial(
            tqdm, desc="denoising", unit="step", disable=None
        ),  # None: no bar where nobody watches
    )
    try:
        pictures.save_picture(arguments.out, made.digits, columns, scale)
        pictures.save_animation(animation, made.frames, columns, scale)
    except OSError as error:
        parser.exit(
            1, f"{parser.prog}: cannot write {error.filename or arguments.out}: {error.strerror}\n"
        )
    _report(arguments, len(digits), made, animation)


def _report(arguments: argparse.Namespace, count: int, made: Generated, animation: Path) -> None:
    what = f"{_plural(count, 'digit')} in {_plural(arguments.steps, 'step')}"
    print(f"{what}, guidance {arguments.guidance:g}, seed {arguments.seed}")
    for name, seconds in (
        ("denoiser", made.denoiser_seconds),
        ("scheduler", made.scheduler_seconds),
    ):
        print(f"{name:<10} {seconds:8.3f} s {1e3 * seconds / arguments.steps:10.3f} ms a step")
    print(f"picture    {arguments.out}")
    print(f"animation  {animation}")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _digits(text: str) -> list[int]:
    if not text or not set(text) <= set("0123456789"):
        raise argparse.ArgumentTypeError(f"expected digits 0 to 9 such as 2024, got {text!r}")
    return [int(character) for character in text]


def _seed(text: str) -> int:
    return _int_between(text, 0, None)


def _steps(text: str) -> int:
    return _int_between(text, 1, 100)


def _int_between(text: str, low: int, high: int | None) -> int:
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if value < low or (high is not None and value > high):
        wanted = f"a whole number from {low}" + ("" if high is None else f" to {high}")
        raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}")
    return value


def _guidance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number that is not negative, got {text!r}")
    return value


def _picture_path(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() != ".png":
        raise argparse.ArgumentTypeError(f"expected a file name that ends in .png, got {text!r}")
    return path


def _unwritable(path: Path) -> str | None:
    """Why `path` cannot be written, as far as one can tell without writing."""
    if path.is_dir():
        return "it is a folder"
    if path.exists():
        return None if os.access(path, os.W_OK) else "no permission"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    return None if os.access(path.parent, os.W_OK) else f"no permission in the folder {path.parent}"
