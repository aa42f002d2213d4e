"""`python -m vqdiffusion plot`: draws noise schedules and the fate of a pixel."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from .named_schedules import NAMES
from .options import file_ending, int_between, one_of, unwritable

_DESCRIPTION = """\
Draws noise schedules: the probabilities that a pixel is kept and that it is masked, and, a panel
for each schedule, whether it shows its own class, another one or the mask at each timestep. The
numbers are those of the schedules' papers.
"""
_MOST_TIMESTEPS = 10_000


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `plot`."""
    parser = subparsers.add_parser("plot", help="draw noise schedules", description=_DESCRIPTION)
    parser.add_argument(
        "--schedule",
        type=one_of(NAMES),
        nargs="+",
        default=list(NAMES),
        metavar="NAME",
        help=f"one or several of {', '.join(NAMES)} (default: all); linear is VQ-Diffusion's",
    )
    parser.add_argument(
        "--timesteps",
        type=int_between(2, _MOST_TIMESTEPS),
        default=100,
        metavar="T",
        help="of the schedule (default: %(default)s)",
    )
    parser.add_argument(
        "--classes",
        type=int_between(1, 2**31 - 2),
        default=4096,
        metavar="K",
        help="of a pixel, without the mask (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=file_ending(".png", ".svg", ".pdf"),
        default=Path("schedules.png"),
        metavar="FILE",
        help="a .png, .svg or .pdf (default: %(default)s)",
    )
    parser.set_defaults(run=partial(_run, parser))


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    try:
        from . import schedule_plot
    except ModuleNotFoundError as error:
        parser.exit(1, f"{parser.prog}: {error.name} is missing: pip install 'vqdiffusion[plot]'\n")
    if reason := unwritable(arguments.out):
        parser.error(f"argument --out: cannot write {arguments.out}: {reason}")
    names = list(dict.fromkeys(arguments.schedule))  # each once
    try:
        schedule_plot.save_plot(arguments.out, names, arguments.timesteps, arguments.classes)
    except OSError as error:
        parser.exit(1, f"{parser.prog}: cannot write {arguments.out}: {error.strerror}\n")
    print(f"{', '.join(names)}: {arguments.timesteps} timesteps, {arguments.classes} classes")
    print(f"picture    {arguments.out}")
