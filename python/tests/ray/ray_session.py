"""Ray for the tests: in folders of their own, and with nothing left running."""

import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"
sys.path.insert(0, str(EXAMPLES))


@contextmanager
def surroundings():
    """Environment variables under which Ray keeps its files in a folder, which is yielded and then
    removed with every process that still runs under them.
    """
    # A short name: paths of sockets have at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="vqd"))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_TMPDIR", str(folder))
            patch.setenv("HOME", str(folder))  # Ray writes a token there
            patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
            patch.delenv("RAY_ADDRESS", raising=False)
            yield folder
    finally:
        wait_until(lambda: not kill_all(folder))
        shutil.rmtree(folder)


def processes(folder, name=""):
    """Those that were started under the surroundings, by number, and that have `name` in the
    command line.
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = process.joinpath("cmdline").read_bytes().decode(errors="replace")
            is_other = int(process.name) != os.getpid()  # this one has Ray's logs open too
            if is_other and name in command and belongs_to(process, folder):
                found.append(int(process.name))
        except OSError:  # it has ended
            continue
    return found


def belongs_to(process, folder):
    """Its environment names the folder or it writes a log there: Ray's processes set their title,
    which is written over the environment.
    """
    if os.fsencode(folder) in process.joinpath("environ").read_bytes():
        return True
    return any(os.readlink(file).startswith(str(folder)) for file in process.glob("fd/*"))


def kill(process):
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        pass


def kill_all(folder):
    """Those that were there."""
    found = processes(folder)
    for process in found:
        kill(process)
    return found


def wait_until(condition, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
