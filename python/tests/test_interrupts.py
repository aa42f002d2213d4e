"""After a KeyboardInterrupt every generator is as it was, or the sample has been returned, and no
lock is held."""

import threading

import numpy as np
import pytest
from interrupts import (
    INTERRUPTED,
    at_every_point,
    at_every_point_of_an_error,
    by_signals,
    interrupt_at,
    is_free,
)
from numpy.random import MT19937, PCG64, RandomState, default_rng
from reference import random_classes, random_log_p

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler, _native, generators

CLASSES, BATCH, PIXELS = 5, 3, 40
METHODS = ["inverse_cdf", "gumbel"]
KINDS = {
    "Generator": lambda: default_rng(1),
    "BitGenerator": lambda: PCG64(1),
    "MT19937": lambda: MT19937(1),
    "RandomState": lambda: RandomState(1),
    "list": lambda: [default_rng(1), RandomState(2), PCG64(3)],
    "tuple of one": lambda: (default_rng(1),) * BATCH,
}


@pytest.fixture
def inputs(rng):
    return random_log_p(rng, BATCH, CLASSES, PIXELS), random_classes(rng, BATCH, CLASSES, PIXELS)


def calls(method, log_p, x_t, generator):
    scheduler = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    out = {
        "step": lambda: scheduler.step(log_p, 60, x_t, generator),
        "step, a tuple": lambda: scheduler.step(log_p, 0, None, generator, return_dict=False),
        "guided_step": lambda: scheduler.guided_step(log_p, log_p, 60, x_t, generator),
        "add_noise": lambda: scheduler.add_noise(x_t, 60, generator),
        "gumbel_noised": lambda: vqdiffusion.gumbel_noised(log_p, generator),
    }
    return (
        out if method == "gumbel" else {**out, "plan": lambda: scheduler.plan(60, x_t, generator)}
    )


def bit_generators(generator):
    each = generator if isinstance(generator, (list, tuple)) else [generator]
    return [
        getattr(one, "bit_generator", None) or getattr(one, "_bit_generator", one) for one in each
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_at_every_point(inputs, method, kind):
    for name in calls(method, *inputs, None):
        generator, twin = KINDS[kind](), KINDS[kind]()
        state = lambda: [str(one.state) for one in bit_generators(generator)]  # noqa: B023, E731
        result = at_every_point(calls(method, *inputs, generator)[name], state, 5)
        expected = calls(method, *inputs, twin)[name]()
        np.testing.assert_array_equal(_array(result), _array(expected), err_msg=name)
        assert all(is_free(one.lock) for one in bit_generators(generator))
    assert not generators._drawing


def _array(result):
    for name in ("prev_sample", "uniforms"):
        result = getattr(result, name, result)
    return result[0] if isinstance(result, tuple) else result


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_at_every_point_of_a_call_that_fails(inputs, method, kind):
    """Also while the generators are put back."""
    log_p, x_t = inputs
    x_t[-1, -1] = CLASSES + 1
    log_p[-1, 0, -1] = np.nan
    for name in calls(method, *inputs, None):
        if method == "inverse_cdf" and name == "step, a tuple":
            continue  # the column may go unread
        generator = KINDS[kind]()
        state = lambda: [str(one.state) for one in bit_generators(generator)]  # noqa: B023, E731
        at_every_point_of_an_error(calls(method, *inputs, generator)[name], state, ValueError, 5)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_around_the_native_call(inputs, monkeypatch, kind, method, after):
    """In the last row, where each has a generator of its own."""
    native, generator = _native.step, KINDS[kind]()
    left = BATCH if method == "gumbel" and isinstance(generator, (list, tuple)) else 1

    def interrupted(*arguments):
        nonlocal left
        left -= 1
        if left == 0 and not after:
            raise KeyboardInterrupt
        native(*arguments)
        if left == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(_native, "step", interrupted)
    before = [str(one.state) for one in bit_generators(generator)]
    with pytest.raises(KeyboardInterrupt):
        calls(method, *inputs, generator)["step"]()
    assert [str(one.state) for one in bit_generators(generator)] == before
    assert all(is_free(one.lock) for one in bit_generators(generator))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["Generator", "RandomState", "list"])
def test_by_signals(rng, method, kind):
    log_p, x_t = random_log_p(rng, BATCH, 40, 1000), random_classes(rng, BATCH, 40, 1000)
    generator, scheduler = KINDS[kind](), VQDiffusionScheduler(41, sampling_method=method)
    state = lambda: [str(one.state) for one in bit_generators(generator)]  # noqa: E731
    call = lambda: scheduler.step(log_p, 60, x_t, generator)  # noqa: E731
    by_signals(call, state, 150)
    assert all(is_free(one.lock) for one in bit_generators(generator))
    assert not generators._drawing


