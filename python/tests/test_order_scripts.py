"""The script that compares orders on the demo's digits: its measures, and what it draws by."""

import sys
from pathlib import Path

import numpy as np
import pytest

from vqdiffusion.demo import generate

sys.path.insert(0, str(Path(__file__).parents[2] / "training"))

import compare_orders
from compare_orders import CHAINS, GAMMAS, SHARE, Remasking, energy_distance, save_picture, within


def mean_distance(a, b):
    return np.mean([[np.sqrt(((x - y) ** 2).sum()) for y in b] for x in a])


def mean_of_pairs(a):
    return np.mean([mean_distance(a[[i]], np.delete(a, i, axis=0)) for i in range(len(a))])


def test_measures_against_their_definition(rng):
    images, scans = rng.integers(0, 17, (40, 6)), rng.integers(0, 17, (60, 6))
    asked, labels = np.tile(np.arange(10), 4), np.tile(np.arange(10), 6)
    pairs = [(images[asked == digit], scans[labels == digit]) for digit in range(10)]
    inside = [mean_of_pairs(own) for own, _ in pairs]
    assert within(images, asked)[0] == pytest.approx(np.mean(inside))
    across = [mean_distance(own, others) for own, others in pairs]
    of_scans = [mean_of_pairs(others) for _, others in pairs]
    expected = np.mean(2 * np.array(across) - inside - of_scans)
    assert energy_distance(images, asked, scans, labels)[0] == pytest.approx(expected)


def test_errors_are_those_of_repeated_draws():
    """300 draws of 20 images a digit: their spread is known to 4 %, 5 times that is allowed."""
    rng = np.random.default_rng(4)
    scans, labels = rng.normal(0, 1, (300, 3)), np.tile(np.arange(10), 30)
    asked = np.tile(np.arange(10), 20)
    found = []
    for _ in range(300):
        images = rng.normal(0.5, 1.5, (200, 3))
        found.append([within(images, asked), energy_distance(images, asked, scans, labels)])
    values, errors = np.moveaxis(np.array(found), 2, 0)
    np.testing.assert_allclose(errors.mean(0), values.std(0), rtol=0.2)


def test_one_law_has_no_energy_distance(rng):
    """And another has; a false alarm in 10^5 runs."""
    scans, labels = rng.normal(0, 1, (1000, 3)), np.tile(np.arange(10), 100)
    asked = np.tile(np.arange(10), 50)
    for shift, apart in ((0.0, False), (1.0, True)):
        value, spread = energy_distance(rng.normal(shift, 1, (500, 3)), asked, scans, labels)
        assert (value > 5 * spread + 0.05) == apart


def test_remasking_takes_a_share_of_the_largest(monkeypatch):
    taken = []
    original = Remasking.__mro__[1].step

    def step(self, *arguments, remask, **options):
        taken.append(remask)
        return original(self, *arguments, remask=remask, **options)

    monkeypatch.setattr(Remasking.__mro__[1], "step", step)
    made = generate(
        [3], steps=5, timestep_spacing="trailing", guidance=1, generator=np.random.default_rng(0),
        scheduler_class=Remasking,
    )  # fmt: skip
    visited = [99, 79, 59, 39, 19]
    largest = [min(1, GAMMAS[s] / (1 - GAMMAS[t])) for t, s in zip(visited, visited[1:])]
    np.testing.assert_allclose(taken, [SHARE * one for one in largest] + [0])
    assert made.digits.max() < 17
    again = [((a < 17) & (b == 17)).sum() for a, b in zip(made.frames, made.frames[1:])]
    assert sum(again) > 0 and again[-1] == 0


@pytest.mark.parametrize("name", CHAINS)
def test_each_chain_ends_in_digits(name):
    rng = np.random.default_rng(0)
    made = generate([4], steps=3, timestep_spacing="trailing", generator=rng, **CHAINS[name])
    assert made.digits.shape == (1, 64) and made.digits.max() < 17


def test_the_command(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(compare_orders, "CALLS", (3, 2))
    picture = tmp_path / "a.svg"
    options = ["--per-digit", "2", "--picture", str(picture)]
    monkeypatch.setattr(sys, "argv", ["compare_orders.py", *options])
    compare_orders.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 * (1 + 1 + 2 * len(CHAINS))
    assert {row.count("|") for row in rows} == {7}
    assert rows[1].startswith("| | held-out scans | 98.9 ± 0.6 | 17.14 ±")


def test_the_figure(tmp_path):
    curves = {name: [(100, (34, 1), (0.1, 0.2)), (3, (30, 1), (8, 0.2))] for name in CHAINS}
    for name in ("a.svg", "b.svg"):
        save_picture(tmp_path / name, curves, [(36, 1), (0, 0.1)])
    text = (tmp_path / "a.svg").read_text()
    for label in (*CHAINS, "held-out scans", "variety", "energy distance", "100", "3"):
        assert f">{label}</text>" in text
    assert text == (tmp_path / "b.svg").read_text()
