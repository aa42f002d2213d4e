"""The benchmarks run, on tiny shapes, and their checks pass (what they measure there means nothing); and what they make of
measurements."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def test_quick_run(tmp_path):
    result = subprocess.run(
        [sys.executable, "-W", "ignore", BENCHMARKS / "bench.py", "--quick", "--no-compile", "--output", tmp_path],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Every check holds." in result.stdout
    results = json.loads((tmp_path / "results.json").read_text())
    assert {row["layout"] for row in results["steps"]} == {"outer", "inner"}
    assert {row["t"] for row in results["steps"]} == {50, 1, 0}
    assert all(value is not None for value in results["memory"].values())
    assert "| gumbel, same tokens |" in (tmp_path / "results.md").read_text()


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


def test_share_of_lines(benchmarks):
    from measure import share_of_lines

    needed = np.zeros((2, 40), bool)  # three lines of a class row, the last of 8 pixels
    needed[0, [0, 1, 15, 39]] = True
    needed[1, 16] = True
    assert share_of_lines(needed, "outer") == 3 / 6
    assert share_of_lines(needed, "inner") == 5 / 80


def test_targets_judged(benchmarks):
    from targets import TARGETS, judged

    def row(layout, **times):
        times = {name: {"ms": value} for name, value in times.items()}
        checks = {name: {"holds": True, "says": "equal"} for name in times}
        return {"shape": [1, 1001, 250], "layout": layout, "t": 50, "times": times, "share of lines": 0.4, "checks": checks}

    outer = row("outer", eager=100, compiled=40, sum=2, gumbel=2, inverse=0.5, gumbel_interface=0.1, inverse_interface=0.15)
    inner = row("inner", eager=1, compiled=1, sum=1, gumbel=1, inverse=0.125, inverse_interface=0.2) | {"share of lines": 0.1}
    results = {
        "bandwidth": {"1": 1, "2": 1e9},  # a model output, 1e6 bytes, takes 1 ms
        "steps": [row("outer", gumbel=7) | {"t": 90}, inner, outer],
        "posteriors": [row("outer", eager=50, compiled=18, sum=1, q_posterior=2, q_posterior_interface=0.5)],
        "guided": [row("outer", eager=1000, sum=4, gumbel=8)],
    }
    rows = judged(results)
    assert [one["what"] for one in rows] == [target[0] for target in TARGETS]
    found = [[(figure["measured"], figure["holds"]) for figure in one["figures"]] for one in rows]
    assert found == [
        [(50, True), (20, True), (1, True)],
        [(200, False), (80, False), (0.25, True)],
        [(800, False), (320, False), (0.0625, True)],
        [(25, True), (9, False), (2, True)],
        [(125, False), (None, None), (2, None)],
    ]
    np.testing.assert_allclose([one["at best"] for one in rows], [1.1, 0.55, 0.3, 2.5, 2.1])
    for one in rows:
        for figure in one["figures"]:
            if figure["measured"]:
                factor = one["ms"] / one["at best"]
                expected = figure["measured"] / factor if figure is one["figures"][2] else figure["measured"] * factor
                assert figure["at best"] == pytest.approx(expected)
