"""The page of `python -m vqdiffusion demo --html`: its numbers, what it refuses, and how it works
in a browser.
"""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import vqdiffusion.demo
from vqdiffusion import Unmask, VQDiffusionScheduler, __main__
from vqdiffusion.demo import DigitDenoiser, generate, page

MASK = 17
CHAIN = re.compile(r'<script id="chain" type="application/json">(.*)</script>')


def demo(monkeypatch, *options):
    monkeypatch.setattr(sys, "argv", ["vqdiffusion", "demo", *map(str, options)])
    __main__.main()


def chain_of(path):
    return json.loads(CHAIN.search(path.read_text("utf-8"))[1])


def frames_of(chain):
    frames = [np.full(64 * len(chain["digits"]), MASK)]
    for step in chain["steps"]:
        frames.append(frames[-1].copy())
        frames[-1][step["changed"]] = step["became"]
    return np.stack(frames)


@pytest.mark.parametrize(
    ("options", "how"),
    [
        ((), {}),
        (("--spacing", "trailing", "--guidance", "1"), {}),
        (
            ("--spacing", "trailing", "--unmask", "margin"),
            {"unmask": Unmask("margin", temperature=1)},
        ),
        (("--unmask", "random"), {"unmask": Unmask("random")}),
    ],
)
def test_the_page_has_the_chain(tmp_path, monkeypatch, capsys, options, how):
    path, steps = tmp_path / "chain.html", 6
    command = ["--digits", "1805", "--steps", steps, "--seed", 3, *options]
    demo(monkeypatch, *command, "--out", tmp_path / "without.png")
    assert "\npage " not in capsys.readouterr().out
    demo(monkeypatch, *command, "--out", tmp_path / "with.png", "--html", path)
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == f"page       {path}"
    for ending in ".png", ".gif":
        pictures = [tmp_path / f"{name}{ending}" for name in ("with", "without")]
        assert pictures[0].read_bytes() == pictures[1].read_bytes()
    assert len(list(tmp_path.iterdir())) == 5  # no parts of files are left

    spacing = "trailing" if "trailing" in options else "reference"
    guidance = 1 if "--guidance" in options else 2
    how = {"timestep_spacing": spacing, **how}
    generator = np.random.default_rng(3)
    made = generate([1, 8, 0, 5], steps=steps, guidance=guidance, generator=generator, **how)
    chain = chain_of(path)
    np.testing.assert_array_equal(frames_of(chain), np.stack(made.frames).reshape(steps + 1, -1))
    assert chain["digits"] == [1, 8, 0, 5] and chain["columns"] == 4
    assert chain["title"] == told[0] and f"{steps} steps" in told[0]
    scheduler = VQDiffusionScheduler(MASK + 1, timestep_spacing=spacing)
    scheduler.set_timesteps(steps)
    assert [step["t"] for step in chain["steps"]] == scheduler.timesteps.tolist()
    assert chain["unmask"] == (how["unmask"].by if "unmask" in how else None)
    if "unmask" in how:
        assert all(step["needed"] == step["changed"] for step in chain["steps"])


@pytest.mark.parametrize("spacing", ["reference", "trailing"])
def test_a_step_needs_the_pixels_framed_and_no_others(spacing):
    # Beside them the denoiser may say anything.
    how, digits = {"timestep_spacing": spacing}, [4, 9, 6]
    generator = np.random.default_rng(5)
    made = generate(digits, steps=25, guidance=1, generator=generator, **how)
    timesteps, needed = page.needed_pixels(made.frames, **how, generator=np.random.default_rng(5))
    scheduler, denoiser = VQDiffusionScheduler(MASK + 1, **how), DigitDenoiser()
    scheduler.set_timesteps(25)
    again, x_t = np.random.default_rng(5), made.frames[0]
    assert 0 < np.mean(needed[:-1]) < 0.3 and needed[-1].all()
    for t, pixels, frame in zip(timesteps, needed, made.frames[1:], strict=True):
        log_p = denoiser(x_t, t, digits)
        elsewhere = np.log(np.random.default_rng(t).dirichlet(np.ones(MASK), (3, 64)))
        log_p = np.where(pixels[:, None], log_p, elsewhere.transpose(0, 2, 1))
        x_t = scheduler.step(log_p, t, x_t, again).prev_sample
        np.testing.assert_array_equal(x_t, frame)


def page_of_a_hundred(path):
    """A page as large as the default command's, of pixels that are random numbers."""
    rng = np.random.default_rng(8)
    clean, shown = rng.integers(0, MASK, (100, 64)), rng.permuted(np.arange(6400)).reshape(100, 64)
    frames = [np.where(shown < 64 * n, clean, MASK) for n in range(101)]
    timesteps, needed = page.needed_pixels(frames, generator=rng)
    how = {"digits": np.repeat(range(10), 10).tolist(), "columns": 10, "unmask": None}
    title = "</script> <b> & \u2028 '"
    page.save_page(path, page.chain_as_json(frames, timesteps, needed, **how, title=title))
    return frames, title


