"""Medians of calls by turns, and the bandwidth of the memory."""

import random
import statistics
import time

import torch

MEBIBYTES_WRITTEN = (
    128  # about what a step of diffusers' writes, and several times what caches hold
)


def by_turns(functions, seconds=1.0, most=25, least=3, written=MEBIBYTES_WRITTEN):
    """Call functions by turns and time them: {name: {"ms": median, "calls": number}}.

    Of up to `most` rounds each function takes part in as many as come to about `seconds`, spread
    evenly, but in `least` at any rate. One call of each comes before and is not counted. Before
    each call so many MiB are written, untimed, that all find the caches as a large network leaves
    them, whichever call came before; with 0 each finds them as the one before has left them. A
    little depends on that one in any case; so every round has another order, shuffled with a fixed
    seed.
    """
    calls = {}
    for name, function in functions.items():
        start = time.perf_counter()
        function()
        calls[name] = max(least, min(most, int(seconds / (time.perf_counter() - start))))
    rounds = max(calls.values())
    times = {name: [] for name in functions}
    other = torch.ones(written * 2**18)
    order, shuffle = list(functions.items()), random.Random(0).shuffle
    for turn in range(rounds):
        shuffle(order)
        for name, function in order:
            if (turn + 1) * calls[name] // rounds > turn * calls[name] // rounds:
                if written:
                    other.add_(1)
                start = time.perf_counter()
                function()
                times[name].append(time.perf_counter() - start)
    return {
        name: {"ms": 1e3 * statistics.median(each), "calls": len(each)}
        for name, each in times.items()
    }


def bandwidth(mebibytes, threads):
    """Bytes per second that torch.sum reads of an array too large for the caches of the cores, on
    that many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    array = torch.ones(mebibytes * 2**18)
    ms = by_turns({"read": array.sum}, seconds=1, most=11, written=0)["read"]["ms"]
    torch.set_num_threads(before)
    return mebibytes * 2**20 / (1e-3 * ms)
