"""The command that draws schedules, and the probabilities that it draws."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from vqdiffusion import VQDiffusionScheduler, __main__, index_to_log_onehot, schedules
from vqdiffusion.demo.named_schedules import NAMES, tables


@pytest.fixture
def plot(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vqdiffusion", "plot", *arguments])
        __main__.main()

    return run


def test_every_schedule_has_a_panel(plot, tmp_path, capsys):
    plot("--out", "a.svg")
    assert capsys.readouterr().out == (
        f"{', '.join(NAMES)}: 100 timesteps, 4096 classes\npicture    a.svg\n"
    )
    text = (tmp_path / "a.svg").read_text()
    for name in NAMES:
        assert f"{name}: a pixel's fate" in text
    for label in ("its own class", "another class", "the mask"):
        assert f">{label}<" in text
    plot("--out", "b.svg")
    assert (tmp_path / "b.svg").read_text() == text


def test_what_is_drawn(plot, tmp_path):
    """In a panel of one schedule, the colours at t = T/2 stand in their shares."""
    plot("--schedule", "hybrid", "hybrid", "--classes", "3", "--timesteps", "101")
    with Image.open(tmp_path / "schedules.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    colours = (0x1C, 0x20, 0x40), (0x9A, 0xA3, 0xC7), (0xE8, 0x98, 0x68)
    own, other, mask = ((abs(pixels - colour).max(2) < 8) for colour in colours)
    panel = own | other | mask
    panel[pixels.shape[0] * 4 // 5 :] = False  # the legend
    across = np.flatnonzero(panel.any(0))
    middle = (across[0] + across[-1]) // 2
    heights = np.array([part[:, middle][panel[:, middle]].sum() for part in (own, other, mask)])
    alphas, gammas = schedules.hybrid(101)
    beta = (1 - alphas[50] - gammas[50]) / 3
    expected = alphas[50] + beta, 2 * beta, gammas[50]
    np.testing.assert_allclose(heights / heights.sum(), expected, atol=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_fates_are_the_forward_process(name):
    """Those of a clean pixel in 10 timesteps, by the transitions of the scheduler."""
    fates = pytest.importorskip("vqdiffusion.demo.schedule_plot").fates
    alphas, gammas = tables(name, 10)
    scheduler = VQDiffusionScheduler(6, alphas_cumprod=alphas, gammas_cumprod=gammas)
    own, other, mask = fates(alphas, gammas, 5)
    shown = np.arange(6)[None]
    log_onehot = index_to_log_onehot(shown, 6)
    for t in range(10):
        log_q = scheduler.log_Q_t_transitioning_to_known_class(
            t=t, x_t=shown, log_onehot_x_t=log_onehot, cumulative=True
        )
        q = np.exp(log_q[0, 2])  # from class 2 to each
        found = q[2], q[[0, 1, 3, 4]].sum(), q[5]
        np.testing.assert_allclose(found, (own[t], other[t], mask[t]), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--schedule", "cosine"], "argument --schedule: expected linear, .*, got 'cosine'"),
        (["--timesteps", "1"], "argument --timesteps: expected a whole number from 2 to 10000"),
        (["--classes", "0"], "argument --classes: expected a whole number from 1 to"),
        (["--out", "a.jpg"], r"argument --out: .* ends in \.png or \.svg or \.pdf, got 'a.jpg'"),
        (["--out", "no/a.png"], "argument --out: cannot write no/a.png: there is no folder no"),
    ],
)
def test_what_is_refused(plot, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        plot(*arguments)
    assert stop.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("python -m vqdiffusion plot: error: ")
    assert re.search(message, last)
    assert not list(tmp_path.iterdir())


def test_without_matplotlib(tmp_path):
    program = "import runpy, sys; sys.modules['matplotlib'] = None; "
    program += "runpy.run_module('vqdiffusion', {}, '__main__')"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, "plot", "--out", tmp_path / "a.png"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr
        == "python -m vqdiffusion plot: matplotlib is missing: pip install 'vqdiffusion[plot]'\n"
    )
    assert not list(tmp_path.iterdir())
