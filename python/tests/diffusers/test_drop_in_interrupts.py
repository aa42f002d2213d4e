"""Interrupts of the drop-in, and calls by signal handlers and threads in the middle of another:
every generator is as it was or the sample has been returned, no lock is held, and no two samples
come from the same random numbers.
"""

import subprocess
import sys
import threading

import pytest
import torch
from diffusers_case import Ours, generator, random_classes, random_log_p
from interrupts import at_every_point, at_every_point_of_an_error, by_signals, is_free
from torch import Generator

from vqdiffusion import _native
from vqdiffusion.torch import engines

METHODS = ["gumbel", "inverse_cdf"]
BATCH = 3
SIZES = {
    "few draws": (5, 40),
    "many draws": (40, 50),
}  # of which the second is drawn with the engine
KINDS = {
    "global": lambda: None,
    "explicit": lambda: generator(1),
    "list": lambda: [generator(i) for i in range(BATCH)],
    "list of one": lambda: [generator(1)] * BATCH,
    "list with the global one": lambda: [generator(1), torch.default_generator, generator(2)],
}


@pytest.fixture(params=[*SIZES, "torch formulas"])
def case(request):
    classes, pixels = SIZES.get(request.param, (5, 40))
    log_p, x = random_log_p(BATCH, classes, pixels), random_classes(BATCH, classes, pixels)
    if request.param == "torch formulas":
        torch.set_default_dtype(torch.bfloat16)
    return log_p, x


def each(seeds):
    """The generators, and always torch's own."""
    return [
        *(seeds if isinstance(seeds, list) else [seeds] if seeds else []),
        torch.default_generator,
    ]


def state_of(seeds):
    return lambda: [bytes(one.get_state().numpy()) for one in each(seeds)]


class Overridden(Ours):
    """Draws from the posterior that this returns."""

    def q_posterior(self, log_p_x_0, x_t, t):
        return super().q_posterior(log_p_x_0, x_t, t)


