"""Measures the digits that the demo draws, and prints tables.

    python training/evaluate_digits.py

Whether they are the digits asked for: a support vector machine, trained on real scans and not known
to the generator, reads them. Whether they are copies: their distance to the nearest training scan,
beside that of scans that were held out of training. Whether they differ: the mean distance between
two of the same digit. Distances are Euclidean, in grey levels over 64 pixels.
"""

import argparse

import numpy as np
from scans import load_scans
from sklearn.metrics import pairwise_distances
from sklearn.svm import SVC

from vqdiffusion.demo import generate
from vqdiffusion.demo.generate import DEFAULT_GUIDANCE


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--per-digit", type=int, default=100, metavar="N", help="default: %(default)s"
    )
    parser.add_argument("--steps", type=int, default=100, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--guidance", type=float, default=DEFAULT_GUIDANCE, metavar="G", help="default: %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    arguments = parser.parse_args()

    x_train, y_train, x_held_out, y_held_out = load_scans()
    asked = np.repeat(np.arange(10), arguments.per_digit)
    generator = np.random.default_rng(arguments.seed)
    drawn = generate(
        asked, steps=arguments.steps, guidance=arguments.guidance, generator=generator
    ).digits
    print(
        f"{len(asked)} digits, {arguments.steps} steps, guidance {arguments.guidance:g}, seed "
        f"{arguments.seed}\n"
    )

    reader = SVC(gamma=0.001).fit(x_train, y_train)
    second_reader = SVC(gamma=0.001).fit(x_held_out, y_held_out)
    print("| Read as the right digit | held-out scans | drawn digits |")
    print("|---|---|---|")
    of_held_out, of_drawn = reader.score(x_held_out, y_held_out), reader.score(drawn, asked)
    print(f"| by a classifier of the training scans | {of_held_out:.1%} | {of_drawn:.1%} |")
    print(
        f"| by a classifier of the held-out scans | | {second_reader.score(drawn, asked):.1%} |\n"
    )

    right = reader.predict(drawn) == asked
    by_digit = ", ".join(f"{digit} {right[asked == digit].mean():.0%}" for digit in range(10))
    print(f"By the first classifier: {by_digit}\n")

    print(
        "| Distance to the nearest training scan | smallest | 5 % | median | 95 % | exact copies |"
    )
    print("|---|---|---|---|---|---|")
    for name, images in (("held-out scans", x_held_out), ("drawn digits", drawn)):
        nearest = pairwise_distances(images, x_train).min(axis=1)
        low, median, high = np.percentile(nearest, (5, 50, 95))
        print(
            f"| {name} | {nearest.min():.1f} | {low:.1f} | {median:.1f} | {high:.1f} | "
            f"{np.sum(nearest == 0)} |"
        )

    print(
        "\n| Mean distance between two of the same digit | "
        + " | ".join(map(str, range(10)))
        + " | all |"
    )
    print("|---" * 12 + "|")
    for name, images, labels in (
        ("training scans", x_train, y_train),
        ("drawn digits", drawn, asked),
    ):
        spread = [_mean_distance(images[labels == digit]) for digit in range(10)]
        print(
            f"| {name} | "
            + " | ".join(f"{value:.1f}" for value in (*spread, np.mean(spread)))
            + " |"
        )


def _mean_distance(images):
    distances = pairwise_distances(images)
    return distances.sum() / (len(images) * (len(images) - 1))


if __name__ == "__main__":
    main()
