"""How much memory one call needs beside its arguments: the rise of the process's largest resident
set during the call.

Run as `python memory.py CALL B K+1 N`, a process for each call. Linux forgets the largest resident
set so far when 5 is written to /proc/self/clear_refs; VmHWM after the call less VmRSS before it is
the rise, temporaries of every library included, to within some 0.2 MB. glibc is told to return
large blocks at once, or the second of two calls would be found to need nothing.
"""

import gc
import os
import subprocess
import sys
from pathlib import Path

T = 50
UNCERTAIN = 200_000  # bytes that the method may err by


def extra_memory(call, shape):
    """Bytes, or None where the system does not tell."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, call, *map(str, shape)],
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"},
        capture_output=True,
        text=True,
    )
    return int(result.stdout) if result.returncode == 0 else None


def calls(case):
    """Name to function, on a case."""
    import diffusers
    import torch

    from contestants import Contestants
    from peers import pipeline_step

    ours, log_p, sample = Contestants(case.embeddings), case.outer, case.sample(T)
    reference = diffusers.VQDiffusionScheduler(case.embeddings)
    uncond = case.unconditional()

    def seeded():
        return torch.Generator().manual_seed(0)

    return {
        "diffusers step": lambda: reference.step(log_p, T, sample, seeded()),
        "gumbel": lambda: ours.gumbel.step(log_p, T, sample, seeded()),
        "inverse_cdf": lambda: ours.inverse.step(log_p, T, sample, seeded()),
        "diffusers q_posterior": lambda: reference.q_posterior(log_p, sample, T),
        "q_posterior": lambda: ours.gumbel.q_posterior(log_p, sample, T),
        "diffusers guided": lambda: pipeline_step(
            reference, uncond, log_p, T, sample, seeded(), 5.0, 0.86
        ),
        "guided_step": lambda: ours.gumbel.guided_step(
            uncond, log_p, T, sample, seeded(), truncation_rate=0.86
        ),
    }


def _status(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    raise LookupError(field)


def main(call, *shape):
    from cases import Case

    calls(Case(1, 66, 16))[call]()  # what is loaded at first use
    function = calls(Case(*map(int, shape)))[call]
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    function()
    print(_status("VmHWM") - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
