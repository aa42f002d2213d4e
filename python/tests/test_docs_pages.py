"""docs/start.md, numpy.md and errors.md: blocks run, and say what the page says."""

import re

import docs_blocks
import pytest

from vqdiffusion import checks

PAGES = ["start.md", "numpy.md", "errors.md"]
NEW_PAGES = [*PAGES, "pipelines.md", "swift.md", "c.md"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checks, "_warned", False)  # of probabilities, once per process


@pytest.mark.parametrize("name", PAGES)
def test_blocks_say_what_the_page_says(name):
    _, pairs = docs_blocks.run(name)
    for line, (said, written) in pairs.items():
        assert said == written, f"the block at line {line + 1} of docs/{name}"


def test_every_section_on_an_error_has_its_sentence():
    sections = docs_blocks.text("errors.md").split("\n## ")[1:]
    assert sections[-1].startswith("No error")
    assert len(sections[:-1]) == 10
    for section in sections[:-1]:
        assert re.search(r"^```text\n(ValueError|UserWarning): ", section, re.MULTILINE)


@pytest.mark.parametrize("name", NEW_PAGES)
def test_lines_and_files(name):
    page = docs_blocks.text(name)
    prose = [line for line in page.split("\n") if not line.startswith("| ")]
    assert max(map(len, prose)) <= 100
    for path in re.findall(r"`((?:python|examples|Tests)/[\w/.]+)`", page):
        assert (docs_blocks.DOCS.parent / path).exists()
