"""As test_huge_shapes.py, for the class of diffusers."""

from pathlib import Path

from test_huge_shapes import run_table


def test_every_call_ends_within_a_second():
    assert run_table(Path(__file__).with_name("huge_tensors.py")) >= 300
