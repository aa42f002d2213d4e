"""docs/orders.md and its tables as texts: blocks run by themselves, links lead somewhere."""

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


def anchors_of(content):
    headings = re.findall(r"^##+ (.*)$", content, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one).strip().lower().replace(" ", "-") for one in headings}


@pytest.mark.parametrize("path", [ORDERS, ORDERS.parent / "orders_compared.md"])
def test_links_and_lines(path):
    content = text(path)
    for target, anchor in re.findall(r"\]\(([\w./]*)#?([\w-]*)\)", content):
        page_of_anchor = path.parent / target if target else path
        assert page_of_anchor.exists()
        assert not anchor or anchor in anchors_of(text(page_of_anchor))
    for file in re.findall(r"`?((?:python|training|examples)/[\w/]+\.py)", content):
        assert (ORDERS.parents[1] / file).exists()
    assert max(map(len, content.split("\n"))) <= 100
