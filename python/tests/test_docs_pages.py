"""docs/start.md, numpy.md and errors.md: blocks run, and say what the page says. Links of all pages
lead to files, and the site has all pages.
"""

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


ALL = sorted(docs_blocks.DOCS.rglob("*.md"))


def test_the_site_has_every_page():
    listed = re.findall(r": docs/(.*\.md)$", docs_blocks.text("mkdocs.yml"), re.MULTILINE)
    assert sorted(listed) == [page.relative_to(docs_blocks.DOCS).as_posix() for page in ALL]


@pytest.mark.parametrize(
    "page", [docs_blocks.DOCS.parent / "README.md", *ALL], ids=lambda p: p.stem
)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target
