"""States of the Mersenne Twister whose next outputs are known."""

import numpy as np


def engine_of(words, position=0):
    """An engine whose next outputs are these, no more than 624.

    Its own words are those that tempering turns into the outputs: its shifts undone, the last
    first.
    """
    y = np.zeros(624, np.uint32)
    y[: words.size] = words
    y ^= y >> 18
    y ^= (y << 15) & 0xEFC60000
    x = y.copy()
    for _ in range(5):
        x = y ^ ((x << 7) & 0x9D2C5680)
    y = x.copy()
    for _ in range(3):
        y = x ^ (y >> 11)
    return np.append(y, position).astype(np.uint32)


def torch_state(engine):
    """What torch.Generator.get_state() gives: words left plus 1, words given out, the words."""
    state = np.full(5056, 7, np.uint8)
    state[8:12] = np.frombuffer(np.int32(625 - engine[624]).tobytes(), np.uint8)
    state[16:24] = np.frombuffer(np.uint64(engine[624]).tobytes(), np.uint8)
    state[24 : 24 + 8 * 624] = np.frombuffer(engine[:624].astype(np.uint64).tobytes(), np.uint8)
    return state
