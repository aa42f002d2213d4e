"""The code of a page of docs/, run from its first block to its last, and what the page says of it.

A block of text right after one of Python is what that block prints, warns or raises.
"""

import contextlib
import io
import re
import warnings
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text(name):
    return (DOCS / name).read_text(encoding="utf-8")


def said(code, names):
    """What running the code prints, warns of and raises, in that order, as Python says it."""
    output = io.StringIO()
    with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(output):
        warnings.simplefilter("always")
        try:
            exec(code, names)
            raised = []
        except (TypeError, ValueError) as error:
            raised = [error]
    problems = [one.message for one in warned] + raised
    return output.getvalue() + "".join(f"{type(one).__name__}: {one}\n" for one in problems)


def run(name, **names):
    """Runs a page; returns its names and, by line, pairs of what blocks said and the page says.

    Line breaks and runs of spaces are alike, since pages have lines of 100 columns.
    """
    page, pairs = text(name), {}
    found = list(BLOCK.finditer(page))
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block[1] == "text":
            continue
        line = page[: block.start(2)].count("\n")
        code = compile("\n" * line + block[2], str(DOCS / name), "exec")
        if after and after[1] == "text" and not page[block.end() : after.start()].strip():
            pairs[line] = said(code, names).split(), after[2].split()
        else:
            exec(code, names)
    return names, pairs
