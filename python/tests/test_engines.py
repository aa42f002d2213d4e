"""Gumbel noise drawn from an engine in one reading of the model output, against noise given."""

import subprocess
import sys

import numpy as np
import pytest
import views
from engines import engine_of, torch_state
from reference import random_classes, random_log_p

from vqdiffusion import _native

T = 100
ALPHA, GAMMA = np.linspace(0.99999, 0.000009, T), np.linspace(0.000009, 0.99999, T)
# Pixels change into any class, at once, and half of them are never masked.
UNIFORM = np.linspace(0.9, 0.01, T), np.linspace(0.001, 0.5, T)


def draw(log_p, t, sample, engine, alpha=ALPHA, gamma=GAMMA, threads=1):
    """The step on an engine, and that on the same uniforms given."""
    batch, classes, pixels = log_p.shape
    rows = classes + (t > 0)
    twin = np.random.MT19937()
    key = {"key": engine[:624].astype(np.uint32), "pos": int(engine[624])}
    twin.state = {"bit_generator": "MT19937", "state": key}
    words = twin.random_raw(batch * rows * pixels).astype(np.uint32) & 0xFFFFFF
    uniforms = (words.astype(np.float32) * np.float32(2**-24)).reshape(batch, rows, pixels)
    ours, given = np.empty((2, batch, pixels), np.int64)
    schedule = classes, alpha, gamma
    engine = engine.copy()
    _native.step(
        *schedule, t, t - 1, log_p, sample, "gumbel", engine, ours, None, None, 0.0, None, threads
    )
    _native.step(
        *schedule,
        t,
        t - 1,
        log_p,
        sample,
        "gumbel",
        uniforms,
        given,
        None,
        None,
        0.0,
        None,
        threads,
    )
    np.testing.assert_array_equal(
        engine, np.append(twin.state["state"]["key"], twin.state["state"]["pos"])
    )
    return ours, given


def columns(kind, rng, batch, classes, pixels):
    log_p = random_log_p(rng, batch, classes, pixels, scale=3)
    if kind == "truncated":
        log_p[log_p < np.quantile(log_p, 0.9, axis=1, keepdims=True)] = -70
    elif kind == "impossible classes":
        log_p[rng.random(log_p.shape) < 0.9] = -np.inf
        log_p[:, 0] = -1
    elif kind == "one class":
        log_p[:] = -np.inf
        np.put_along_axis(log_p, rng.integers(0, classes, (batch, 1, pixels)), 0, axis=1)
    elif kind == "equal":
        log_p[:] = -np.log(classes)
    elif kind == "some light, some heavy":
        log_p += rng.choice([-5, 0, 0.05, 3], (batch, 1, pixels)).astype(np.float32)
    else:
        log_p += {"normalised": 0, "light": -1, "lighter": -20, "heavy": 3, "heaviest": 1e4}[kind]
    return log_p


def least(t):
    """Of fewer classes none are listed."""
    return 1024 if t == 0 else 64


def padded(log_p, t):
    """With impossible classes behind, so that lists are made."""
    return np.pad(log_p, ((0, 0), (0, least(t) - log_p.shape[1]), (0, 0)), constant_values=-np.inf)


KINDS = ["normalised", "truncated", "impossible classes", "one class", "equal"]
# Columns that the floor and the bounds of the short list do not fit: the winner is below it,
# everything is above it, the level is beyond its bound.
UNFIT = ["light", "lighter", "heavy", "heaviest", "some light, some heavy"]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("schedule", [(ALPHA, GAMMA), UNIFORM], ids=["usual", "uniform"])
@pytest.mark.parametrize("t", [0, 1, 10, 50, 99])
@pytest.mark.parametrize("kind", KINDS + UNFIT)
def test_the_same_tokens_as_with_the_uniforms_given(rng, kind, t, schedule, threads):
    for classes, pixels in ((least(t) + 6, 333), (least(t), 5), (17, 64), (1, 5), (17, 9000)):
        log_p = columns(kind, rng, 2, classes, pixels)
        sample = random_classes(rng, 2, classes, pixels)
        ours, given = draw(
            log_p,
            t,
            sample,
            engine_of(rng.integers(0, 2**32, 624, np.uint32), 600),
            *schedule,
            threads,
        )
        np.testing.assert_array_equal(ours, given)


@pytest.mark.parametrize("threads", [1, 2, 200])
@pytest.mark.parametrize("t", [0, 50])
@pytest.mark.parametrize("pixels", [1040, 4096, 4097, 9000])
def test_wide_rows(rng, pixels, t, threads):
    """From 4097 pixels on a class row is read in parts."""
    classes = least(t) + 3
    log_p, sample = (
        columns("normalised", rng, 1, classes, pixels),
        random_classes(rng, 1, classes, pixels),
    )
    ours, given = draw(
        log_p, t, sample, engine_of(rng.integers(0, 2**32, 624, np.uint32), 5), threads=threads
    )
    np.testing.assert_array_equal(ours, given)


