"""What does not depend on the number of threads or the CPU level, bit by bit, and how far the rest
may differ.

On one level every result is the same for any number of threads. Levels with fused multiply-add give
the same bits as each other. The baseline x86-64 rounds products before they are added: its
log-probabilities differ in the last digits, and its tokens only at pixels where two outcomes are so
near that the difference decides.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import level_results
import numpy as np
import pytest
from level_results import B, INPUTS, K, N, SCHEDULE, T_EARLIER, T_NOW, inputs, results
from reference import gumbel

from vqdiffusion import _native

LEVELS = _native.supported_cpus()
WITH_FMA = [level for level in LEVELS if level != "x86-64"]
SCRIPT = Path(__file__).with_name("level_results.py")


@pytest.fixture(scope="module")
def of_levels(tmp_path_factory):
    """The results on each level, with another number of threads on each."""
    found = {}
    for index, level in enumerate(LEVELS):
        path = tmp_path_factory.mktemp("levels") / f"{level}.npz"
        command = [sys.executable, str(SCRIPT), str(path), str(index + 1)]
        run = subprocess.run(
            command, env=os.environ | {"VQDIFFUSION_CPU": level}, capture_output=True, text=True
        )
        assert (run.returncode, run.stdout, run.stderr) == (0, f"{level}\n", "")
        with np.load(path) as file:
            found[level] = dict(file)
    return found


def same_bits(found, expected):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert (
            value.dtype == expected[name].dtype and value.tobytes() == expected[name].tobytes()
        ), name


@pytest.mark.parametrize("kind", INPUTS)
def test_the_number_of_threads_changes_no_bit(kind):
    expected = results(kind, 1)
    for num_threads in (2, 3, 8, 0):
        same_bits(results(kind, num_threads), expected)


@pytest.mark.parametrize(
    "name",
    [
        "q_posterior",
        "step_gumbel",
        "step_inverse_cdf",
        "guide",
        "truncate",
        "guided_step_gumbel",
        "guided_step_inverse_cdf",
    ],
)
def test_threads_are_started_for_input_of_this_size(name, monkeypatch):
    """Else the test above would say nothing. Time that the process used and this thread did not is
    that of others.
    """
    run, others = level_results.run, {}

    def timed(called, *arguments):
        before = time.process_time_ns() - time.thread_time_ns()
        run(called, *arguments)
        others[called] = time.process_time_ns() - time.thread_time_ns() - before

    monkeypatch.setattr(level_results, "run", timed)
    for num_threads in (2, 3, 8):
        for _ in range(
            20
        ):  # on a busy machine another thread may come too late to do any of the work
            results("float32", num_threads)
            if others[name] > 50_000:
                break
        assert others[name] > 50_000
    alone = []
    for _ in range(
        9
        # the clocks are not read at one moment: an interrupt between them counts as others'
    ):
        results("float32", 1)
        alone.append(others[name])
    assert median(alone) < 50_000


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="threads cannot be bound to cores here"
)
def test_on_one_core_there_is_no_other_to_start_threads_on():
    cores, expected = os.sched_getaffinity(0), results("float32", 1)
    try:
        os.sched_setaffinity(0, {min(cores)})
        for num_threads in (3, 0):
            same_bits(results("float32", num_threads), expected)
    finally:
        os.sched_setaffinity(0, cores)


@pytest.mark.skipif(len(WITH_FMA) < 2, reason="this machine has one level with fused multiply-add")
def test_levels_with_fused_multiply_add_give_the_same_bits(of_levels):
    for level in WITH_FMA[1:]:
        same_bits(of_levels[level], of_levels[WITH_FMA[0]])


def test_log_probabilities_of_all_levels_are_close(of_levels):
    """Within 5e-7 (1 + |value|): a rounding or two of float32. Within 1e-14 in float64 without
    noise of float32.

    Guided ones are differences of numbers of up to some 50, and a rounding of those.
    """
    for level in LEVELS[:-1]:
        for name, value in of_levels[level].items():
            other = of_levels[LEVELS[-1]][name]
            if name.endswith(
                "/truncate"
            ):  # the input or nothing; a class at the very edge may be kept or not
                assert (value != other).sum() <= 3, (level, name)
            elif value.dtype.kind == "f":
                single = value.dtype == np.float32 or name.endswith(
                    ("/gumbel_noised", "/loss, per row")
                )
                near = (5e-7 if single else 1e-14) * (8 if name.endswith("/guide") else 1)
                np.testing.assert_allclose(
                    value, other, rtol=near, atol=near, err_msg=f"{level} {name}"
                )


@pytest.mark.parametrize("kind", INPUTS)
def test_gumbel_tokens_are_the_winners_up_to_near_ties(of_levels, kind):
    """Scores in float64: no token is further below the best than two scores are rounded; such
    near-ties are rare.
    """
    log_p, x, uniforms, _ = inputs(kind)
    noise, log_p = gumbel(uniforms).astype(np.float64), log_p.astype(np.float64)
    posterior = np.empty((B, K + 1, N))
    _native.q_posterior(*SCHEDULE, T_NOW, T_EARLIER, log_p, x, posterior)
    for name, scores in (
        ("step_gumbel", posterior + noise),
        ("step_gumbel at 0", log_p + noise[:, :-1]),
    ):
        best = scores.max(axis=1)
        for level in LEVELS:
            tokens = of_levels[level][f"{kind}/{name}"]
            short = best - np.take_along_axis(scores, tokens[:, None], axis=1)[:, 0]
            assert short.max() < 2e-5 and (short > 0).sum() <= 3, level


def by_one_uniform(log_p, x, u):
    """The token of one pixel in float64, by the intervals of the unit line as they are defined."""
    classes, alpha, gamma = SCHEDULE
    a_t, g_t, a_s, g_s = alpha[T_NOW], gamma[T_NOW], alpha[T_EARLIER], gamma[T_EARLIER]
    b_t, b_s = (1 - a_t - g_t) / classes, (1 - a_s - g_s) / classes
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    if x == classes:
        v = (u - g_s / g_t) / (1 - g_s / g_t)
        uniform = classes * b_s / (1 - g_s)
        if v < 0:
            return classes
        if v < uniform:
            return int(v * classes / uniform)
        return int(np.searchsorted(p.cumsum(), (v - uniform) / (1 - uniform), side="right"))
    a = a_t / a_s
    b = (b_t - a * b_s) / (1 - g_s)
    own = p[x]
    p[x] = 0
    mass = p.sum() / b_t + own / (a_t + b_t)
    keep = (a + b) * (a_s * own / (a_t + b_t) + b_s * mass)
    each = b * b_s * mass
    v = u - keep
    if v < 0:
        return x
    if v < (classes - 1) * each:
        k = int(v / each)
        return k + (k >= x)
    return int(
        np.searchsorted(p.cumsum(), (v - (classes - 1) * each) * b_t / (b * a_s), side="right")
    )


@pytest.mark.parametrize("kind", INPUTS)
def test_inverse_cdf_tokens_are_those_of_the_uniform_up_to_near_ties(of_levels, kind):
    """Each token is the one of the pixel's uniform, or of a uniform at most 1e-6 away, on every
    level.
    """
    log_p, x, _, uniforms = inputs(kind)
    log_p = log_p.astype(np.float64)
    expected = np.array(
        [
            [by_one_uniform(log_p[b, :, n], x[b, n], uniforms[b, n]) for n in range(N)]
            for b in range(B)
        ]
    )
    for level in LEVELS:
        tokens = of_levels[level][f"{kind}/step_inverse_cdf"]
        np.testing.assert_array_equal(of_levels[level][f"{kind}/complete_inverse_cdf"], tokens)
        differing = np.argwhere(tokens != expected)
        assert len(differing) <= 3, level
        for b, n in differing:
            near = [
                by_one_uniform(log_p[b, :, n], x[b, n], uniforms[b, n] + shift)
                for shift in (-1e-6, 1e-6)
            ]
            assert min(near) <= tokens[b, n] <= max(near), (level, b, n)
        read = of_levels[level][f"{kind}/plan"]
        assert 0.5 < read.mean() < 1


@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
def test_guided_tokens_of_all_levels_are_the_same_but_for_near_ties(of_levels, method):
    """A class at the very edge of the truncation may be kept or not, as with `truncate`."""
    for level in LEVELS[:-1]:
        for kind in INPUTS:
            key = f"{kind}/guided_step_{method}"
            assert (of_levels[level][key] != of_levels[LEVELS[-1]][key]).sum() <= 3, (level, kind)


def test_what_is_decided_without_the_model_is_the_same_on_every_level(of_levels):
    for level in LEVELS[:-1]:
        for kind in INPUTS:
            for name in ("plan", "add_noise"):
                key = f"{kind}/{name}"
                np.testing.assert_array_equal(of_levels[level][key], of_levels[LEVELS[-1]][key])
