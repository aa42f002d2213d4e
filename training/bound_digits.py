"""Bounds the bits per pixel that chains of fewer calls give to the held-out scans, and prints the
table of docs/digits.md.

    python training/bound_digits.py --picture docs/bound.svg

`likelihood_bound` for the 360 scans, the digit known, divided by 64 log 2; errors are standard
errors of the mean over the scans. Three chains of n calls begin with masks:

exact       The n timesteps of the spacing "trailing".
shortcut    The same timesteps, but a step to s takes x_t for x_{s+1}, see compare_chains.py. Its
            masks are those of yet another schedule, `shortcut`; pixels that show a class, of which
            the published schedule replaces one in a million, are taken to step exactly.
cut off     Timesteps n - 1 … 0 alone, what `set_timesteps(n)` gives in diffusers and, with the
            spacing "reference", here. Along the schedule of training its bound is 15 bits and more,
            since most pixels at t = n - 1 are no masks and the chain begins with 1e-5 of those. But
            its steps down from masks are also those of another schedule of n timesteps, `cut_off`,
            and that one's bound is in the table.
"""

import argparse

import numpy as np
from scans import load_scans

from vqdiffusion import VQDiffusionScheduler, schedules
from vqdiffusion.demo import DigitDenoiser

CLASSES = DigitDenoiser.num_classes + 1  # with the mask
MEAN_OVER = 25  # calls at least for each scan; from 10 calls alone means differ by 0.01
CALLS = 100, 50, 25, 10, 5, 1


# Each chain is a scheduler, and the timesteps that the denoiser is told at its t = 0, 1 …


def exact(calls):
    scheduler = VQDiffusionScheduler(CLASSES, timestep_spacing="trailing")
    scheduler.set_timesteps(calls)
    return scheduler, range(DigitDenoiser.num_timesteps)


def shortcut(calls):
    """Of the masks at t, the share γ̄_s/γ̄_{s+1} are masks at s, instead of γ̄_s/γ̄_t."""
    visited = exact(calls)[0].timesteps[::-1]
    gammas = schedules.linear(DigitDenoiser.num_timesteps)[1]
    stay = gammas[visited[:-1]] / gammas[visited[:-1] + 1]
    masked = gammas[-1] * np.append(np.cumprod(stay[::-1])[::-1], 1)
    return _fitted(visited, masked), visited.tolist()


def cut_off(calls):
    """Steps down depend on the ratios γ̄_s/γ̄_t and ᾱ_t/(1 - γ̄_t) alone. Both stay when γ̄ is
    divided by its last value, which makes that 1, and ᾱ is fitted.
    """
    visited = np.arange(calls)
    gammas = schedules.linear(DigitDenoiser.num_timesteps)[1]
    return _fitted(visited, gammas[visited] / gammas[visited[-1]]), visited.tolist()


def _fitted(visited, masked):
    """The scheduler whose γ̄ is `masked` and whose unmasked pixels are kept as at `visited`."""
    alphas, gammas = (table[visited] for table in schedules.linear(DigitDenoiser.num_timesteps))
    kept = alphas / (1 - gammas)
    return VQDiffusionScheduler(CLASSES, alphas_cumprod=kept * (1 - masked), gammas_cumprod=masked)


def bits_per_pixel(chain, denoiser, scans, digits, generator):
    """For each scan."""
    scheduler, told = chain
    nats = scheduler.likelihood_bound(
        lambda x_t, t: denoiser(x_t, told[t], digits), scans, generator
    )
    return nats / (scans.shape[1] * np.log(2))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--weights", metavar="FILE.npz", help="of train_digits.py; by default those of the demo"
    )
    parser.add_argument("--picture", metavar="FILE.svg", help="needs matplotlib")
    arguments = parser.parse_args()

    denoiser = DigitDenoiser(np.load(arguments.weights) if arguments.weights else None)
    _, _, scans, digits = load_scans()
    print(f"{len(scans)} scans, seed {arguments.seed}\n")
    print("| calls | exact | shortcut | cut off |\n|---|---|---|---|")
    curves = {exact: [], shortcut: [], cut_off: []}
    for calls in CALLS:
        cells = []
        for chain, points in curves.items():
            if chain is not exact and not 1 < calls < DigitDenoiser.num_timesteps:
                cells.append("")
                continue
            generator = np.random.default_rng(arguments.seed)
            bits = np.mean(
                [
                    bits_per_pixel(chain(calls), denoiser, scans, digits, generator)
                    for _ in range(-(-MEAN_OVER // calls))
                ],
                axis=0,
            )
            mean, error = bits.mean(), bits.std() / np.sqrt(len(bits))
            points.append((calls, mean, error))
            cells.append(f"{mean:.3f} ± {error:.3f}")
        print(f"| {calls} | " + " | ".join(cells) + " |", flush=True)
    print(f"\nEvery class alike: {np.log2(DigitDenoiser.num_classes):.3f}")
    if arguments.picture:
        save_picture(arguments.picture, curves)


def save_picture(path, curves):
    import matplotlib
    from matplotlib.figure import Figure

    # Text stays text, and the same curves are the same file.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "vqdiffusion"})
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    panel = figure.subplots()
    for chain, points in curves.items():
        calls, mean, error = zip(*points)
        label = chain.__name__.replace("_", " ")
        panel.errorbar(calls, mean, error, marker=".", capsize=3, label=label)
    panel.set(xscale="log", xlabel="calls of the denoiser", ylabel="bits per pixel, at most")
    panel.set_xticks(CALLS, map(str, CALLS))
    panel.minorticks_off()
    panel.grid(alpha=0.3)
    panel.legend()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