def test_the_page_is_small_and_needs_nothing_else(tmp_path):
    path = tmp_path / "chain.html"
    frames, title = page_of_a_hundred(path)
    text = path.read_text("utf-8")
    assert len(text) < 250_000
    assert chain_of(path)["title"] == title and title not in text
    assert text.count("</script>") == 2  # nothing in the chain ends its script
    np.testing.assert_array_equal(frames_of(chain_of(path)), np.reshape(frames, (101, -1)))
    assert "default-src 'none'" in text and "CHAIN_AS_JSON" not in text
    for outside in "http:", "https:", "src=", "href=", "url(", "import", "fetch", "XMLHttp", "//c":
        assert outside not in text, outside


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("chain.txt", "expected a file name that ends in .html, got 'chain.txt'"),
        ("no/chain.html", "cannot write no/chain.html: there is no folder no"),
        ("folder.html", "cannot write folder.html: it is a folder"),
    ],
)
def test_files_that_are_refused(tmp_path, monkeypatch, capsys, file, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.html").mkdir()
    monkeypatch.setattr(vqdiffusion.demo.cli, "generate", lambda *a, **k: pytest.fail("work began"))
    with pytest.raises(SystemExit) as stop:
        demo(monkeypatch, "--html", file)
    assert stop.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"python -m vqdiffusion demo: error: argument --html: {message}"
    assert [path.name for path in tmp_path.iterdir()] == ["folder.html"]


def test_a_full_disk_is_told_of(tmp_path, monkeypatch, capsys):
    def full(path, text):
        raise OSError(28, "No space left on device")

    path = tmp_path / "chain.html"
    path.write_text("earlier")
    monkeypatch.setattr(page, "write_whole", full)
    options = "--digits", "1", "--steps", "1", "--out", tmp_path / "a.png", "--html", path
    with pytest.raises(SystemExit) as stop:
        demo(monkeypatch, *options)
    assert stop.value.code == 1
    said = capsys.readouterr()
    expected = f"python -m vqdiffusion demo: cannot write {path}: No space left on device\n"
    assert (said.out, said.err) == ("", expected)
    assert path.read_text() == "earlier"


# ---- In a browser
# ------------------------------------------------------------------------------------------------

NAMES = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on PATH")


def chromium(folder, url, *options):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000"]
    done = subprocess.run([*command, *options, url], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def evaluate(folder, path, script, fragment=""):
    """What `script`, run in the page, puts into `seen`."""
    probe = folder / "probe.html"
    report = "document.body.dataset.seen = JSON.stringify(seen);"
    probe.write_text(f"{path.read_text()}<script>const seen = {{}};{script}\n{report}</script>")
    dom = chromium(folder, f"{probe.as_uri()}{fragment}", "--dump-dom")
    found = re.search(r'data-seen="([^"]*)"', dom)
    assert found, "the page or the script in it failed"
    return json.loads(found[1].replace("&quot;", '"').replace("&amp;", "&"))


@pytest.fixture(scope="module")
def hundred(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "chain.html"
    return path, np.reshape(page_of_a_hundred(path)[0], (101, -1))


@in_chromium
def test_what_the_browser_shows(tmp_path, hundred):
    path, frames = hundred
    script = """
    seen.frame = [...frames[now()]];
    seen.canvas = [...chain.digits.keys()].flatMap((digit) => [...Array(64).keys()].map((p) => {
      const side = byId("grid").width / 91, middle = Math.floor(side / 2);
      const x = (9 * (digit % 10) + 1 + p % 8) * side + middle;
      const y = (9 * Math.floor(digit / 10) + 1 + Math.floor(p / 8)) * side + middle;
      return byId("grid").getContext("2d").getImageData(x, y, 1, 1).data[0];
    }));
    seen.status = byId("status").textContent;
    seen.spoken = slider.getAttribute("aria-valuetext");
    seen.digit = picker.selectedOptions[0].text;
    seen.changes = [...byId("changes").children].map((item) => item.textContent);
    """
    digit = 1 + int(np.flatnonzero(frames[40] != frames[39])[0]) // 64
    seen = evaluate(tmp_path, path, script, f"#step=40&digit={digit}")
    np.testing.assert_array_equal(seen["frame"], frames[40])
    colours = np.rint(250 + (28 - 250) * np.arange(17) / 16).tolist() + [232]  # red: paper to ink
    assert np.abs(np.array(seen["canvas"]) - np.array(colours)[frames[40]]).max() <= 1
    step = chain_of(path)["steps"][39]
    needed, changed = len(step["needed"]), len(step["changed"])
    share = f"{needed} of 6400 pixels ({100 * needed / 6400:.1f} %)"
    expected = f"Step 40 of 100, from t = 60: {share} needed the denoiser, {changed} changed."
    assert seen["status"] == seen["spoken"] == expected
    assert seen["digit"] == f"{digit}: a {(digit - 1) // 10}"
    touched = sorted({*step["needed"], *step["changed"]})
    own = [pixel for pixel in touched if pixel // 64 == digit - 1]
    lines = []
    for pixel in own:
        old, new = (str(frames[n][pixel]).replace("17", "mask") for n in (39, 40))
        what = f"stays {new}" if old == new else f"{old} to {new}"
        lines.append(f"row {pixel % 64 // 8 + 1}, col. {pixel % 8 + 1}: {what}")
    assert lines and seen["changes"] == lines


@in_chromium
def test_keys_and_play(tmp_path, hundred):
    script = """
    const press = (key, target = document.body) => {
      const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true });
      target.dispatchEvent(event);
      return [now(), timer !== null, event.defaultPrevented];
    };
    seen.right = press("ArrowRight");
    seen.left = press("ArrowLeft");
    seen.end = press("End");
    seen.beyond = press("ArrowRight");
    seen.home = press("Home");
    seen.space = press(" ");
    seen.label = play.textContent;
    seen.live = byId("status").getAttribute("aria-live");
    seen.again = press(" ");
    seen.slider = press("ArrowRight", slider);
    seen.picker = press("ArrowRight", picker);
    seen.button = press(" ", play);
    seen.other = press("a");
    """
    path = hundred[0]
    seen = evaluate(tmp_path, path, script, "#step=40")
    assert seen["right"] == [41, False, True] and seen["left"] == [40, False, True]
    assert seen["end"] == seen["beyond"] == [100, False, True]
    assert seen["home"] == [0, False, True]
    assert seen["space"] == [0, True, True] and seen["again"] == [0, False, True]
    assert (seen["label"], seen["live"]) == ("Pause", "off")
    # Controls with the focus do what browsers do with their keys.
    for own in "slider", "picker", "button", "other":
        assert seen[own] == [0, False, False]


@in_chromium
def test_play_goes_to_the_end(tmp_path, hundred):
    probe = tmp_path / "play.html"
    probe.write_text(hundred[0].read_text() + "<script>play.click()</script>")
    dom = chromium(tmp_path, f"{probe.as_uri()}#step=95", "--dump-dom")
    assert "Step 100 of 100, from t = 0:" in dom
    assert re.search(r'<button id="play" type="button">Play<', dom)


@in_chromium
def test_links_into_the_page(tmp_path, hundred):
    places = {
        "": [0, "1: a 0"],
        "#step=70&digit=0": [70, "1: a 0"],
        "#step=-4&digit=100": [0, "100: a 9"],
        "#step=x&digit=101": [0, "100: a 9"],
        "#step=101": [100, "1: a 0"],
        "#t=3&step=5.5": [5, "1: a 0"],
    }
    script = f"""
    for (const link of {list(places)}) {{
      location.hash = link;
      follow();
      seen[link] = [now(), picker.selectedOptions[0].text];
    }}
    """
    assert evaluate(tmp_path, hundred[0], script) == places


@in_chromium
@pytest.mark.parametrize(
    ("options", "page_colour", "mask"),
    [
        ((), (255, 255, 255), (232, 152, 104)),
        (("--blink-settings=preferredColorScheme=0",), (20, 22, 31), (168, 98, 58)),
    ],
)
def test_screenshots_in_light_and_dark(tmp_path, hundred, options, page_colour, mask):
    path, frames = hundred
    areas = []
    for step in 0, 50, 100:
        shot = tmp_path / f"{step}.png"
        options = [*options, "--window-size=1200,1100", f"--screenshot={shot}"]
        chromium(tmp_path, f"{path.as_uri()}#step={step}", *options)
        with Image.open(shot) as image:
            pixels = np.asarray(image.convert("RGB"))
        assert pixels.shape == (1100, 1200, 3) and tuple(pixels[2, 2]) == page_colour
        areas.append((pixels == mask).all(axis=2).sum())
    cell = 8 * 8, 32 * 32  # of all digits, and of the one that is large
    for step, area in zip((0, 50, 100), areas):
        masks = frames[step] == MASK
        expected = masks.sum() * cell[0] + masks[:64].sum() * cell[1]
        assert abs(area - expected) <= 0.03 * expected + 300  # frames; the swatch of the legend
