"""docs/orders.md as a text: its blocks run by themselves, its links lead somewhere."""

import re

import numpy as np
import pytest
from recipe_blocks import ORDERS, blocks, page, run, text


@pytest.mark.parametrize("number", range(1, len(blocks(ORDERS))))
def test_a_block_runs_after_those_before(number):
    names = run(0, {}, ORDERS)
    for earlier in range(1, number + 1):
        run(earlier, names, ORDERS)


def test_what_the_blocks_draw():
    names = page(ORDERS)
    for name in ("tokens", "sample"):
        assert names[name].shape == (2, 32)
        assert names[name].min() >= 0 and names[name].max() < 50
    np.testing.assert_array_equal(names["masks"], 50)


def test_links_and_lines():
    content = text(ORDERS)
    anchors = {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^##+ (.*)$", content, re.MULTILINE)
    }
    for anchor in re.findall(r"\]\(#([^)]*)\)", content):
        assert anchor in anchors
    for path in re.findall(r"\]\(([\w./]+)(?:#[^)]*)?\)", content):
        assert (ORDERS.parent / path).exists()
    for path in re.findall(r"`(python/[\w/.]+)`", content):
        assert (ORDERS.parents[1] / path).exists()
    assert max(map(len, content.split("\n"))) <= 100