def calls(method, log_p, x, seeds):
    scheduler = Ours(log_p.shape[1] + 1, sampling_method=method)
    overridden = Overridden(log_p.shape[1] + 1, sampling_method=method)
    out = {
        "step": lambda: scheduler.step(log_p, 50, x, seeds).prev_sample,
        "step of rows": lambda: scheduler.step(log_p, [50, 0, 7], x, seeds, return_dict=False)[0],
        "overridden": lambda: overridden.step(log_p, 50, x, seeds).prev_sample,
        "add_noise": lambda: scheduler.add_noise(x, 50, seeds),
        "guided_step": lambda: (
            scheduler.guided_step(log_p, log_p, 50, x, seeds, truncation_rate=0.9).prev_sample
        ),
    }
    return (
        out
        if method == "gumbel"
        else {**out, "plan": lambda: scheduler.plan(50, x, seeds).uniforms}
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_at_every_point(case, method, kind):
    for name in calls(method, *case, None):
        torch.manual_seed(7)
        expected = calls(method, *case, KINDS[kind]())[name]()
        torch.manual_seed(7)
        seeds = KINDS[kind]()
        result = at_every_point(calls(method, *case, seeds)[name], state_of(seeds), 10)
        assert torch.equal(result, expected), name
    assert is_free(engines._global_lock)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_at_every_point_of_a_call_that_fails(case, method, kind):
    """Also while the generators are put back."""
    log_p, x = case
    x[-1, -1] = log_p.shape[1] + 1
    for name in calls(method, *case, None):
        seeds = KINDS[kind]()
        at_every_point_of_an_error(
            calls(method, *case, seeds)[name], state_of(seeds), ValueError, 10
        )
    assert is_free(engines._global_lock)


class Interrupting(Generator):
    """Raises KeyboardInterrupt at this call of get_state or set_state, before or after it."""

    left, after = 0, False

    def get_state(self):
        return self._around(super().get_state)

    def set_state(self, state):
        return self._around(super().set_state, state)

    def _around(self, function, *arguments):
        self.left -= 1
        if self.left == 0 and not self.after:
            raise KeyboardInterrupt
        result = function(*arguments)
        if self.left == 0:
            raise KeyboardInterrupt
        return result


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", [1, 2])
def test_around_reading_and_writing_a_state(case, number, after):
    seeds = [torch.default_generator, Interrupting().manual_seed(1), generator(2)]
    before = [Generator.get_state(one) for one in seeds]
    seeds[1].left, seeds[1].after = number, after
    try:
        calls("gumbel", *case, seeds)["step"]()
    except KeyboardInterrupt:
        assert all(
            torch.equal(Generator.get_state(one), state) for one, state in zip(seeds, before)
        )
    else:
        assert not any(
            torch.equal(Generator.get_state(one), state) for one, state in zip(seeds, before)
        )
    assert is_free(engines._global_lock)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_around_the_native_call(size, kind, method, after, monkeypatch):
    native, seeds = _native.step, KINDS[kind]()
    classes, pixels = SIZES[size]
    log_p, x = random_log_p(BATCH, classes, pixels), random_classes(BATCH, classes, pixels)

    def interrupted(*arguments):
        if after:
            native(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(_native, "step", interrupted)
    before = state_of(seeds)()
    with pytest.raises(KeyboardInterrupt):
        calls(method, log_p, x, seeds)["step"]()
    assert state_of(seeds)() == before and is_free(engines._global_lock)


@pytest.mark.parametrize("kind", ["global", "explicit", "list with the global one"])
@pytest.mark.parametrize("method", METHODS)
def test_by_signals(method, kind):
    log_p, x, seeds = random_log_p(BATCH, 40, 500), random_classes(BATCH, 40, 500), KINDS[kind]()
    by_signals(calls(method, log_p, x, seeds)["step"], state_of(seeds), 200)
    assert is_free(engines._global_lock)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("outer", SIZES)
@pytest.mark.parametrize("inner", SIZES)
def test_a_call_within_a_call(inner, outer, method, kind, after, monkeypatch):
    """As by a signal handler, or a finalizer, before or after the native call: one draws after the
    other."""
    cases = {
        name: (random_log_p(BATCH, *size), random_classes(BATCH, *size))
        for name, size in SIZES.items()
    }
    native, found = _native.step, {}

    def draw(size, seeds):
        return calls(method, *cases[size], seeds)["step"]()

    def in_turn(*sizes):
        torch.manual_seed(7)
        seeds = KINDS[kind]()
        return [draw(size, seeds) for size in sizes], state_of(seeds)()

    either = in_turn(outer, inner), in_turn(inner, outer)
    torch.manual_seed(7)
    seeds = KINDS[kind]()

    def wrapper(*arguments):
        monkeypatch.setattr(_native, "step", native)
        if after or "inner" in found:
            native(*arguments)
        if "inner" not in found:
            found["inner"] = draw(inner, seeds)
            if not after:
                native(*arguments)

    monkeypatch.setattr(_native, "step", wrapper)
    found["outer"] = draw(outer, seeds)
    same = [
        all(torch.equal(found[name], one) for name, one in zip(order, tokens))
        and state_of(seeds)() == state
        for order, (tokens, state) in zip((("outer", "inner"), ("inner", "outer")), either)
    ]
    assert any(same) and is_free(engines._global_lock)


@pytest.mark.parametrize("kind", ["global", "explicit", "list with the global one"])
def test_threads_never_draw_alike(kind):
    log_p, x = random_log_p(BATCH, 40, 200), random_classes(BATCH, 40, 200)
    steps, workers = 10, 4
    torch.manual_seed(0)
    seeds = KINDS[kind]()
    call = calls("gumbel", log_p, x, seeds)["step"]
    expected = {call().numpy().tobytes() for _ in range(steps * workers)}
    state = state_of(seeds)()
    torch.manual_seed(0)
    seeds, drawn = KINDS[kind](), []
    call = calls("gumbel", log_p, x, seeds)["step"]

    def work():
        for _ in range(steps):
            drawn.append(call().numpy().tobytes())

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(drawn) == len(set(drawn)) == len(expected)
    if "list" not in kind:  # the rows of several calls may mix
        assert set(drawn) == expected and state_of(seeds)() == state


def test_what_others_draw_meanwhile_is_not_drawn_again(monkeypatch):
    """By another scheduler, from the generator of a step."""
    (classes, pixels), seeds, twin = SIZES["many draws"], generator(1), generator(1)
    log_p, x = random_log_p(BATCH, classes, pixels), random_classes(BATCH, classes, pixels)
    native, other = _native.step, Ours(classes + 1)
    other.add_noise(x, 5, twin)
    expected = calls("gumbel", log_p, x, twin)["step"]()
    others = [seeds]

    def wrapper(*arguments):
        native(*arguments)
        if others:
            other.add_noise(x, 5, others.pop())

    monkeypatch.setattr(_native, "step", wrapper)
    assert torch.equal(calls("gumbel", log_p, x, seeds)["step"](), expected)
    assert torch.equal(seeds.get_state(), twin.get_state())


FORK = """
import os, signal, threading, time
import torch
from vqdiffusion.diffusers import VQDiffusionScheduler
from vqdiffusion.torch import engines
scheduler, log_p = VQDiffusionScheduler(41), torch.zeros(1, 40, 500)
held = threading.Event()

def hold():
    with engines._global_lock:
        held.set()
        time.sleep(60)

threading.Thread(target=hold, daemon=True).start()
held.wait()
if child := os.fork():
    for _ in range(100):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            print(os.waitstatus_to_exitcode(status), flush=True)
            os._exit(0)
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os._exit(1)
scheduler.step(log_p, 0, None)
os._exit(0)
"""


def test_a_child_forked_while_another_thread_draws():
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.split() == ["0"]


@pytest.mark.parametrize("call", ["step of rows", "guided_step of rows"])
def test_rows_at_zero_have_no_number_for_the_mask(call):
    """Few draws, of which each row takes as many as its timestep needs."""
    classes, pixels = SIZES["few draws"]
    log_p, x = random_log_p(BATCH, classes, pixels), random_classes(BATCH, classes, pixels)
    scheduler, t, one, other = Ours(classes + 1), [0, 50, 0], generator(1), generator(1)

    def draw(rows, t, seed):
        if call == "step of rows":
            return scheduler.step(log_p[rows], t, x[rows], seed).prev_sample
        return scheduler.guided_step(log_p[rows] / 2, log_p[rows], t, x[rows], seed).prev_sample

    expected = torch.cat([draw(slice(i, i + 1), t[i], other) for i in range(BATCH)])
    assert torch.equal(draw(slice(None), t, one), expected)
    assert torch.equal(one.get_state(), other.get_state())


def test_what_torch_draws_meanwhile_from_the_global_generator(monkeypatch):
    """As by a signal handler that calls torch.rand: its numbers are not drawn again."""
    classes, pixels = SIZES["many draws"]
    log_p, x = random_log_p(BATCH, classes, pixels), random_classes(BATCH, classes, pixels)
    native = _native.step
    torch.manual_seed(3)
    torch.rand(5)
    expected = calls("gumbel", log_p, x, None)["step"]()
    after = torch.get_rng_state()
    others = [5]

    def wrapper(*arguments):
        native(*arguments)
        if others:
            torch.rand(others.pop())

    monkeypatch.setattr(_native, "step", wrapper)
    torch.manual_seed(3)
    assert torch.equal(calls("gumbel", log_p, x, None)["step"](), expected)
    assert torch.equal(torch.get_rng_state(), after)
