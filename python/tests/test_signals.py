"""Signals that arrive during a call: their handlers run after it or between two of them, and no
result changes. test_interrupts.py is about generators and the places where a handler raises.
"""

import os
import signal
import subprocess
import threading
import time

import pytest
from class_uses import USES, digest

import vqdiffusion

pytestmark = pytest.mark.usefixtures("num_threads_restored")


@pytest.fixture
def handle():
    """Sets a handler, until the test ends."""
    previous = {}

    def set_handler(number, handler):
        previous.setdefault(number, signal.signal(number, handler))

    yield set_handler
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in previous.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("use", USES)
def test_a_timer_of_half_a_millisecond(use, handle):
    """Its signals interrupt system calls: threads that are started, waited for and joined."""
    vqdiffusion.set_num_threads(1)
    expected, handled = digest(USES[use]), []
    vqdiffusion.set_num_threads(4)
    handle(signal.SIGALRM, lambda *_: handled.append(1))
    signal.setitimer(signal.ITIMER_REAL, 5e-4, 5e-4)
    end = time.monotonic() + 0.2
    while time.monotonic() < end or len(handled) < 20:
        assert digest(USES[use]) == expected
    assert len(handled) >= 20


@pytest.mark.parametrize("use", USES)
def test_children_that_end(use, handle):
    vqdiffusion.set_num_threads(4)
    expected, handled = digest(USES[use]), []
    handle(signal.SIGCHLD, lambda *_: handled.append(1))
    children = [subprocess.Popen(["sleep", f"0.0{i}"]) for i in range(1, 5)]
    end = time.monotonic() + 30
    while not handled or any(child.poll() is None for child in children):
        assert digest(USES[use]) == expected and time.monotonic() < end
    assert handled and all(child.wait() == 0 for child in children)


@pytest.mark.parametrize("use", USES)
def test_an_interrupt_from_the_keyboard(use, handle):
    """It ends the call it arrives in, and the object is as good as before."""
    vqdiffusion.set_num_threads(2)
    made = USES[use][0]()
    expected = digest(USES[use], made)
    handle(signal.SIGINT, signal.default_int_handler)
    for delay in (0.001, 0.003, 0.01):
        timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            end = time.monotonic() + 30
            while time.monotonic() < end:
                digest(USES[use], made)
        timer.join()
        assert digest(USES[use], made) == expected
