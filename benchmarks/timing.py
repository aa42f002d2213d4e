"""Medians of calls by turns, and the bandwidth of the memory."""

import statistics
import time

import torch

MEBIBYTES_WRITTEN = 128  # about what a step of diffusers' writes, and several times what caches hold


def by_turns(functions, seconds=1.0, most=25, least=3, cold=True):
    """Call functions by turns and time them: {name: {"ms": median, "calls": number}}.

    Of up to `most` rounds each function takes part in as many as come to about `seconds`, spread evenly, but in `least` at any rate.
    One call of each comes before and is not counted. If `cold`, so much is written before each call, untimed, that all find the
    caches as a large network leaves them, whichever call came before.
    """
    calls = {}
    for name, function in functions.items():
        start = time.perf_counter()
        function()
        calls[name] = max(least, min(most, int(seconds / (time.perf_counter() - start))))
    rounds = max(calls.values())
    times = {name: [] for name in functions}
    other = torch.ones(MEBIBYTES_WRITTEN * 2**18) if cold else None
    for turn in range(rounds):
        for name, function in functions.items():
            if (turn + 1) * calls[name] // rounds > turn * calls[name] // rounds:
                if cold:
                    other.add_(1)
                start = time.perf_counter()
                function()
                times[name].append(time.perf_counter() - start)
    return {name: {"ms": 1e3 * statistics.median(each), "calls": len(each)} for name, each in times.items()}


def bandwidth(mebibytes, threads):
    """Bytes per second that torch.sum reads of an array too large for the caches of the cores, on that many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    array = torch.ones(mebibytes * 2**18)
    ms = by_turns({"read": array.sum}, seconds=1, most=11, cold=False)["read"]["ms"]
    torch.set_num_threads(before)
    return mebibytes * 2**20 / (1e-3 * ms)
