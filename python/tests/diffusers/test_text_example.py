"""examples/text.py in a shortened form, and the code of docs/text.md."""

import math
import re
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "examples"))

import text  # noqa: E402

PAGE = ROOT / "docs" / "text.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
UNIFORM = math.log2(text.CLASSES)


@pytest.fixture(scope="module")
def corpus():
    """Training text, and 8 windows of held-out text."""
    written, held_out = (text.encode(one) for one in text.read_text())
    return written, held_out[: 8 * text.WINDOW].view(8, -1)


@pytest.fixture(scope="module", params=["mask-and-replace", "absorbing", "hybrid"])
def trained(request, corpus):
    """A scheduler, a small model and the losses of its training in bits per character."""
    torch.manual_seed(0)
    scheduler, model = text.make_schedulers()[request.param], text.Denoiser(32, 1)
    losses = text.train(model, scheduler, corpus[0], 120, batch=16, rate=1e-2)
    return scheduler, model, torch.tensor(losses) / math.log(2)


def test_the_text(corpus):
    written, x_0 = corpus
    assert len(written) > 200_000 and text.CLASSES == 69
    assert int(written.min()) >= 0 and int(written.max()) < text.CLASSES
    assert text.encode(text.decode(x_0[0])).tolist() == x_0[0].tolist()
    paragraphs = text.read_text()
    assert paragraphs == text.read_text()
    held_out = text.decode(x_0.flatten())
    assert held_out[:100] not in text.decode(written)


def test_the_loss_falls(trained):
    _, _, losses = trained
    assert losses[-30:].mean() < 0.9 * losses[:20].mean()
    assert losses[-30:].mean() < UNIFORM


def test_the_bound_is_below_that_of_all_characters_alike(trained, corpus):
    scheduler, model, _ = trained
    for calls in 100, 25, 10:
        bits = text.bits_per_character(scheduler, model, corpus[1], calls)
        assert bits.shape == (8,) and bits.isfinite().all()
        assert 2 < bits.mean() < UNIFORM - 0.5


def test_the_bound_of_a_model_that_knows_nothing(corpus):
    """As the page has it, 6.1 and 13.6 bits."""

    def model(x_t, t):
        return torch.zeros(len(x_t), text.CLASSES, x_t.shape[1])

    for chain, expected, error in ("absorbing", UNIFORM, 0.02), ("mask-and-replace", 13.6, 0.2):
        scheduler = text.make_schedulers()[chain]
        bits = text.bits_per_character(scheduler, model, corpus[1], 100).mean()
        assert bits == pytest.approx(expected, abs=error)


def chance(content, gram):
    """Of the last character after those before it, by counts in `content` and what one character
    less expects.
    """
    if not gram:
        return 1 / text.CLASSES
    n = len(gram)
    grams = [content[i : i + n] for i in range(len(content) - n + 1)]
    of_context = sum(one[:-1] == gram[:-1] for one in grams)
    return (grams.count(gram) + 4 * chance(content, gram[1:])) / (of_context + 4)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_counts_of_characters(order, corpus):
    """Against their definition, character for character."""
    content, x_0 = corpus[0][:1000], corpus[1][:1, :16]
    bits = text.ngram_bits(order, content, x_0)
    read, row = text.decode(content), text.decode(x_0[0])
    grams = [row[max(0, i + 1 - order) : i + 1] for i in range(16)]
    expected = -sum(math.log2(chance(read, one)) for one in grams) / 16
    assert bits.tolist() == pytest.approx([expected])


def test_samples_hold_no_masks_and_infilling_keeps_what_is_given(trained, corpus):
    scheduler, model, _ = trained
    known = corpus[1].clone()
    known[:, 20:40] = -1
    for calls in 25, 10, 1:
        for given in None, known:
            rng = torch.Generator().manual_seed(calls)
            drawn = text.draw(scheduler, model, (8, text.WINDOW), calls, rng, given)
            assert int(drawn.min()) >= 0 and int(drawn.max()) < text.CLASSES
            assert len(drawn.unique()) > 5
        assert torch.equal(drawn[known >= 0], corpus[1][known >= 0])
        assert not torch.equal(drawn, corpus[1])


def test_the_first_call_sees_what_is_given(corpus):
    scheduler, (_, x_0) = text.make_schedulers()["absorbing"], corpus
    seen = []

    def model(sample, t):
        seen.append(sample)
        return torch.zeros(len(sample), text.CLASSES, sample.shape[1])

    text.draw(scheduler, model, x_0.shape, 2, torch.Generator().manual_seed(0), x_0)
    assert torch.equal(seen[0], x_0)


def test_share_of_words():
    assert text.share_of_words(["xx abc abd a abc. abc y"], {"abc"}) == pytest.approx(2 / 3)


def test_the_command(monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", "text.py --iterations 2 --width 16 --windows 2".split(), raising=True
    )
    text.main()
    printed = capsys.readouterr().out
    assert len(re.findall(r" calls: -?\d+\.\d{3} ± \d", printed)) == 9
    assert len(re.findall(r" calls: \d+% of words", printed)) == 6
    assert "trigrams: " in printed and "done, " in printed


def test_the_page_shows_the_example():
    """Each block but the last, which stands by itself, is a part of the example."""
    source = (ROOT / "examples" / "text.py").read_text(encoding="utf-8")
    assert len(BLOCKS) > 3
    for block in BLOCKS[:-1]:
        assert block in source


def test_the_page_of_code_runs(tmp_path, monkeypatch):
    """It says that it draws rows that count upwards, from what it has saved and loaded."""
    code = BLOCKS[-1]
    assert set(re.findall(r"^(?:from|import) (\w+)", code, re.M)) == {"torch", "vqdiffusion"}
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, str(PAGE), "exec"), names)
    rows = names["sample"]
    counts = (rows.diff(dim=1) - 1) % names["classes"] == 0
    assert counts.double().mean() > 0.9
    assert names["filled"][:, :4].tolist() == [[5, 6, 7, 8]] * len(names["filled"])


def test_links_and_lines():
    content = PAGE.read_text(encoding="utf-8")
    for path in re.findall(r"\]\(([^)#]+)\)", content):
        assert path.startswith("http") or (PAGE.parent / path).exists()
    assert max(map(len, content.split("\n"))) <= 100
