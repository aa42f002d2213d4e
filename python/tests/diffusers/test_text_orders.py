"""examples/text_orders.py in a shortened form."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "examples"))

import text  # noqa: E402
import text_orders  # noqa: E402


@pytest.mark.parametrize("order", text_orders.ORDERS)
def test_every_order_ends_in_text(order):
    torch.manual_seed(0)
    model, seen = text.Denoiser(16, 1), []

    def watched(sample, t):
        seen.append((t, int((sample == text.CLASSES).sum())))
        return model(sample, t)

    drawn = text_orders.draw(watched, order, 8, 4, np.random.default_rng(0))
    assert drawn.shape == (8, text.WINDOW) and int(drawn.max()) < text.CLASSES
    assert [t for t, _ in seen] == [99, 74, 49, 24]
    masked = [left for _, left in seen]
    assert masked[0] == 8 * text.WINDOW
    if order not in ("ancestral", "remasking"):
        assert masked == [8 * left for left in (64, 48, 32, 16)]


def test_the_entropy_bound_reveals_one_character_a_call_at_0():
    torch.manual_seed(0)
    model = text.Denoiser(16, 1)
    for bound, least, most in ((0.0, 64, 64), (30.0, 2, 32), (1e9, 1, 1)):
        rng = np.random.default_rng(0)
        drawn, calls = text_orders.draw_by_entropy(model, bound, 4, rng)
        assert least <= calls <= most and int(drawn.max()) < text.CLASSES


def test_distinct_trigrams():
    torch.manual_seed(0)
    windows = torch.randint(5, (2 * text_orders.GROUP + 3, text.WINDOW))
    expected = []
    for start in (0, text_orders.GROUP):
        rows = windows[start : start + text_orders.GROUP].tolist()
        trigrams = {tuple(row[i : i + 3]) for row in rows for i in range(text.WINDOW - 2)}
        expected.append(len(trigrams))
    assert text_orders.distinct_trigrams(windows).tolist() == expected


def test_the_command(monkeypatch, capsys):
    command = "text_orders.py --iterations 2 --width 16 --windows 32"
    monkeypatch.setattr(sys, "argv", command.split())
    monkeypatch.setattr(text_orders, "CALLS", (3, 2))
    text_orders.main()
    printed = capsys.readouterr().out
    rows = re.findall(r"^\| [\d.]* ?\|.*\|$", printed, re.M)
    assert len(rows) == 1 + 2 * len(text_orders.ORDERS) + len(text_orders.BOUNDS)
    assert {row.count("±") for row in rows} == {3}
    assert re.fullmatch(r"\d+ s of CPU time", printed.splitlines()[-1])
