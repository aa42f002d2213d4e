"""The demo: a small denoiser for handwritten digits, and the loop that draws with it.

The command is `python -m vqdiffusion demo`; `--help` explains it.
"""

from .denoiser import DigitDenoiser
from .generate import Generated, generate

__all__ = ["DigitDenoiser", "Generated", "generate"]
