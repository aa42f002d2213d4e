"""Native functions on several threads, and after a fork."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from native_calls import FUNCTIONS, OUTPUTS, T, arguments
from native_checks import results, run_python

from vqdiffusion import _native


def test_calls_from_several_threads_at_once():
    functions = [function for function in FUNCTIONS if OUTPUTS[function]] * 20
    expected = [
        results(function, arguments(function, seed)) for seed, function in enumerate(functions)
    ]
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(
                lambda pair: results(pair[1], arguments(pair[1], pair[0])), enumerate(functions)
            )
        )
    for one, other in zip(found, expected):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_the_gil_is_released():
    """Threads take turns here only where the running one lets go of the GIL: the call has to."""
    batch, classes, pixels = 1, 512, 4096
    log_p = np.full((batch, classes, pixels), -np.log(classes), np.float32)
    out = np.empty((batch, classes + 1, pixels), np.float32)
    x_t = np.zeros((batch, pixels), np.int64)
    alpha, gamma = np.linspace(0.95, 0.05, T), np.linspace(0.02, 0.9, T)
    gate, seen = threading.Lock(), []

    def other():
        with gate:
            seen.append(True)

    gate.acquire()
    thread = threading.Thread(target=other)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        thread.start()
        gate.release()
        before = len(seen)
        for _ in range(20):
            _native.q_posterior(classes, alpha, gamma, 5, 4, log_p, x_t, out, 1)
        after = len(seen)
    finally:
        sys.setswitchinterval(interval)
    thread.join()
    assert (before, after) == (0, 1)


def test_fork_after_use():
    code = """
        import os, numpy as np
        from native_calls import arguments, call
        def use():
            named = arguments("step_inverse_cdf") | {"num_threads": 4}
            call("step_inverse_cdf", named)
            return named["prev_sample"]
        expected = use()
        child = os.fork()
        if child == 0:
            os._exit(0 if np.array_equal(use(), expected) else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert run_python(code) == (0, "0\n", "")


def test_chunks_of_a_row_draw_their_part_of_an_engine():
    """Classes too few for lists, and pixels for several threads: each passes over the uniforms of
    the others.
    """
    classes, pixels = 40, 4096
    log_p = np.random.default_rng(1).normal(size=(1, classes, pixels)).astype(np.float32)
    alpha, gamma = np.linspace(0.95, 0.05, T), np.linspace(0.02, 0.9, T)
    sample, drawn = np.full((1, pixels), classes), []
    for number in (1, 2, 3):
        engine = np.random.default_rng(2).integers(0, 2**32, 625, np.uint32)
        engine[624] = 7
        tokens = np.empty((1, pixels), np.int64)
        step = classes, alpha, gamma, 6, 4, log_p, sample, "gumbel", engine, tokens
        _native.step(*step, None, None, 0.0, None, number)
        drawn.append((tokens, engine))
    for tokens, engine in drawn[1:]:
        np.testing.assert_array_equal(tokens, drawn[0][0])
        np.testing.assert_array_equal(engine, drawn[0][1])
