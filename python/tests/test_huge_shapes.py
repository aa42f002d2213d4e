"""Shapes with a huge axis and an empty one: there is nothing to compute, and every call ends at
once.
"""

import re
import subprocess
import sys
from pathlib import Path


def run_table(program):
    """Runs a program that calls everything; if it hangs, the message names the call."""
    command = [sys.executable, str(program)]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120
        )
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"does not end: {error.stdout.decode().splitlines()[-1]}") from None
    assert done.returncode == 0, done.stdout[-2000:]
    return int(re.fullmatch(r"(\d+) cases, slow: \[\]", done.stdout.splitlines()[-1])[1])


def test_every_call_ends_within_a_second():
    assert run_table(Path(__file__).with_name("huge_shapes.py")) >= 400
