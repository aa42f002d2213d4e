"""Makes schedulers of configurations that lie, from mappings and from files, and prints how many
were made and how many refused. One that is made draws classes, and its file makes an equal one. The
arguments are the seed, the number of configurations, and the seconds after which no more are made.
"""

import contextlib
import faulthandler
import json
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from hostile_values import ERRORS, SAID, LyingFloat, LyingIndex, LyingInt, hostile_array

from vqdiffusion import VQDiffusionScheduler

EXPECTED = TypeError, ValueError, OSError
NAME = VQDiffusionScheduler.config_name
REALS = [0.5, -0.5, 1.5, 0.0, -0.0, 1e-9, 1 - 1e-9, math.nan, math.inf, -math.inf, 1e308, 5e-324]
NUMBERS = [-1, 0, 1, 2, 3, 6, 100, 2**31 - 1, 2**31, 2**40, 2**63, -(2**63), 10**400, True, 1.0]
NUMBERS += REALS
THINGS = [None, "x", "gumbel", "inverse_cdf", "leading", "", "1", [], {}, [1, 2], {"a": [1]}, b"x"]
THINGS += [[[1.0], [0.5]], [0.9, "x"], [0.9, None], [math.nan, 0.5], "\ud800", "a\0b", 1j, object()]
KEYS = ["_class_name", "_diffusers_version", "unknown", "", "_note", "__class__", "config", "self"]


class LyingMapping(Mapping):
    """Has other entries at each question."""

    def __init__(self, rng, entries):
        self.rng, self.entries = rng, entries

    def __getitem__(self, key):
        if self.rng.random() < 0.1:
            raise ERRORS[self.rng.integers(len(ERRORS))](SAID)
        if key not in self.entries:
            raise KeyError(SAID)
        return self.entries[key]

    def __iter__(self):
        names = list(self.entries)
        return iter(names[: self.rng.integers(len(names) + 1)] + ["unknown"] * self.rng.integers(2))

    def __len__(self):
        return int(self.rng.integers(-1, 5))


def good_entries(rng):
    timesteps = int(rng.integers(2, 12))
    entries = {
        "num_vec_classes": int(rng.integers(2, 9)),
        "num_train_timesteps": timesteps,
        "sampling_method": ("gumbel", "inverse_cdf")[rng.integers(2)],
    }
    if rng.random() < 0.5:
        entries["alphas_cumprod"] = np.linspace(0.9, 0.1, timesteps)
        entries["gammas_cumprod"] = np.linspace(0.01, 0.8, timesteps)
    else:
        entries |= {"alpha_cum_start": 0.99, "alpha_cum_end": 0.1}
        entries |= {"gamma_cum_start": 0.01, "gamma_cum_end": 0.8}
    return entries


def wrong_entry(rng, good):
    kind = rng.integers(6)
    if kind < 2:
        return NUMBERS[rng.integers(len(NUMBERS))]
    if kind == 2:
        return THINGS[rng.integers(len(THINGS))]
    if isinstance(good, np.ndarray):
        if kind == 3:
            wrong = good.copy()
            wrong[rng.integers(len(wrong))] = REALS[rng.integers(len(REALS))]
            return wrong
        if kind == 4:
            return good[: rng.integers(len(good) + 1)].tolist()
        return hostile_array(rng, good)
    if isinstance(good, int):
        return LyingInt(good) if kind == 3 else LyingIndex(rng, [good, -1, 2**70, None], ERRORS)
    return LyingFloat(good) if isinstance(good, float) else THINGS[rng.integers(len(THINGS))]


def any_entries(rng):
    entries = good_entries(rng)
    for name in rng.permutation(list(entries))[: rng.integers(3)]:
        entries[str(name)] = wrong_entry(rng, entries[str(name)])
    if rng.random() < 0.2:
        del entries[list(entries)[rng.integers(len(entries))]]
    if rng.random() < 0.3:
        entries[KEYS[rng.integers(len(KEYS))]] = THINGS[rng.integers(len(THINGS))]
    return entries


def any_text(rng, entries):
    """A file of these entries, in which bytes may have changed."""
    plain = {
        key: value.tolist() if isinstance(value, np.ndarray) else value
        for key, value in entries.items()
    }
    text = bytearray(json.dumps(plain, default=lambda value: None).encode())
    for _ in range(rng.integers(4)):
        at = rng.integers(len(text))
        kind = rng.integers(3)
        if kind == 0:
            text[at] = rng.integers(256)
        elif kind == 1:
            del text[at : at + rng.integers(1, 9)]
        else:
            text[at:at] = rng.choice([b"9" * 30, b"e999", b"[[[", b"}", b'"', b"\\u0000", b"NaN"])
        if not text:
            break
    return bytes(text)


def make(rng, folder):
    """A scheduler of a hostile configuration."""
    entries = any_entries(rng)
    kind = rng.integers(5)
    if kind == 0:
        return VQDiffusionScheduler(**entries)
    if kind == 1:
        return VQDiffusionScheduler.from_config(LyingMapping(rng, entries))
    if kind == 2:
        return VQDiffusionScheduler.from_config(entries)
    (folder / NAME).write_bytes(any_text(rng, entries))
    if kind == 3:
        return VQDiffusionScheduler.from_pretrained(folder)
    return VQDiffusionScheduler.from_config(VQDiffusionScheduler.load_config(folder))


def check(rng, scheduler, folder):
    """What it draws are classes, and its file makes another one like it."""
    classes = scheduler.config.num_vec_classes - 1
    if classes > 1000:
        return
    log_p = np.log(rng.dirichlet(np.ones(classes), (2, 3))).transpose(0, 2, 1)
    sample = np.zeros((2, 3), np.int64)  # not masked: some schedules mask nothing
    drawn = scheduler.step(log_p, scheduler.config.num_train_timesteps - 1, sample, 1).prev_sample
    assert 0 <= drawn.min() and drawn.max() <= classes, drawn
    with contextlib.suppress(*EXPECTED):  # an entry that no file can hold
        scheduler.save_pretrained(folder)
        again = VQDiffusionScheduler.from_pretrained(folder)
        assert again.config.num_vec_classes == classes + 1
        np.testing.assert_array_equal(again.timesteps, scheduler.timesteps)


def main(seed, count, seconds=math.inf):
    rng = np.random.default_rng(seed)
    made = refused = 0
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        while made + refused < count and time.monotonic() < end:
            try:
                scheduler = make(rng, folder)
            except Exception as error:
                if not isinstance(error, EXPECTED) and SAID not in str(error):
                    raise
                refused += 1
            else:
                check(rng, scheduler, folder)
                made += 1
    print(made, refused)


if __name__ == "__main__":
    faulthandler.enable()
    warnings.simplefilter("ignore")
    main(*map(int, sys.argv[1:]))
