"""`python -m vqdiffusion demo`: draws digits and shows how they came out of the noise."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np

from ..spacing import SPACINGS
from ..unmask import ORDERS, Unmask
from . import page
from .generate import DEFAULT_GUIDANCE, Generated, generate
from .options import digits_of, file_ending, int_between, not_negative, one_of, unwritable

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
        type=digits_of,
        metavar="DIGITS",
        help="what to draw, such as 2024 (default: a hundred digits, ten of each)",
    )
    parser.add_argument(
        "--seed",
        type=int_between(0, None),
        default=0,
        metavar="N",
        help="the same seed gives the same picture (default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        type=int_between(1, 100),
        default=100,
        metavar="N",
        help="calls of the denoiser, 1 to 100 (default: %(default)s); fewer are faster",
    )
    parser.add_argument(
        "--spacing",
        type=one_of(SPACINGS),
        default="reference",
        metavar="NAME",
        help="where fewer than 100 steps lie in the noise schedule. trailing, linspace and leading "
        "spread them over it; leading begins below the noise of a full mask. reference takes its "
        "end only, as diffusers does, though the pixels start as masks (default: %(default)s)",
    )
    parser.add_argument(
        "--guidance",
        type=not_negative,
        default=DEFAULT_GUIDANCE,
        metavar="G",
        help="how strongly to insist on the digit asked for; up to 1 there is no guidance "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--unmask",
        type=one_of(ORDERS),
        metavar="NAME",
        help="which pixels a step reveals, as many as are due: random ones, or those of which the "
        "denoiser is most sure by purity, margin, entropy or confidence, which spoils variety, all "
        "with noise of temperature 1 "
        "(default: each pixel is revealed or not by itself)",
    )
    parser.add_argument(
        "--out",
        type=file_ending(".png"),
        default=Path("digits.png"),
        metavar="FILE.png",
        help="the picture; the animation goes to FILE.gif (default: %(default)s)",
    )
    parser.add_argument(
        "--html",
        type=file_ending(".html"),
        metavar="FILE.html",
        help="also a page for a browser that shows the chain step by step: which pixels each step "
        "needed the denoiser for, or revealed with --unmask, and what they became",
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
        if reason := unwritable(path):
            parser.error(f"argument --out: cannot write {path}: {reason}")
    if arguments.html and (reason := unwritable(arguments.html)):
        parser.error(f"argument --html: cannot write {arguments.html}: {reason}")

    digits = arguments.digits or [digit for digit in range(10) for _ in range(10)]
    columns = 10 if arguments.digits is None else min(len(digits), 20)
    scale = max(6, min(16, _PIXELS_ACROSS // (9 * columns)))
    made = generate(
        digits,
        steps=arguments.steps,
        timestep_spacing=arguments.spacing,
        guidance=arguments.guidance,
        unmask=arguments.unmask and Unmask(arguments.unmask, temperature=1),
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
    if arguments.html:
        try:
            _save_page(arguments, digits, columns, made)
        except OSError as error:
            parser.exit(1, f"{parser.prog}: cannot write {arguments.html}: {error.strerror}\n")
    _report(arguments, len(digits), made, animation)


def _save_page(
    arguments: argparse.Namespace, digits: list[int], columns: int, made: Generated
) -> None:
    timesteps, needed = page.needed_pixels(
        made.frames,
        timestep_spacing=arguments.spacing,
        unmask=arguments.unmask is not None,
        generator=np.random.default_rng(arguments.seed),
    )
    chain = page.chain_as_json(
        made.frames,
        timesteps,
        needed,
        digits=digits,
        columns=columns,
        unmask=arguments.unmask,
        title=_title(arguments, len(digits)),
    )
    page.save_page(arguments.html, chain)


def _title(arguments: argparse.Namespace, count: int) -> str:
    what = f"{_plural(count, 'digit')} in {_plural(arguments.steps, 'step')}"
    if arguments.spacing != "reference":
        what += f", spacing {arguments.spacing}"
    if arguments.unmask:
        what += f", by {arguments.unmask}"
    return f"{what}, guidance {arguments.guidance:g}, seed {arguments.seed}"


def _report(arguments: argparse.Namespace, count: int, made: Generated, animation: Path) -> None:
    print(_title(arguments, count))
    for name, seconds in (
        ("denoiser", made.denoiser_seconds),
        ("scheduler", made.scheduler_seconds),
    ):
        print(f"{name:<10} {seconds:8.3f} s {1e3 * seconds / arguments.steps:10.3f} ms a step")
    print(f"picture    {arguments.out}")
    print(f"animation  {animation}")
    if arguments.html:
        print(f"page       {arguments.html}")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
