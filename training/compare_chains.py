"""Draws digits by chains of fewer calls of the denoiser, and prints the table of docs/digits.md.

    python training/compare_chains.py --picture docs/chains.png

A support vector machine, trained on the scans that the denoiser was trained on, reads the digits;
distances are Euclidean, in grey levels over 64 pixels. Errors are standard errors of the mean.
Three chains of n calls each begin with masks:

exact       The n timesteps of the spacing "trailing", each step exact for its stride.
shortcut    The same timesteps, but a step to s takes x_t for x_{s+1} and uses the posterior of that
            single step, as the fast inference of VQ-Diffusion's authors does, which others have
            copied. Hence x_s has about as many masks as x_t, less a single step's, and the last
            step draws them all at once.
cut off     Timesteps n - 1 … 0, each step a single one: what `set_timesteps(n)` gives in diffusers
            and, with the spacing "reference", here. These expect images that are mostly drawn.

With 100 calls the three are one chain.
"""

import argparse

import numpy as np
from figures import save_rows
from scans import load_scans
from sklearn.metrics import pairwise_distances
from sklearn.svm import SVC

from vqdiffusion import VQDiffusionScheduler
from vqdiffusion.demo import DigitDenoiser, generate
from vqdiffusion.demo.generate import DEFAULT_GUIDANCE

CALLS = 100, 25, 10, 5


class Shortcut(VQDiffusionScheduler):
    """Takes x_t for the sample one timestep above where the step leads."""

    def step(self, model_output, timestep, sample, generator=None, **options):
        s = self.previous_timestep(timestep)
        return super().step(model_output, s + 1, sample, generator, previous_timestep=s, **options)


CHAINS = {
    "exact": {"timestep_spacing": "trailing"},
    "shortcut": {"timestep_spacing": "trailing", "scheduler_class": Shortcut},
    "cut off": {"timestep_spacing": "reference"},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--per-digit", type=int, default=100, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--guidance", type=float, default=DEFAULT_GUIDANCE, metavar="G", help="default: %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument("--picture", metavar="FILE.png", help="two of each digit by each chain")
    arguments = parser.parse_args()

    x_train, y_train, _, _ = load_scans()
    reader = SVC(gamma=0.001).fit(x_train, y_train)
    asked = np.tile(np.arange(10), arguments.per_digit)
    print(f"{len(asked)} digits each, guidance {arguments.guidance:g}, seed {arguments.seed}\n")
    print("| calls | chain | read as the right digit | distance to the nearest training scan |")
    print("|---|---|---|---|")
    rows = []
    for calls in CALLS:
        for name, options in CHAINS.items():
            if calls == DigitDenoiser.num_timesteps:
                if rows:
                    continue
                name = "all are one"
            drawn = generate(
                asked,
                steps=calls,
                guidance=arguments.guidance,
                generator=np.random.default_rng(arguments.seed),
                **options,
            ).digits
            right = reader.predict(drawn) == asked
            nearest = pairwise_distances(drawn, x_train).min(axis=1)
            print(
                f"| {calls} | {name} | {100 * right.mean():.1f} ± {100 * error(right):.1f} % | "
                f"{nearest.mean():.2f} ± {error(nearest):.2f} |",
                flush=True,
            )
            rows.append((f"{calls}" if len(rows) == 0 else f"{calls}, {name}", drawn[:20]))
    if arguments.picture:
        save_rows(arguments.picture, rows)


def error(values):
    """The standard error of the mean."""
    return values.std() / np.sqrt(len(values))


if __name__ == "__main__":
    main()
