"""The code of docs/recipes.md, run as a reader would paste it."""

import functools
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"


def text():
    return PAGE.read_text(encoding="utf-8")


def blocks():
    """Each block of Python with the line of the page that it begins at."""
    page = text()
    found = re.finditer(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [(page[: one.start(1)].count("\n"), one[1]) for one in found]


def run(number, names):
    """Runs one block; a traceback names the page and its line."""
    line, code = blocks()[number]
    exec(compile("\n" * line + code, str(PAGE), "exec"), names)
    return names


@functools.cache
def page():
    """What all blocks together define, run from the first to the last."""
    names = {}
    for number in range(len(blocks())):
        run(number, names)
    return names
