"""The benchmarks run, on tiny shapes, and their checks pass (what they measure there means
nothing); and what they make of measurements."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def test_quick_run(tmp_path):
    arguments = ["--quick", "--no-compile", "--output"]
    result = subprocess.run(
        [sys.executable, "-W", "ignore", BENCHMARKS / "bench.py", *arguments, tmp_path],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Every check holds." in result.stdout
    results = json.loads((tmp_path / "results.json").read_text())
    assert {row["layout"] for row in results["steps"]} == {"outer", "inner"}
    assert {row["t"] for row in results["steps"]} == {50, 1, 0}
    assert all(value is not None for value in results["memory"].values())
    assert "| step, gumbel |" in (tmp_path / "results.md").read_text()
    table = [line for line in result.stdout.splitlines() if line.startswith("| ")]
    assert table[0].startswith("| ms | diffusers |") and len(table) == 2 + 6


def test_quick_run_of_the_loss():
    result = subprocess.run(
        [sys.executable, "-W", "ignore", BENCHMARKS / "loss.py", "--quick"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    rows = [line for line in result.stdout.splitlines() if line.startswith(("| (2", "| (3"))]
    assert len(rows) == 2 * 2 * 6  # shapes, layouts, contestants


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


OUTER = {
    "eager": 100,
    "compiled": 40,
    "numpy": 1,
    "sum": 0.8,
    "gumbel": 2,
    "inverse": 0.5,
    "gumbel_interface": 0.1,
    "inverse_interface": 0.15,
}
POSTERIOR = {"eager": 50, "compiled": 18, "sum": 1, "q_posterior": 2, "q_posterior_interface": 0.5}


@pytest.fixture
def results():
    def row(layout, share=0.4, **times):
        times = {name: {"ms": value} for name, value in times.items()}
        place = {"shape": (1, 1001, 250), "layout": layout, "t": 50}
        return place | {"times": times, "share of lines": share}

    inner = {"eager": 1, "sum": 1, "gumbel": 1, "inverse": 0.125, "inverse_interface": 0.2}
    machine = ["processor", "cores", "level", "python", "numpy", "torch", "threads", "diffusers"]
    return {
        "machine": dict.fromkeys([*machine, "vqdiffusion"], 2),
        "command": "bench",
        "date": "today",
        "bandwidth": {"1": 1, "2": 1e9},  # a model output, 1e6 bytes, takes 1 ms
        "steps": [row("outer", gumbel=7, inverse=7) | {"t": 90}, row("inner", 0.1, **inner)]
        + [row("outer", **OUTER)],
        "posteriors": [row("outer", **POSTERIOR)],
        "guided": [row("outer", eager=1000, sum=4, gumbel=8)],
    }


def test_floors(benchmarks, results):
    from floors import floors

    rows = floors(results)
    assert [row["ours"] for row in rows] == [2, 0.5, 0.125, 2, 8]
    np.testing.assert_allclose([row["megabytes"] for row in rows], [1, 0.4, 0.1, 2, 2])
    np.testing.assert_allclose([row["traffic"] for row in rows], [1, 0.4, 0.1, 2, 2])
    np.testing.assert_allclose([row["interface"] for row in rows], [0.1, 0.15, 0.2, 0.5, 0.1])


def test_the_table_of_the_readme(benchmarks, results):
    from report import readme

    lines = readme(results).splitlines()
    assert lines[2] == "| `step`, gumbel: diffusers' tokens | 100 | 40 | 2 | 50× | 0.8 |"
    assert lines[4] == "| … classes inner in memory | 1 |  | 0.125 | 8× | 1 |"
    assert lines[6] == "| guidance, truncation and `step`, gumbel | 1000 |  | 8 | 125× | 4 |"
    assert lines[-1] == (
        "It loses to NumPy at gumbel, 1 × 1001 × 250, classes outer, t = 50 (2 ms against 1); "
        "it gains least on diffusers at gumbel, 1 × 1001 × 250, classes inner, t = 50 "
        "(1 ms against 1); it gains least on `torch.compile` at `q_posterior`, "
        "1 × 1001 × 250, classes outer, t = 50 (2 ms against 18)."
    )
