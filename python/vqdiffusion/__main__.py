"""`python -m vqdiffusion`: the version, and the demo."""

import argparse

from . import __version__
from .demo import cli


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m vqdiffusion", description="The VQ-Diffusion scheduler."
    )
    parser.add_argument("--version", action="version", version=f"vqdiffusion {__version__}")
    cli.add_parser(parser.add_subparsers(title="commands", metavar="COMMAND", required=True))
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