@pytest.mark.parametrize("t", [0, 50])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("inner", [False, True])
def test_every_dtype_and_layout(rng, inner, dtype, t):
    classes = least(t) + 86
    log_p = columns("normalised", rng, 2, classes, 77).astype(dtype)
    if inner:
        log_p = views.turned(log_p)
    ours, given = draw(
        log_p, t, random_classes(rng, 2, classes, 77), engine_of(np.arange(624, dtype=np.uint32))
    )
    np.testing.assert_array_equal(ours, given)


@pytest.mark.parametrize("uniform", [0, 0.1, 0.5, 0.9, 1 - 2**-24])
def test_the_lowest_of_equal_scores_wins(uniform):
    log_p = padded(np.full((1, 4, 100), -np.log(4), np.float32), 0)
    words = np.full(624, round(uniform * 2**24), np.uint32)
    ours, given = draw(log_p, 0, np.zeros((1, 100), np.int64), engine_of(words))
    np.testing.assert_array_equal(ours, given)
    np.testing.assert_array_equal(ours, 0)


FLOOR = -2.75  # ShortlistRace.floor: scores up to this are not listed


@pytest.mark.parametrize("alpha", [[0.75, 0.25], [0.72, 0.2]], ids=["model alone", "uniform part"])
def test_scores_just_above_the_floor(rng, alpha):
    """The two best scores are within 0.02 of the floor. A bound that is too low leaves the best out
    of the list, and the second, where its own bound has more to spare, is taken for the winner."""
    alpha, gamma, classes = np.array(alpha), np.array([0.25, 0.5]), 64
    unmasking = (gamma[1] - gamma[0]) / (1 - gamma[0]) / gamma[1]
    beta = (1 - alpha[0] - gamma[0]) / classes
    counts = 0
    for _ in range(600):
        best, second, rest = rng.permutation(classes)[:3]
        p = np.zeros(classes)
        p[[best, second]] = np.exp(rng.uniform(np.log(5e-4), np.log(1e-2), 2))
        p[rest] = 1 - p.sum()  # with the lowest uniform, as all others
        with np.errstate(divide="ignore"):
            log_p = np.log(p).astype(np.float32)[None, :, None]
        scores = FLOOR + np.array([0.01, 0.003]) * rng.uniform(0.7, 1.3, 2)
        waits = unmasking * (alpha[0] * p + beta)[[best, second]] / np.exp(scores)
        words = np.zeros(624, np.uint32)
        words[[best, second]] = np.exp(-waits) * 2**24
        ours, given = draw(log_p, 1, np.full((1, 1), classes), engine_of(words), alpha, gamma)
        assert ours == given
        counts += given.item() == best
    assert counts > 500


def noised(log_p, words):
    """The scores of the plain formula at t = 0."""
    scores = np.empty_like(log_p)
    _native.gumbel_noised(log_p, (words * 2.0**-24).astype(np.float32), scores)
    return scores


def test_scores_that_rounding_makes_equal():
    """The second class is luckier everywhere, by 1.6e-6, but scores near 60 are multiples of
    3.8e-6: where they are equal the first wins.
    """
    pixels = 300
    first = round(np.exp(-1) * 2**24) + 97 * np.arange(pixels)
    words = np.stack([first, first + 10])[None].astype(np.uint32)
    log_p = np.full((1, 2, pixels), 60, np.float32)
    scores = noised(log_p, words)
    equal = scores[:, 0] == scores[:, 1]
    assert 100 < equal.sum() < 250
    ours, given = draw(
        padded(log_p, 0), 0, np.zeros((1, pixels), np.int64), engine_of(words.ravel())
    )
    np.testing.assert_array_equal(ours, np.where(equal, 0, 1))
    np.testing.assert_array_equal(given, ours)


