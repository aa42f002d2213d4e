"""The scripts that judge chains of the demo's denoiser: what they compare, and figures of theirs.

Noise comes from fixed seeds and does not depend on the model, so that bounds of the same weights
differ by rounding alone.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqdiffusion import VQDiffusionScheduler
from vqdiffusion.demo import DigitDenoiser, generate

sys.path.insert(0, str(Path(__file__).parents[2] / "training"))

from bound_digits import bits_per_pixel, cut_off, exact, save_picture, shortcut
from compare_chains import CHAINS, Shortcut
from figures import save_rows
from inpaint_digits import UPPER, completed, joined
from scans import load_scans


@pytest.fixture(scope="module")
def held_out():
    return load_scans()[2:]


@pytest.mark.parametrize(
    ("chain", "calls", "expected"),
    [(exact, 1, 2.161), (exact, 5, 1.879), (cut_off, 5, 1.897)],
)
def test_bits_per_pixel_of_the_held_out_scans(held_out, chain, calls, expected):
    """Their standard errors are 0.015 to 0.017."""
    rng = np.random.default_rng(0)
    bits = bits_per_pixel(chain(calls), DigitDenoiser(), *held_out, rng)
    assert bits.shape == (360,)
    assert bits.mean() == pytest.approx(expected, abs=0.003)


def test_a_flat_model_needs_all_bits(held_out):
    def flat(x_t, t, labels):
        return np.zeros((len(x_t), 17, 64), np.float32)

    bits = bits_per_pixel(exact(1), flat, *held_out, np.random.default_rng(0))
    np.testing.assert_allclose(bits, np.log2(17), atol=2e-4)  # the prior's term is 1e-4


@pytest.mark.parametrize("calls", [2, 5, 25])
def test_the_schedule_of_the_cut_off_chain(rng, calls):
    """Its steps are those of diffusers' timesteps; it begins with masks, which they do not."""
    reference, (stretched, told) = VQDiffusionScheduler(18), cut_off(calls)
    log_p = rng.normal(size=(1, 17, 18))
    log_p -= np.log(np.exp(log_p).sum(1, keepdims=True))
    for t in range(1, calls):
        # Every class and the mask; at the first timestep pixels are masks.
        x_t = np.full((1, 18), 17) if t == calls - 1 else np.arange(18)[None]
        expected = reference.q_posterior(log_p, x_t, t)
        np.testing.assert_allclose(
            np.exp(stretched.q_posterior(log_p, x_t, t)), np.exp(expected), atol=1e-8
        )
    reference.set_timesteps(calls)
    assert reference.timesteps.tolist() == stretched.timesteps.tolist() == told[::-1]
    # Most pixels at the first timestep are no masks, of which the chain begins with 1e-5 others.
    x_0, sure = np.zeros((1, 64), int), np.full((1, 17, 64), -np.inf)
    sure[:, 0] = 0
    nats = [
        scheduler.likelihood_bound(lambda x_t, t: sure, x_0, rng)[0] / 64
        for scheduler in (reference, stretched)
    ]
    assert nats[0] > 10 and abs(nats[1]) < 1e-6


def test_the_schedule_of_the_shortcut(rng):
    """Of masks it draws what single steps from s + 1 do."""
    reference, (stretched, told) = VQDiffusionScheduler(18), shortcut(25)
    assert told == list(range(3, 100, 4))
    log_p, masks = rng.normal(size=(1, 17, 1)), np.full((1, 1), 17)
    log_p -= np.log(np.exp(log_p).sum(1, keepdims=True))
    for i in range(1, 25):
        expected = reference.q_posterior(log_p, masks, told[i - 1] + 1)
        np.testing.assert_allclose(
            np.exp(stretched.q_posterior(log_p, masks, i)), np.exp(expected), atol=1e-9
        )


def test_the_shortcut_keeps_masks():
    """From t = 99 to 95 a mask stays one with 95/96, not with 95/99; 5 errors of 10**5 pixels."""
    log_p, masks = np.zeros((1, 17, 100_000), np.float32), np.full((1, 100_000), 17)
    for scheduler_class, stays in ((VQDiffusionScheduler, 95 / 99), (Shortcut, 94 / 95)):
        scheduler = scheduler_class(18, timestep_spacing="trailing")
        scheduler.set_timesteps(25)
        x_95 = scheduler.step(log_p, 99, masks, np.random.default_rng(0)).prev_sample
        error = np.sqrt(stays * (1 - stays) / 100_000)
        assert (x_95 == 17).mean() == pytest.approx(stays, abs=5 * error)


def test_all_chains_of_a_hundred_calls_are_one():
    drawn = [
        generate([4], steps=100, guidance=1, generator=np.random.default_rng(5), **chain).digits
        for chain in CHAINS.values()
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], drawn[2])


def test_scans_are_completed(held_out, rng):
    scans, digits = (array[:3] for array in held_out)
    drawn = completed(scans, digits, 2, 5, rng)
    assert drawn.shape == (3, 2, 64) and 0 <= drawn.min() and drawn.max() <= 16
    for scan, both in zip(scans, drawn):
        np.testing.assert_array_equal(both[:, :UPPER], [scan[:UPPER]] * 2)
        assert (both[0, UPPER:] != both[1, UPPER:]).any()
    other = joined(scans, scans[[[1], [2], [0]]])
    np.testing.assert_array_equal(other[:, 0, :UPPER], scans[:, :UPPER])
    np.testing.assert_array_equal(other[:, 0, UPPER:], scans[[1, 2, 0], UPPER:])


def test_rows_of_a_picture(tmp_path):
    digits = np.array([[0] * 64, [16] * 64])
    save_rows(tmp_path / "a.png", [("two", digits), ("three", digits[::-1])], scale=3)
    with Image.open(tmp_path / "a.png") as image:
        grey = np.asarray(image.convert("L")).astype(int)
    assert len(grey) == 2 * 10 * 3
    paper, ink = grey[5, -40], grey[5, -10]
    assert paper > 200 and ink < 60
    assert (grey[35, -40], grey[35, -10]) == (ink, paper)
    assert grey[:, : -2 * 27].min() < 100  # the labels


def test_the_figure_of_bounds(tmp_path):
    curves = {exact: [(100, 1.8, 0.1), (5, 1.9, 0.1)], cut_off: [(25, 1.8, 0.1)]}
    for name in ("a.svg", "b.svg"):
        save_picture(tmp_path / name, curves)
    text = (tmp_path / "a.svg").read_text()
    for label in ("exact", "cut off", "bits per pixel, at most", "100", "25"):
        assert f">{label}</text>" in text
    assert text == (tmp_path / "b.svg").read_text()
