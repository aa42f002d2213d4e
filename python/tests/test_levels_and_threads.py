"""Threads are started where they are worth it, and the tokens of every CPU level are those of the
uniforms up to near-ties. test_determinism.py compares the levels and numbers of threads.
"""

import os
import time
from statistics import median

import level_results
import numpy as np
import pytest
from cpu_levels import LEVELS
from level_results import (
    B, INPUTS, K, N, SCHEDULE, T_EARLIER, T_NOW, inputs, of_process, results,
)  # fmt: skip
from reference import gumbel

from vqdiffusion import _native


@pytest.fixture(scope="module")
def of_levels():
    """The results on each level, with another number of threads on each."""
    return {level: of_process(level, number) for number, level in enumerate(LEVELS, start=1)}


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
    """Else comparing numbers of threads, as test_determinism.py does, would say nothing. Time that
    the process used and this thread did not is that of others.
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
            for name, value in results("float32", num_threads).items():
                assert value.tobytes() == expected[name].tobytes(), name
    finally:
        os.sched_setaffinity(0, cores)


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