def test_scores_that_rounding_makes_equal_in_normalised_columns():
    """The second class has the greatest log-probability whose score still rounds to the first's."""
    pixels = 200
    luck = 2**24 - 700 + np.arange(pixels)
    words = np.stack([luck, luck - 1, np.zeros_like(luck)])[None].astype(np.uint32)
    log_p = np.full((1, 3, pixels), -1.5, np.float32)
    target = noised(log_p, words)[:, 0]
    tries = (log_p[:, 0] + np.arange(-20000, 20000)[:, None] * 2.0**-22).astype(np.float32)[:, None]
    reached = noised(tries, np.broadcast_to(words[:, 1:2], tries.shape))[:, 0]
    log_p[0, 1] = np.where(reached == target, tries[:, 0], -np.inf).max(axis=0)
    log_p[0, 2] = np.log1p(
        -np.exp(log_p[0, :2].astype(float)).sum(axis=0)
    )  # the rest, without luck
    assert np.isfinite(log_p).all()
    ours, given = draw(
        padded(log_p, 0), 0, np.zeros((1, pixels), np.int64), engine_of(words.ravel())
    )
    np.testing.assert_array_equal(ours, 0)
    np.testing.assert_array_equal(given, 0)


def test_the_pixels_own_class_wins_ties_with_higher_ones(rng):
    """Its score follows a formula of its own; it is listed out of turn where no bound lists it, as
    with these uniforms below 0.4.
    """
    pixels, tries, t = 200, 3000, 1
    schedule = np.array([0.985, 0.97]), np.array([0.005, 0.01])
    log_p = np.empty((1, 2, pixels), np.float32)
    log_p[:, 0], log_p[:, 1] = -12, rng.uniform(-0.2, 0, pixels)
    log_p = padded(log_p, t)
    classes = log_p.shape[1]
    sample = np.zeros((1, pixels), np.int64)
    posterior = np.empty((1, classes + 1, pixels), np.float32)
    _native.q_posterior(classes, *schedule, t, t - 1, log_p, sample, posterior)
    words = rng.integers(0, int(0.4 * 2**24), (2, tries), np.uint32)
    scores = np.empty((2, pixels, tries), np.float32)
    for k in range(2):
        noise = np.broadcast_to((words[k] * 2.0**-24).astype(np.float32), (1, pixels, tries)).copy()
        logits = np.broadcast_to(posterior[:, k, :, None], noise.shape).astype(np.float32)
        _native.gumbel_noised(logits, noise, scores[k : k + 1])
    found = 0
    for n in range(pixels):
        equal, first, second = np.intersect1d(*scores[:, n], return_indices=True)
        for score, i, j in zip(equal, first, second, strict=True):
            if score > -2:  # else the short list would not do
                found += 1
                engine = engine_of(
                    np.array([words[0, i], words[1, j], *(classes - 1) * [0]], np.uint32)
                )
                ours, given = draw(log_p[:, :, n : n + 1], t, sample[:, :1], engine, *schedule)
                assert ours == given == 0
    assert found > 5


@pytest.mark.parametrize("mass", [0, 1, 2, 3, 6])
def test_a_uniform_part_beyond_its_bound(mass):
    """All of the mass is with one class of no luck; another, impossible for the model, has the luck
    that its uniform part needs.
    """
    classes, pixels, t = least(50), 9, 50
    log_p = np.full((1, classes, pixels), -np.inf, np.float32)
    log_p[:, 1] = mass
    words = np.zeros((classes + 1, pixels), np.uint32)
    words[3] = np.exp(-np.exp(-np.linspace(-1.4, 9, pixels))) * 2**24
    tokens = []
    for shown in [*range(5), classes]:
        ours, given = draw(
            log_p, t, np.full((1, pixels), shown), engine_of(words.ravel()), *UNIFORM
        )
        np.testing.assert_array_equal(ours, given)
        tokens += np.unique(ours).tolist()
    assert {1, 3} <= set(tokens)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("of_torch", [False, True])
def test_a_bad_column_leaves_the_engine_alone(rng, of_torch, inner, bad):
    log_p = columns("normalised", rng, 1, 150, 1000)
    log_p[0, slice(None) if bad < 0 else 149, 999] = bad
    if inner:
        log_p = views.turned(log_p)
    engine, out = engine_of(np.arange(624, dtype=np.uint32)), np.full((1, 1000), -7)
    if of_torch:
        engine = torch_state(engine)
    before = engine.copy()
    with pytest.raises(ValueError, match="model_output"):
        _native.step(
            150,
            ALPHA,
            GAMMA,
            50,
            49,
            log_p,
            random_classes(rng, 1, 150, 1000),
            "gumbel",
            engine,
            out,
        )
    assert (out == -7).all()
    np.testing.assert_array_equal(engine, before)


