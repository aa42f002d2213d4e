"""The benchmarks run, on tiny shapes, and their checks pass. What they measure there means nothing."""

import json
import subprocess
import sys
from pathlib import Path

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
