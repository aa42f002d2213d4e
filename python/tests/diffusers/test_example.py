"""The example that compares the two pipelines."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_pipeline import pipeline

SCRIPT = Path(__file__).parents[3] / "examples" / "compare_with_diffusers.py"


def output(*arguments):
    command = [sys.executable, "-W", "ignore", str(SCRIPT), "--steps", "3", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("guidance", ["1", "5"])
def test_on_the_small_pipeline(guidance):
    text = output("--classes", "64", "--side", "8", "--guidance", guidance)
    assert "The images are identical." in text and "scheduler.step" in text


def test_on_a_folder(tmp_path):
    pipeline().save_pretrained(tmp_path)
    assert "The images are identical." in output("--model", str(tmp_path), "--images", "2")