@pytest.mark.parametrize("position", [0, 1, 623, 624])
@pytest.mark.parametrize("classes", [30, least(50) + 1])
def test_a_state_of_torch(rng, classes, position):
    """It stands for the engine, is advanced as that is, and keeps all else."""
    log_p, sample = columns("normalised", rng, 1, classes, 40), random_classes(rng, 1, classes, 40)
    engine = engine_of(rng.integers(0, 2**32, 624, np.uint32), position)
    state, (ours, expected) = torch_state(engine), np.empty((2, 1, 40), np.int64)
    _native.step(classes, ALPHA, GAMMA, 50, 49, log_p, sample, "gumbel", state, ours)
    _native.step(classes, ALPHA, GAMMA, 50, 49, log_p, sample, "gumbel", engine, expected)
    np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(state, torch_state(engine))
    guided, guidance = (classes, ALPHA, GAMMA, 50, 49, log_p, sample), (None, 1.0, 0.9, -70.0)
    _native.step(*guided, "gumbel", state, ours, guidance)
    _native.step(*guided, "gumbel", engine, expected, guidance)
    np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(state, torch_state(engine))


def test_bad_engines(rng):
    log_p, sample = columns("normalised", rng, 1, 30, 40), random_classes(rng, 1, 30, 40)
    engine, out = engine_of(np.arange(624, dtype=np.uint32)), np.full((1, 40), -7)
    overdrawn, far = torch_state(engine), torch_state(engine)
    overdrawn[8:12], far[8:12] = 0, 255  # 0 and -1 words left plus 1
    twice = np.repeat(engine, 2)[::2]
    for bad, error, says in (
        (engine[:624], ValueError, r"engine must have shape \(625,\), not \(624,\)"),
        (
            torch_state(engine)[:5055],
            ValueError,
            r"engine must have shape \(5056,\), not \(5055,\)",
        ),
        (
            engine.astype(np.int64),
            TypeError,
            "engine must be uint32, or uint8 as torch has it, .* not 'int64'",
        ),
        (twice, ValueError, "engine must be contiguous"),
        (overdrawn, ValueError, "engine"),
        (far, ValueError, "engine"),
    ):
        before = bad.copy()
        with pytest.raises(error, match=says):
            _native.step(30, ALPHA, GAMMA, 50, 49, log_p, sample, "gumbel", bad, out)
        np.testing.assert_array_equal(bad, before)
    read_only = torch_state(engine)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="engine must be writable"):
        _native.step(30, ALPHA, GAMMA, 50, 49, log_p, sample, "gumbel", read_only, out)
    assert (out == -7).all()


OUT_OF_MEMORY = """
import resource
import sys
from pathlib import Path

import numpy as np
from vqdiffusion import _native, alpha_schedules, gamma_schedules

classes, pixels = 64, 1 << 19
column = np.log(np.random.default_rng(0).dirichlet(np.ones(classes))).astype(np.float32)
log_p = np.broadcast_to(column[None, :, None], (1, classes, pixels))
sample, out = np.full((1, pixels), classes), np.full((1, pixels), -7)
engine = np.r_[np.arange(624), 624].astype(np.uint32)
before = engine.copy()
used = resource.getpagesize() * int(Path("/proc/self/statm").read_text().split()[0])
if sys.argv[1] != "all":
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]) * 2**20,) * 2)
schedule = [table(100)[1][:100] for table in (alpha_schedules, gamma_schedules)]
try:
    options = None, None, 0.0, None, 1
    _native.step(classes, *schedule, 50, 49, log_p, sample, "gumbel", engine, out, *options)
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in status if line.startswith("VmPeak"))
    print((1024 * int(peak.split()[1]) - used) >> 20, *out[0, ::1000], *engine[::100])
except MemoryError:
    assert (out == -7).all() and (engine == before).all()
    print("MemoryError")
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits of the address space, as Linux has them"
)
def test_where_there_is_no_memory_for_lists_they_are_done_without():
    """Here the lists take some 290 MB, the race that stands in for them 80."""

    def run(limit):
        command = [sys.executable, "-c", OUT_OF_MEMORY, limit]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    (peak_of_lists, *tokens), (peak, *without) = run("all"), run("160")
    assert int(peak_of_lists) > 200 and int(peak) <= 160
    assert tokens == without
    assert run("20") == ["MemoryError"]


@pytest.mark.parametrize("fresh", [False, True])
def test_a_state_that_nothing_was_drawn_from_keeps_its_bytes(fresh):
    """A fresh seed counts as used up although no word has been given out: written anew for the same
    position it would have other bytes, and `torch.Generator.get_state()` would show them."""
    state = torch_state(engine_of(np.arange(1, 625, dtype=np.uint32), 624))
    if fresh:
        state[16:24] = 0
    before = state.copy()
    empty, none = np.zeros((1, 70, 0), np.float32), np.zeros((1, 0), np.int64)
    _native.step(70, ALPHA, GAMMA, 50, 49, empty, none, "gumbel", state, np.empty((1, 0), np.int64))
    np.testing.assert_array_equal(state, before)
