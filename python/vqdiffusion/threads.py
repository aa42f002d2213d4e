"""How many threads a call of the native module may use."""

from __future__ import annotations

from .arguments import as_int

_num_threads = 0


def set_num_threads(num_threads: int | None) -> None:
    """Set the largest number of threads that one call may use, for the whole process.

    Results do not depend on it.

    Parameters
    ----------
    num_threads : int or None
        None or 0: as many as the cores that the calling thread may run on, when the work is worth them.

    Raises
    ------
    TypeError, ValueError
        If `num_threads` is not an integer, or is negative.
    """
    global _num_threads
    _num_threads = 0 if num_threads is None else as_int(num_threads, "num_threads", 0, 2**31 - 1)


def get_num_threads() -> int:
    """The number last given to `set_num_threads`; 0 stands for automatic."""
    return _num_threads
