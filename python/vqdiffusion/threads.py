"""How many threads a call of the native module may use.

At import the environment says it: VQDIFFUSION_NUM_THREADS, else OMP_NUM_THREADS, else as many as
there are cores.
"""

from __future__ import annotations

import os

from .arguments import as_int

_MOST = 2**31 - 1


def _of_environment() -> int:
    """The number that the environment asks for; 0 where it asks for none."""
    own = os.environ.get("VQDIFFUSION_NUM_THREADS", "").strip()
    if own:
        number = _as_number(own)
        if number is None:
            raise ImportError(
                f"VQDIFFUSION_NUM_THREADS must be an integer from 0 (automatic) to {_MOST}, "
                f"not {own[:40]!r}."
            )
        return number
    # OpenMP takes a list with one number for each level of nested parallelism, and ignores what it
    # cannot read.
    return _as_number(os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()) or 0


def _as_number(text: str) -> int | None:
    if not (text.isascii() and text.isdecimal() and len(text) <= 20 and int(text) <= _MOST):
        return None
    return int(text)


_in_environment = _of_environment()
_num_threads = _in_environment


def set_num_threads(num_threads: int | None) -> None:
    """Set the largest number of threads that one call may use, for the whole process.

    Results do not depend on it. Until it is called the environment decides, as it was when the
    package was imported: VQDIFFUSION_NUM_THREADS, where 0 is automatic, else the first number in
    OMP_NUM_THREADS, else automatic.

    Parameters
    ----------
    num_threads : int or None
        0 is automatic: as many as the cores that the calling thread may run on, when the work is
        worth them. None goes back to what the environment says.

    Raises
    ------
    TypeError, ValueError
        If `num_threads` is not an integer, or is negative.
    """
    global _num_threads
    _num_threads = (
        _in_environment if num_threads is None else as_int(num_threads, "num_threads", 0, _MOST)
    )


def get_num_threads() -> int:
    """The number that `set_num_threads` or the environment has set; 0 stands for automatic."""
    return _num_threads
