"""Draws digits by chains that choose which pixels to reveal, in 100 to 3 calls of the denoiser, and
prints the tables of docs/orders_compared.md.

    python training/compare_orders.py --picture docs/orders.svg

Each table has the same seven chains, once without guidance and once with the demo's. Of the drawn
digits it gives:

read as the right digit     By a support vector machine that was trained on the scans which the
                            denoiser was trained on.
nearest scan                The distance to the nearest training scan, Euclidean, in grey levels
                            over 64 pixels.
variety                     The mean distance between two of the same digit.
energy distance             Of the drawn digits from the training scans of the same digit: twice the
                            mean distance between one and the other, less those within either. It is
                            0 for two samples of one law, and sees quality and variety alike.

Errors are standard errors of the mean, of the drawn digits alone. At 100 calls, where most of the
time goes, a third as many digits are drawn.
"""

import argparse

import numpy as np
from scans import load_scans
from sklearn.metrics import pairwise_distances
from sklearn.svm import SVC

from vqdiffusion import Unmask, VQDiffusionScheduler, schedules
from vqdiffusion.demo import DigitDenoiser, generate
from vqdiffusion.demo.generate import DEFAULT_GUIDANCE

CALLS = 100, 25, 10, 5, 3
SHARE = 0.2  # of the largest σ
GAMMAS = schedules.linear(DigitDenoiser.num_timesteps)[1]


class Remasking(VQDiffusionScheduler):
    """Masks pixels again with a share of the largest σ, ReMDM's "rescale"."""

    def step(self, model_output, timestep, sample, generator=None, *, unmask=None, **options):
        s = self.previous_timestep(timestep)
        largest = min(1.0, GAMMAS[s] / (1 - GAMMAS[timestep])) if s >= 0 else 0.0
        options["remask"] = SHARE * largest
        return super().step(model_output, timestep, sample, generator, **options)


CHAINS = {
    "ancestral": {},
    "purity, temperature 1": {"unmask": Unmask("purity", temperature=1)},
    "margin": {"unmask": Unmask("margin")},
    "margin, temperature 1": {"unmask": Unmask("margin", temperature=1)},
    "entropy": {"unmask": Unmask("entropy")},
    "confidence": {"unmask": Unmask("confidence")},
    "remasking": {"scheduler_class": Remasking},
}


def within(images, digits):
    """The mean distance between two of the same digit, and its standard error."""
    means = [_to_others(images[digits == digit]) for digit in range(10)]
    # An image takes part in two of the means.
    return np.mean([one.mean() for one in means]), _error_over_digits([2 * one for one in means])


def energy_distance(images, digits, scans, labels):
    """Of the images from the scans, for each digit by itself; the error is that of the images."""
    values, influences = [], []
    for digit in range(10):
        own, others = images[digits == digit], scans[labels == digit]
        across, inside = pairwise_distances(own, others).mean(1), _to_others(own)
        values.append(2 * across.mean() - inside.mean() - _to_others(others).mean())
        influences.append(2 * (across - inside))
    return np.mean(values), _error_over_digits(influences)


def _to_others(images):
    """The mean distance of each image to the others."""
    return pairwise_distances(images).sum(1) / (len(images) - 1)


def _error_over_digits(parts):
    variances = [part.var(ddof=1) / len(part) for part in parts]
    return np.sqrt(np.sum(variances)) / len(parts)


def error(values):
    """The standard error of the mean."""
    return values.std() / np.sqrt(len(values))


def row_of(drawn, asked, reader, scans, labels):
    """The four figures of the table, each with its error."""
    right = 100.0 * (reader.predict(drawn) == asked)
    nearest = pairwise_distances(drawn, scans).min(axis=1)
    return [
        (right.mean(), error(right)),
        (nearest.mean(), error(nearest)),
        within(drawn, asked),
        energy_distance(drawn, asked, scans, labels),
    ]


def as_cells(figures):
    places = 1, 2, 2, 2
    return " | ".join(
        f"{value:.{n}f} ± {spread:.{n}f}" for (value, spread), n in zip(figures, places)
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--per-digit", type=int, default=24, metavar="N", help="default: %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument("--picture", metavar="FILE.svg", help="needs matplotlib")
    arguments = parser.parse_args()

    scans, labels, held_out, of_held_out = load_scans()
    reader = SVC(gamma=0.001).fit(scans, labels)
    reference = row_of(held_out, of_held_out, reader, scans, labels)
    curves = {}
    for guidance in (1, DEFAULT_GUIDANCE):
        print(f"Guidance {guidance:g}, seed {arguments.seed}\n")
        columns = "read as the right digit, %", "nearest scan", "variety", "energy distance"
        print(f"| calls | order | {' | '.join(columns)} |")
        print("|---|---|---|---|---|---|")
        print(f"| | held-out scans | {as_cells(reference)} |")
        for calls in CALLS:
            times = arguments.per_digit // (3 if calls == DigitDenoiser.num_timesteps else 1)
            asked = np.tile(np.arange(10), max(2, times))
            for name, options in CHAINS.items():
                drawn = generate(
                    asked,
                    steps=calls,
                    timestep_spacing="trailing",
                    guidance=guidance,
                    generator=np.random.default_rng(arguments.seed),
                    **options,
                ).digits
                figures = row_of(drawn, asked, reader, scans, labels)
                if guidance == 1:
                    curves.setdefault(name, []).append((calls, *figures[2:]))
                print(f"| {calls} | {name} | {as_cells(figures)} |", flush=True)
        print()
    if arguments.picture:
        save_picture(arguments.picture, curves, reference[2:])


def save_picture(path, curves, reference):
    """Variety and energy distance over the number of calls, without guidance."""
    import matplotlib
    from matplotlib.figure import Figure

    # Text stays text, and the same curves are the same file.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "vqdiffusion"})
    figure = Figure(figsize=(8, 3.8), layout="constrained")
    panels = figure.subplots(1, 2)
    for number, (panel, label) in enumerate(zip(panels, ("variety", "energy distance"))):
        for name, points in curves.items():
            means = [point[number + 1] for point in points]
            value, spread = zip(*means)
            calls = [point[0] for point in points]
            panel.errorbar(calls, value, spread, marker=".", capsize=2, lw=1, label=name)
        panel.axhline(reference[number][0], color="gray", ls=":", label="held-out scans")
        panel.set(xscale="log", xlabel="calls of the denoiser", ylabel=label)
        panel.set_xticks(CALLS, map(str, CALLS))
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[1].set_yscale("symlog", linthresh=1)
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, fontsize="small")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
