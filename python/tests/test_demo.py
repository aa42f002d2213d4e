"""The demo: its denoiser, the loop around it, the command, and how well the digits come out.

Seeds are fixed; the false-alarm rate of the one statistical test is given with it.
"""

import subprocess
import sys
from importlib import resources
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import vqdiffusion.demo
from vqdiffusion import Unmask, __main__, __version__
from vqdiffusion.demo import DigitDenoiser, generate
from vqdiffusion.unmask import ORDERS

MASK, NULL_LABEL = 17, 10


@pytest.fixture(scope="module")
def denoiser():
    return DigitDenoiser()


@pytest.fixture(scope="module")
def weights():
    with (
        resources.files(vqdiffusion.demo).joinpath("digits.npz").open("rb") as file,
        np.load(file) as archive,
    ):
        return dict(archive)


def log_p_in_float64(weights, x_t, t, label):
    """The denoiser for one image, from its description: every pixel, head and layer written out."""
    w = {name: array.astype(np.float64) for name, array in weights.items()}

    def norm(v):
        return v / np.sqrt((v**2).mean(axis=-1, keepdims=True) + 1e-6)

    h = np.array(
        [
            w["token"][x_t[p]] + w["position"][p] + w["timestep"][t] + w["label"][label]
            for p in range(64)
        ]
    )
    for layer in range(4):
        relative, qkv, attention_out, up, down = (
            w[f"blocks.{layer}.{name}"]
            for name in ("relative", "qkv", "attention_out", "up", "down")
        )
        q, k, v = np.split(norm(h) @ qkv, 3, axis=1)
        heads, mixed = len(relative), []
        for head in range(heads):
            part = slice(head * 64 // heads, (head + 1) * 64 // heads)
            score = norm(q[:, part]) @ norm(k[:, part]).T / np.sqrt(64 / heads)
            for p in range(64):
                for o in range(64):
                    score[p, o] += relative[head, p // 8 - o // 8 + 7, p % 8 - o % 8 + 7]
            attention = np.exp(score - score.max(axis=1, keepdims=True))
            mixed.append(attention / attention.sum(axis=1, keepdims=True) @ v[:, part])
        h = h + np.concatenate(mixed, axis=1) @ attention_out
        h = h + np.maximum(norm(h) @ up, 0) ** 2 @ down
    return log_normalised((norm(h) @ w["out"]).T)


def log_normalised(logits):
    return np.maximum(logits - np.logaddexp.reduce(logits, axis=-2, keepdims=True), -70)


def test_denoiser_against_float64(denoiser, weights, rng):
    batch = 27  # more than the denoiser takes in one pass
    x_t, labels = rng.integers(0, MASK + 1, (batch, 64)), rng.integers(0, NULL_LABEL + 1, batch)
    x_t[0] = MASK
    for t in (0, 37, 99):
        log_p = denoiser(x_t, t, labels)
        assert log_p.shape == (batch, 17, 64) and log_p.dtype == np.float32
        assert np.abs(np.logaddexp.reduce(log_p.astype(np.float64), axis=1)).max() < 1e-5
        for row in (0, 1, 24, 25, 26):
            np.testing.assert_allclose(
                log_p[row], log_p_in_float64(weights, x_t[row], t, labels[row]), atol=2e-4
            )


def test_rows_do_not_touch_each_other(denoiser, rng):
    x_t, labels = rng.integers(0, MASK + 1, (30, 64)), rng.integers(0, NULL_LABEL + 1, 30)
    together = denoiser(x_t, 50, labels)
    for row in (0, 13, 29):
        np.testing.assert_allclose(
            denoiser(x_t[row : row + 1], 50, labels[row : row + 1])[0], together[row], atol=1e-4
        )
    assert denoiser(x_t[:0], 50, labels[:0]).shape == (0, 17, 64)


@pytest.mark.parametrize(
    ("x_t", "t", "labels", "message"),
    [
        (np.full((1, 64), 18), 5, [3], "x_t must be in 0 ... 17, got 18 ... 18"),
        (np.full((1, 64), -1), 5, [3], "x_t must be in 0 ... 17"),
        (np.zeros((1, 63), int), 5, [3], "x_t must be integers of shape"),
        (np.zeros((1, 64)), 5, [3], "x_t must be integers .* got float64"),
        (np.zeros((1, 64), int), 100, [3], "t must be in 0 ... 99"),
        (np.zeros((1, 64), int), -1, [3], "t must be in 0 ... 99"),
        (np.zeros((1, 64), int), 5, [11], "labels must be in 0 ... 10"),
        (np.zeros((1, 64), int), 5, [3, 3], "labels must be integers of shape"),
    ],
)
def test_denoiser_refuses(denoiser, x_t, t, labels, message):
    with pytest.raises(ValueError, match=message):
        denoiser(x_t, t, labels)


class Recorder(DigitDenoiser):
    """Notes what it is asked."""

    def __init__(self):
        super().__init__()
        self.asked, self.seen = [], []

    def __call__(self, x_t, t, labels):
        self.asked.append((int(t), list(labels)))
        self.seen.append(x_t)
        return super().__call__(x_t, t, labels)


def test_the_loop(rng):
    denoiser = Recorder()
    made = generate([3, 8], steps=100, guidance=2, generator=rng, denoiser=denoiser)
    assert denoiser.asked == [(t, [3, 8, NULL_LABEL, NULL_LABEL]) for t in range(99, -1, -1)]
    assert len(made.frames) == 101 and (made.frames[0] == MASK).all()
    np.testing.assert_array_equal(made.frames[-1], made.digits)
    assert made.digits.shape == (2, 64) and made.digits.min() >= 0 and made.digits.max() <= 16
    for earlier, later in pairwise(made.frames):
        assert not ((later == MASK) & (earlier != MASK)).any()
    assert made.denoiser_seconds > 0 and made.scheduler_seconds > 0


def test_fewer_steps_and_no_guidance(rng):
    denoiser = Recorder()
    generate([3, 8], steps=4, guidance=1, generator=rng, denoiser=denoiser)
    assert denoiser.asked == [(t, [3, 8]) for t in (3, 2, 1, 0)]


@pytest.mark.parametrize(
    ("spacing", "timesteps"),
    [
        ("reference", [3, 2, 1, 0]),
        ("trailing", [99, 74, 49, 24]),
        ("linspace", [99, 66, 33, 0]),
        ("leading", [75, 50, 25, 0]),
    ],
)
def test_spacings(rng, spacing, timesteps):
    denoiser = Recorder()
    made = generate(
        [3], steps=4, timestep_spacing=spacing, guidance=1, generator=rng, denoiser=denoiser
    )
    assert [t for t, _ in denoiser.asked] == timesteps
    assert made.digits.max() < MASK
    if spacing == "trailing":  # half of the pixels are drawn half-way
        assert 16 <= (made.frames[2] == MASK).sum() <= 48
    with pytest.raises(ValueError, match="^timestep_spacing must be .*'even'"):
        generate([3], timestep_spacing="even")


def test_known_pixels_are_seen_and_stay(rng):
    denoiser, known = Recorder(), np.full((2, 64), -1)
    known[:, :32] = rng.integers(0, 17, (2, 32))
    made = generate(
        [3, 8], steps=5, timestep_spacing="trailing", known=known, generator=rng, denoiser=denoiser
    )
    for seen in denoiser.seen:
        np.testing.assert_array_equal(seen[:, :32], np.concatenate([known, known])[:, :32])
    assert (made.frames[0][:, 32:] == MASK).all()
    for frame in made.frames:
        np.testing.assert_array_equal(frame[:, :32], known[:, :32])
    assert made.digits.max() < MASK
    nothing = generate([3, 8], steps=5, known=known * 0 - 1, generator=np.random.default_rng(1))
    without = generate([3, 8], steps=5, generator=np.random.default_rng(1))
    np.testing.assert_array_equal(nothing.digits, without.digits)


def test_known_pixels_that_are_refused(rng):
    state = rng.bit_generator.state
    for known, message in (
        (np.full((2, 63), -1), r"known must be integers of shape \(2, 64\), got .*63"),
        (np.full((2, 64), MASK), "known .*17"),
        (np.full((2, 64), 0.5), "known must be integers .* got float64"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            generate([3, 8], steps=2, known=known, generator=rng)
    assert rng.bit_generator.state == state


def test_the_generator_decides():
    generators = map(np.random.default_rng, (7, 7, 8))
    first, again, other = (
        generate([3, 8], steps=10, generator=generator).digits for generator in generators
    )
    np.testing.assert_array_equal(first, again)
    assert not (first == other).all(axis=1).any()


def test_digits_are_the_ones_asked_for():
    # The classifier has read the real scans only. It gets more than 99 % of the digits right; even
    # at 98 %, fewer than 186 of 200 would come about with 2 of 10^5 seeds.
    scans = load_digits()
    asked = np.repeat(np.arange(10), 20)
    drawn = generate(asked, generator=np.random.default_rng(11)).digits
    assert SVC(gamma=0.001).fit(scans.data, scans.target).score(drawn, asked) >= 0.93
    known = {tuple(scan) for scan in scans.data.astype(int)}
    assert known.isdisjoint(map(tuple, drawn))
    for digit in range(10):
        assert len({tuple(image) for image in drawn[asked == digit]}) == 20


def test_weights_are_small():
    assert len(resources.files(vqdiffusion.demo).joinpath("digits.npz").read_bytes()) < 1_000_000


def run(*arguments):
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def test_command(tmp_path):
    options = ["--digits", "2024", "--seed", "7", "--steps", "100", "--guidance", "2", "--out"]
    outcomes = [
        run("-m", "vqdiffusion", "demo", *options, tmp_path / name) for name in ("a.png", "b.png")
    ]
    assert [outcome.returncode for outcome in outcomes] == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gif", "a.png", "b.gif", "b.png"]
    for extension in ("png", "gif"):
        assert (tmp_path / f"a.{extension}").read_bytes() == (
            tmp_path / f"b.{extension}"
        ).read_bytes()
    assert outcomes[0].stderr == ""  # no terminal, no progress bar
    lines = outcomes[0].stdout.splitlines()
    assert lines[0] == "4 digits in 100 steps, guidance 2, seed 7"
    assert [line.split()[0] for line in lines[1:]] == [
        "denoiser",
        "scheduler",
        "picture",
        "animation",
    ]
    assert all(float(line.split()[1]) > 0 and line.endswith("ms a step") for line in lines[1:3])
    assert [line.split()[1] for line in lines[3:]] == [
        str(tmp_path / "a.png"),
        str(tmp_path / "a.gif"),
    ]

    scale = 16
    expected = generate([2, 0, 2, 4], generator=np.random.default_rng(7)).digits.reshape(4, 8, 8)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == ((4 * 9 + 1) * scale, 10 * scale)
        classes = np.asarray(image)[scale // 2 :: scale, scale // 2 :: scale]
        greys = np.asarray(image.convert("L")).astype(int)[scale // 2 :: scale, scale // 2 :: scale]
    for place, digit in enumerate(expected):
        inside = slice(1, 9), slice(9 * place + 1, 9 * place + 9)
        np.testing.assert_array_equal(classes[inside], digit)
        assert np.corrcoef(greys[inside].ravel(), digit.ravel())[0, 1] < -0.99  # ink is dark
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.size == ((4 * 9 + 1) * scale, 10 * scale)
        assert animation.n_frames > 60  # steps that change nothing share a frame
        assert animation.info["loop"] == 0
        first = np.asarray(animation.convert("RGB"))[scale * 3, scale * 3].astype(int)
        assert first[0] - first[2] > 100  # masks have a colour, unlike paper and ink


def test_command_without_digits_draws_a_hundred(tmp_path, monkeypatch, capsys):
    picture = tmp_path / "grid.png"
    monkeypatch.setattr(sys, "argv", ["vqdiffusion", "demo", "--steps", "1", "--out", str(picture)])
    __main__.main()
    assert capsys.readouterr().out.startswith("100 digits in 1 step, guidance 2, seed 0\n")
    with Image.open(picture) as image:
        assert image.size == (91 * 7, 91 * 7)


def test_command_with_fewer_steps(tmp_path, monkeypatch, capsys):
    def picture(*options):
        path = tmp_path / "a.png"
        command = ["vqdiffusion", "demo", "--digits", "18", "--steps", "5", "--out", str(path)]
        monkeypatch.setattr(sys, "argv", [*command, *options])
        __main__.main()
        with Image.open(path) as image:
            cells = np.asarray(image)[8::16, 8::16]
        return capsys.readouterr().out.splitlines()[0], cells[1:9, [*range(1, 9), *range(10, 18)]]

    for spacing in ("reference", "trailing"):
        generator = np.random.default_rng(0)
        expected = generate([1, 8], steps=5, timestep_spacing=spacing, generator=generator).digits
        line, cells = picture("--spacing", spacing)
        told = "" if spacing == "reference" else ", spacing trailing"
        assert line == f"2 digits in 5 steps{told}, guidance 2, seed 0"
        np.testing.assert_array_equal(cells, np.hstack(expected.reshape(2, 8, 8)))
        if spacing == "reference":  # the default
            np.testing.assert_array_equal(picture()[1], cells)


@pytest.mark.parametrize("by", ORDERS)
def test_command_with_an_order(tmp_path, monkeypatch, capsys, by):
    path = tmp_path / "a.png"
    command = ["vqdiffusion", "demo", "--digits", "18", "--steps", "5", "--out", str(path)]
    monkeypatch.setattr(sys, "argv", [*command, "--unmask", by, "--spacing", "trailing"])
    __main__.main()
    expected = f"2 digits in 5 steps, spacing trailing, by {by}, guidance 2, seed 0"
    assert capsys.readouterr().out.splitlines()[0] == expected
    with Image.open(path) as image:
        cells = np.asarray(image)[8::16, 8::16][1:9, [*range(1, 9), *range(10, 18)]]
    how = {"steps": 5, "timestep_spacing": "trailing", "unmask": Unmask(by, temperature=1)}
    made = generate([1, 8], **how, generator=np.random.default_rng(0))
    np.testing.assert_array_equal(cells, np.hstack(made.digits.reshape(2, 8, 8)))
    # As many as are due, in each image: a fifth of 64 pixels a step, none taken back.
    left = [(frame == MASK).sum(1).tolist() for frame in made.frames]
    assert left == [[64] * 2, [51] * 2, [38] * 2, [25] * 2, [12] * 2, [0] * 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--unmask", "sure"],
            "argument --unmask: expected random, purity, margin, entropy or confidence, got 'sure'",
        ),
        (
            ["--digits", "20a4"],
            "argument --digits: expected digits 0 to 9 such as 2024, got '20a4'",
        ),
        (["--digits", "٣"], "argument --digits: expected digits"),
        (["--digits", ""], "argument --digits: expected digits"),
        (["--steps", "0"], "argument --steps: expected a whole number from 1 to 100, got '0'"),
        (["--steps", "101"], "argument --steps: expected a whole number from 1 to 100"),
        (["--steps", "2.5"], "argument --steps: expected a whole number"),
        (
            ["--spacing", "even"],
            "argument --spacing: expected reference, trailing, linspace or leading, got 'even'",
        ),
        (
            ["--guidance", "-1"],
            "argument --guidance: expected a number that is not negative, got '-1'",
        ),
        (["--guidance", "nan"], "argument --guidance: expected"),
        (["--guidance", "inf"], "argument --guidance: expected"),
        (["--seed", "-1"], "argument --seed: expected a whole number from 0, got '-1'"),
        (
            ["--out", "digits.jpg"],
            "argument --out: expected a file name that ends in .png, got 'digits.jpg'",
        ),
        (
            ["--out", "no/digits.png"],
            "argument --out: cannot write no/digits.png: there is no folder no",
        ),
        (["--out", "folder.png"], "argument --out: cannot write folder.png: it is a folder"),
        (["--out", "b.png"], "argument --out: cannot write b.gif: it is a folder"),
    ],
)
def test_command_refuses(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "b.gif").mkdir()
    monkeypatch.setattr(vqdiffusion.demo.cli, "generate", lambda *a, **k: pytest.fail("work began"))
    monkeypatch.setattr(sys, "argv", ["vqdiffusion", "demo", *arguments])
    with pytest.raises(SystemExit) as stop:
        __main__.main()
    assert stop.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("python -m vqdiffusion demo: error: " + message)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.gif", "folder.png"]


@pytest.mark.parametrize("missing", ["PIL", "tqdm"])
def test_missing_extra(tmp_path, missing):
    without = f"import runpy, sys; sys.modules[{missing!r}] = None; "
    without += "runpy.run_module('vqdiffusion', {}, '__main__')"
    done = run("-c", without, "demo", "--out", tmp_path / "a.png")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr
        == f"python -m vqdiffusion demo: {missing} is missing: pip install 'vqdiffusion[demo]'\n"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["--version"], f"vqdiffusion {__version__}\n"), (["demo", "--help"], "--guidance G")],
)
def test_version_and_help(monkeypatch, capsys, arguments, expected):
    monkeypatch.setattr(sys, "argv", ["vqdiffusion", *arguments])
    with pytest.raises(SystemExit) as stop:
        __main__.main()
    assert stop.value.code == 0
    assert expected in capsys.readouterr().out
