"""The float64 twin of the kernels, from where the tests keep it."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "python/tests"))

from reference import Reference, transition  # noqa: E402

__all__ = ["Reference", "transition"]
