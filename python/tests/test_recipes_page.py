"""docs/recipes.md as a text: its blocks run by themselves, its links lead somewhere."""

import re

import numpy as np
import pytest
from recipe_blocks import PAGE, blocks, page, run, text


@pytest.mark.parametrize("number", range(1, len(blocks())))
def test_a_block_runs_after_the_first(number):
    """And after those of its own section, which begin at the heading above."""
    heading = text().split("\n")[: blocks()[number][0]]
    begin = max(line for line, content in enumerate(heading) if content.startswith("## "))
    names = run(0, {})
    for earlier in range(1, number + 1):
        if blocks()[earlier][0] > begin:
            run(earlier, names)


def test_what_the_blocks_draw():
    names = page()
    assert names["tokens"].shape == (1, 72)
    np.testing.assert_array_equal(names["tokens"][:, :8], names["known"][:, :8])
    for name in ("tokens", "sample"):
        assert names[name].min() >= 0 and names[name].max() < 50
    assert 1 <= names["calls"] <= 8  # each call that is made reveals one of 8 tokens at least


def test_links_and_lines():
    content = text()
    anchors = {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^## (.*)$", content, re.MULTILINE)
    }
    for anchor in re.findall(r"\]\(#([^)]*)\)", content):
        assert anchor in anchors
    for path in re.findall(r"`(python/[\w/.]+)`", content):
        assert (PAGE.parents[1] / path).exists()
    assert max(map(len, content.split("\n"))) <= 100
