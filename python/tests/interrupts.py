"""KeyboardInterrupts where Python can raise them, and what they must leave behind."""

import signal
import sys
import threading
import time
import timeit

INTERRUPTED = object()


def interrupt_at(call, number):
    """What `call()` returns, interrupted at the point of this number at which Python handles
    signals: where a Python function begins and where a call of C code has ended. `INTERRUPTED` if
    it came to that, and the points met.
    """
    met = 0

    def profile(frame, event, argument):
        nonlocal met
        if event in ("call", "c_return"):
            met += 1
            if met == number:
                raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        result = call()
    except KeyboardInterrupt:
        result = INTERRUPTED
    finally:
        sys.setprofile(None)
    return result, met


def at_every_point(call, state, least):
    """Asserts that an interrupt at any point leaves the state as it was, point after point."""
    before, number = state(), 0
    while True:
        number += 1
        result, met = interrupt_at(call, number)
        if result is not INTERRUPTED:
            break
        assert state() == before, f"interrupted at point {number}"
    assert met == number - 1 >= least and state() != before
    return result


def at_every_point_of_an_error(call, state, error, least):
    """Asserts the same of a call that raises this error."""
    before, number, met = state(), 0, sys.maxsize
    while met >= number:
        number += 1

        def attempt():
            try:
                call()
            except error:
                return None
            raise AssertionError("no error")

        result, met = interrupt_at(attempt, number)
        assert state() == before, f"interrupted at point {number}"
        if result is not INTERRUPTED:
            break
    assert number > least


def by_signals(call, state, tries):
    """Asserts that a real signal at any time leaves the state as it was, or a sample; a state of
    None is not compared."""
    interrupts, longest = 0, 2 * min(timeit.repeat(call, number=1, repeat=20))

    def handler(number, frame):
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        for i in range(tries):
            before, result = state(), None
            try:
                signal.setitimer(signal.ITIMER_REAL, 2e-5 + longest * i / tries)
                result = call()
                while True:  # until the signal comes
                    time.sleep(1)
            except KeyboardInterrupt:
                interrupts += result is None
            assert before is None or (state() == before) == (result is None), f"try {i}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert interrupts > tries // 20  # the times fit the call


def is_free(lock):
    """Whether another thread can take the lock: a reentrant one tells its own thread nothing."""
    taken = []

    def take():
        taken.append(lock.acquire(blocking=False))
        if taken[0]:
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return taken[0]
