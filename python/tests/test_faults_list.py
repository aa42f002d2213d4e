"""The list of planted faults fits the sources: each place that it changes is there, once."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / "Tests" / "faults"
MINIMA = {"Swift core": 30, "ABI": 8, "C module": 8, "Python, NumPy": 10, "Python, torch": 10}


@pytest.fixture
def catalogue(monkeypatch):
    if not (LIST.exists() and (ROOT / "Sources").exists()):
        pytest.skip("the sources are not here")
    monkeypatch.setattr(sys, "path", [str(LIST), *sys.path])
    import catalogue

    return catalogue


def test_every_place_is_there_once(catalogue):
    assert catalogue.problems() == []


def test_every_kind_has_its_faults(catalogue):
    kinds = [fault.kind for fault in catalogue.faults()]
    assert all(kinds.count(kind) >= least for kind, least in MINIMA.items()), kinds


def test_every_suite_is_there(catalogue):
    swift = "".join(path.read_text() for path in LIST.parent.glob("VQDiffusionTests/*.swift"))
    for fault in catalogue.faults():
        assert fault.tests, fault.name
        for suite in fault.tests:
            path, _, test = suite.partition("[")[0].partition("::")
            folder, slash, name = path.rpartition("/")
            if suite.startswith("swift:"):
                assert f"struct {suite.removeprefix('swift:')} " in swift, fault.name
            elif suite != "C":
                path = ROOT / f"python/tests/{folder}{slash}test_{name}.py"
                assert not test or f"def {test}(" in path.read_text(), fault.name


def test_a_place_that_has_changed_is_named(catalogue, tmp_path):
    for fault in catalogue.faults():
        path = tmp_path / fault.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((ROOT / fault.file).read_text())
    gone = catalogue.faults()[0]
    path = tmp_path / gone.file
    path.write_text(path.read_text().replace(gone.was, ""))
    assert any(gone.name in sentence for sentence in catalogue.problems(tmp_path))
