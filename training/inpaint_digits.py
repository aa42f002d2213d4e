"""Gives the upper half of the held-out scans, draws the lower half, and prints the table of
docs/digits.md.

    python training/inpaint_digits.py --picture docs/inpainting.png

Each of the 360 scans is completed ten times with `known=`, once told which digit it is and once not
told. A support vector machine, trained on the scans that the denoiser was trained on, reads the
results; it also reads the scans themselves, and their upper halves beside the lower half of another
scan, which is what a half drawn without regard to the other would give. The ten of a scan are not
independent: errors are those of the mean over the scans.
"""

import argparse

import numpy as np
from figures import save_rows
from scans import load_scans
from sklearn.svm import SVC

from vqdiffusion.demo import DigitDenoiser, generate

UPPER = 32  # pixels, the first four rows of eight


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--times", type=int, default=10, metavar="N", help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=25, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument("--picture", metavar="FILE.png", help="one scan of each digit")
    arguments = parser.parse_args()

    x_train, y_train, scans, digits = load_scans()
    reader = SVC(gamma=0.001).fit(x_train, y_train)
    print(
        f"{len(scans)} scans, {arguments.times} times each, {arguments.steps} calls, "
        f"seed {arguments.seed}\n"
    )
    print("| lower half | read as the right digit |\n|---|---|")
    half = SVC(gamma=0.001).fit(x_train[:, :UPPER], y_train)
    report("none, by a classifier of upper halves", half, scans[:, None, :UPPER], digits)
    report("the scan's own", reader, scans[:, None], digits)
    generator = np.random.default_rng(arguments.seed)
    others = scans[
        (np.arange(len(scans))[:, None] + generator.integers(1, len(scans), (1, arguments.times)))
        % len(scans)
    ]
    report("another scan's", reader, joined(scans, others), digits)
    shown = {}
    for name, labels in (
        ("drawn, the digit told", digits),
        ("drawn, the digit not told", np.full_like(digits, DigitDenoiser.null_label)),
    ):
        drawn = completed(scans, labels, arguments.times, arguments.steps, generator)
        report(name, reader, drawn, digits)
        shown[name] = drawn
    if arguments.picture:
        save_picture(arguments.picture, scans, digits, shown)


def joined(scans, lower):
    """The upper half of each scan (S, 64) above each of its lower halves (S, times, 64)."""
    upper = np.broadcast_to(scans[:, None, :UPPER], (*lower.shape[:2], UPPER))
    return np.concatenate([upper, lower[..., UPPER:]], axis=2)


def completed(scans, labels, times, steps, generator):
    """Each scan (S, 64) with its lower half drawn anew, (S, times, 64)."""
    known = joined(scans, np.full((len(scans), times, scans.shape[1]), -1))
    drawn = generate(
        labels.repeat(times),
        steps=steps,
        timestep_spacing="trailing",
        guidance=1,
        known=known.reshape(-1, known.shape[-1]),
        generator=generator,
    )
    return drawn.digits.reshape(known.shape)


def report(name, reader, images, digits):
    """Prints the share of images (S, times, 64) that are read as the digits (S,)."""
    read = reader.predict(images.reshape(-1, images.shape[-1])).reshape(images.shape[:2])
    right = (read == digits[:, None]).mean(axis=1)
    error = right.std() / np.sqrt(len(right))
    print(f"| {name} | {100 * right.mean():.1f} ± {100 * error:.1f} % |", flush=True)


def save_picture(path, scans, digits, shown):
    """For the first scan of each digit: itself, what is given, and four results of each kind."""
    first = [int(np.flatnonzero(digits == digit)[0]) for digit in range(10)]
    given = np.where(np.arange(scans.shape[1]) < UPPER, scans[first], DigitDenoiser.num_classes)
    rows = [("scan", scans[first]), ("given", given)]
    for name, drawn in shown.items():
        rows += [(name if time == 0 else "", drawn[first, time]) for time in range(4)]
    save_rows(path, rows, scale=5)


if __name__ == "__main__":
    main()