def test_none_by_signals(rng):
    """What None draws from is never put back, and never left locked."""
    log_p, x_t = random_log_p(rng, BATCH, 40, 1000), random_classes(rng, BATCH, 40, 1000)
    scheduler = VQDiffusionScheduler(41, sampling_method="gumbel")
    call = lambda: scheduler.step(log_p, 60, x_t)  # noqa: E731
    by_signals(call, lambda: None, 150)
    assert is_free(generators._unseeded.bit_generator.lock) and not generators._drawing
    points = interrupt_at(call, 0)[1]
    for number in range(1, points + 1):
        assert interrupt_at(call, number)[0] is INTERRUPTED
        assert is_free(generators._unseeded.bit_generator.lock) and not generators._drawing


def record(monkeypatch, inside):
    """Calls `inside()` once within the native call, after its work; returns both's uniforms."""
    native, seen = _native.step, []

    def wrapper(*arguments):
        noise = arguments[8]
        seen.append(np.array(noise) if isinstance(noise, np.ndarray) else None)
        native(*arguments)
        if len(seen) == 1:
            inside()

    monkeypatch.setattr(_native, "step", wrapper)
    return seen


def test_numbers_of_the_shared_generator_are_never_drawn_twice(inputs, monkeypatch):
    """Others may have drawn from it since a call that fails: it is not put back."""
    scheduler = VQDiffusionScheduler(CLASSES + 1)

    def fail():
        scheduler.step(inputs[0], 60, inputs[1])
        raise MemoryError

    seen = record(monkeypatch, fail)
    with pytest.raises(MemoryError):
        scheduler.step(inputs[0], 60, inputs[1])
    for generator in (None, [None] * BATCH, None):
        scheduler.step(inputs[0], 60, inputs[1], generator)
    numbers = np.concatenate([one.ravel() for one in seen])
    assert len(seen) == 5 and len(np.unique(numbers)) == numbers.size


@pytest.mark.parametrize("method", METHODS)
def test_a_signal_handler_may_draw_without_a_generator(inputs, monkeypatch, method):
    scheduler, log_p = (
        VQDiffusionScheduler(CLASSES + 1, sampling_method=method),
        np.zeros((BATCH, CLASSES, PIXELS)),
    )
    inner = []
    record(
        monkeypatch,
        lambda: inner.append(scheduler.step(log_p, 0, None).prev_sample),
    )
    outer = scheduler.step(log_p, 0, None).prev_sample
    assert (outer != inner[0]).any() and not generators._drawing


def test_a_signal_handler_draws_on_from_a_generator_or_is_told_so(inputs, monkeypatch):
    log_p, x_t = inputs
    for method in METHODS:
        scheduler, generator, twin = (
            VQDiffusionScheduler(CLASSES + 1, sampling_method=method),
            default_rng(5),
            default_rng(5),
        )
        expected = [scheduler.step(log_p, 60, x_t, twin).prev_sample for _ in range(2)]
        inner, start = [], str(generator.bit_generator.state)
        with monkeypatch.context() as patch:
            record(
                patch,
                lambda: inner.append(scheduler.step(log_p, 60, x_t, generator).prev_sample),  # noqa: B023
            )
            if method == "gumbel":
                with pytest.raises(
                    RuntimeError,
                    match="generator is in use by the call that this one has interrupted",
                ):
                    scheduler.step(log_p, 60, x_t, generator)
                assert str(generator.bit_generator.state) == start
            else:
                outer = scheduler.step(log_p, 60, x_t, generator).prev_sample
                np.testing.assert_array_equal([outer, *inner], expected)
        assert is_free(generator.bit_generator.lock) and not generators._drawing
        scheduler.step(log_p, 60, x_t, generator)


@pytest.mark.parametrize("call", ["step", "guided_step"])
@pytest.mark.parametrize("kind", ["Generator", "list"])
def test_noise_is_drawn_under_the_lock_of_the_generator(inputs, call, kind):
    generator = KINDS[kind]()
    thread = threading.Thread(target=calls("gumbel", *inputs, generator)[call])
    with bit_generators(generator)[-1].lock:
        before = str(bit_generators(generator)[-1].state)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive() and str(bit_generators(generator)[-1].state) == before
    thread.join()
    assert str(bit_generators(generator)[-1].state) != before


def test_threads_share_a_generator(inputs):
    log_p, x_t = inputs
    scheduler, generator, twin = (
        VQDiffusionScheduler(CLASSES + 1, sampling_method="gumbel"),
        PCG64(1),
        PCG64(1),
    )
    expected = {scheduler.step(log_p, 60, x_t, twin).prev_sample.tobytes() for _ in range(80)}
    drawn = set()

    def work():
        for _ in range(20):
            drawn.add(scheduler.step(log_p, 60, x_t, generator).prev_sample.tobytes())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert drawn == expected and str(generator.state) == str(twin.state)
