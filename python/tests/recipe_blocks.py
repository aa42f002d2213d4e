"""The code of docs/recipes.md and docs/orders.md, run as a reader would paste it."""

import functools
import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PAGE, ORDERS = DOCS / "recipes.md", DOCS / "orders.md"


def text(path=PAGE):
    return path.read_text(encoding="utf-8")


def blocks(path=PAGE):
    """Each block of Python with the line of the page that it begins at."""
    page = text(path)
    found = re.finditer(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [(page[: one.start(1)].count("\n"), one[1]) for one in found]


def run(number, names, path=PAGE):
    """Runs one block; a traceback names the page and its line."""
    line, code = blocks(path)[number]
    exec(compile("\n" * line + code, str(path), "exec"), names)
    return names


@functools.cache
def page(path=PAGE):
    """What all blocks together define, run from the first to the last."""
    names = {}
    for number in range(len(blocks(path))):
        run(number, names, path)
    return names
