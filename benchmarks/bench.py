"""Times the scheduler beside diffusers', in one process and by turns, and checks in the same run that both computed the same.

    make bench

Prints the table of the README; the machine and the versions come with it. Needs torch and diffusers (`pip install '.[diffusers]'`).
"""

import argparse
import platform
import statistics
import time

import diffusers
import numpy as np
import torch

import vqdiffusion
from vqdiffusion import _native
from vqdiffusion.diffusers import VQDiffusionScheduler

Reference = diffusers.VQDiffusionScheduler


def forward(scheduler, x_0, t, seed):
    """A sample of the true forward process at t."""
    return torch.from_numpy(scheduler.q_sample(x_0.numpy(), t, seed))


def timed(functions, repeats):
    """The median milliseconds of each function, called by turns."""
    seconds = [[] for _ in functions]
    for function in functions:
        function()
    for _ in range(repeats):
        for function, times in zip(functions, seconds):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    return [1e3 * statistics.median(times) for times in seconds]


def tokens(scheduler, log_p, t, sample):
    return scheduler.step(log_p, t, sample, torch.Generator().manual_seed(0)).prev_sample


def processor():
    with open("/proc/cpuinfo") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {len(names)} threads"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, default=4096, help="K, without the mask (default: %(default)s)")
    parser.add_argument("--pixels", type=int, default=1024, help="N (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=1, help="B (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=11, help="calls of each function (default: %(default)s)")
    arguments = parser.parse_args()
    batch, classes, pixels = arguments.batch, arguments.classes, arguments.pixels

    torch.manual_seed(0)
    log_p = torch.log_softmax(3 * torch.randn(batch, classes, pixels), dim=1)
    inner = log_p.transpose(1, 2).contiguous().transpose(1, 2)
    x_0 = torch.distributions.Categorical(logits=log_p.transpose(1, 2)).sample()
    reference, gumbel = Reference(classes + 1), VQDiffusionScheduler(classes + 1)
    inverse = VQDiffusionScheduler(classes + 1, sampling_method="inverse_cdf")
    array = vqdiffusion.VQDiffusionScheduler(classes + 1)

    print(f"{processor()}; level {_native.cpu}; Python {platform.python_version()}, NumPy {np.__version__}, torch {torch.__version__} "
          f"({torch.get_num_threads()} threads), diffusers {diffusers.__version__}")
    print(f"{batch} x {classes + 1} classes x {pixels} pixels; medians of {arguments.repeats} calls by turns, in milliseconds\n")
    print("| t | diffusers `step` | gumbel | | inverse_cdf | | inverse_cdf, classes inner | | `torch.sum` | check of this run |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for t in (90, 50, 10, 1, 0):
        sample = forward(array, x_0, t, seed=t)
        times = timed(
            [
                lambda: tokens(reference, log_p, t, sample),
                lambda: tokens(gumbel, log_p, t, sample),
                lambda: tokens(inverse, log_p, t, sample),
                lambda: tokens(inverse, inner, t, sample),
                lambda: torch.sum(log_p, dim=1),
            ],
            arguments.repeats,
        )
        same = torch.equal(tokens(reference, log_p, t, sample), tokens(gumbel, log_p, t, sample))
        layouts = torch.equal(tokens(inverse, inner, t, sample), tokens(inverse, log_p, t, sample))
        check = f"tokens {'identical' if same else 'DIFFER'}, layouts {'agree' if layouts else 'DISAGREE'}"
        ours = " | ".join(f"{ms:.2f} | {times[0] / ms:.0f}×" for ms in times[1:4])
        print(f"| {t} | {times[0]:.0f} | {ours} | {times[4]:.2f} | {check} |", flush=True)

    sample = forward(array, x_0, 50, seed=50)
    theirs, mine = timed(
        [lambda: reference.q_posterior(log_p, sample, 50), lambda: gumbel.q_posterior(log_p, sample, 50)], arguments.repeats
    )
    error = (reference.q_posterior(log_p, sample, 50) - gumbel.q_posterior(log_p, sample, 50)).abs().max().item()
    print(f"\n`q_posterior` at t = 50: {theirs:.0f} ms, ours {mine:.2f} ms, {theirs / mine:.0f}×; largest difference {error:.1e}")

    small, small_reference = VQDiffusionScheduler(19), Reference(19)
    of_18 = torch.log_softmax(torch.randn(1, 18, 64), dim=1)
    masked = torch.full((1, 64), 18)
    array_18, sample_18 = of_18.numpy(), masked.numpy()
    numpy_small, generator = vqdiffusion.VQDiffusionScheduler(19), np.random.default_rng(0)
    theirs, mine, on_numpy = timed(
        [
            lambda: tokens(small_reference, of_18, 50, masked),
            lambda: tokens(small, of_18, 50, masked),
            lambda: numpy_small.step(array_18, 50, sample_18, generator),
        ],
        300,
    )
    print(f"\n1 x 19 classes x 64 pixels at t = 50: diffusers {1e3 * theirs:.0f} µs, drop-in {1e3 * mine:.0f} µs, on NumPy arrays "
          f"(inverse_cdf) {1e3 * on_numpy:.0f} µs")




if __name__ == "__main__":
    main()
