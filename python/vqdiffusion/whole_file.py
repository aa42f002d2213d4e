"""A file that is written whole or not at all."""

from __future__ import annotations

import os
import stat
from contextlib import suppress


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file in UTF-8 that holds all of `text`, or is as before after an exception.

    Permissions are those that `open(path, "w")` leaves, and links are followed.

    Raises
    ------
    OSError
        If the file or its folder cannot be written to.
    """
    target = os.path.realpath(path)
    mode = None
    if os.path.exists(target):
        with open(target, "a"):  # refuses what cannot be written to
            mode = stat.S_IMODE(os.stat(target).st_mode)
    part = f"{target}.{os.urandom(8).hex()}.part"
    try:
        with open(part, "x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(part, mode)
        os.replace(part, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise
