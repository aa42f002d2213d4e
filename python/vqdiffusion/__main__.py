"""`python -m vqdiffusion`: the version, the demo and plots of schedules."""

import argparse

from . import __version__
from .demo import cli, plot_cli


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m vqdiffusion", description="The VQ-Diffusion scheduler."
    )
    parser.add_argument("--version", action="version", version=f"vqdiffusion {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    cli.add_parser(commands)
    plot_cli.add_parser(commands)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
