"""The errors of each CPU level against arithmetic of 40 digits, and beside them those of the
formulas as people run them.

    python reliability/accuracy.py [--programs build/reliability]

Prints a Markdown table. The exit status is 1 where an error of a result is larger than theirs, or
one of `exp` and `log`, which are internal, is above 1 ulp; torch's own are up to 0.6 ulp.
PROGRAMS/exp_log-LEVEL is the source of those two compiled for the level, see exp_log/main.swift;
all else is called as users call it.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from os import environ
from pathlib import Path

import inputs
import numpy as np
import theirs
import truth
from mpmath import exp, log, mpf

from vqdiffusion import _native

HERE = Path(__file__).parent


def exact():
    """The exact value of every result, by its name, in lists as the arrays are laid out; None for
    what is not compared.
    """
    values = {}
    for dtype in inputs.FUNCTIONS:
        x, positive = inputs.of_functions(dtype)
        values[f"exp {dtype.__name__}"] = [exp(mpf(float(one))) for one in x]
        values[f"log {dtype.__name__}"] = [log(mpf(float(one))) for one in positive]
    for classes, columns, dtype in inputs.POSTERIORS:
        log_p, x = inputs.of_posterior(classes, columns, dtype)
        for t in inputs.TIMES:
            of_columns = [truth.log_posterior(log_p[:, n], x[n], t, t - 1) for n in range(columns)]
            values[f"posterior {classes} {dtype.__name__} {t}"] = by_class(of_columns)
    for classes, pixels, dtype in inputs.LOSSES:
        z, x_0, x_t = inputs.of_loss(classes, pixels, dtype)
        per_row, gradient = [], []
        for row, t in enumerate(inputs.LOSS_TIMES):
            of_pixels = [
                truth.loss(z[row, :, n], x_0[row, n], x_t[row, n], t, t - 1) for n in range(pixels)
            ]
            per_row.append(sum(value for value, _ in of_pixels))
            gradient += by_class([slope for _, slope in of_pixels])
        scale = mpf(100) / x_0.size  # 1/p(t) for each pixel
        values[f"loss {classes} {dtype.__name__}"] = per_row
        values[f"gradient {classes} {dtype.__name__}"] = [one * scale for one in gradient]
    for classes, columns, dtype in inputs.GUIDANCES:
        log_p, _ = inputs.of_posterior(classes, columns, dtype)
        values[f"guidance {classes} {dtype.__name__}"] = by_class(
            [
                truth.guide(log_p[::-1, n], log_p[:, n], inputs.GUIDANCE_SCALE)
                for n in range(columns)
            ]
        )
    return values


def by_class(columns):
    return [column[k] for k in range(len(columns[0])) for column in columns]


def check_masses():
    """The masses that the rates of truncation are made of are exact to far below the distances."""
    for classes, columns in inputs.TRUNCATIONS:
        log_p, chosen, mass, _ = inputs.of_truncation(classes, columns)
        for n in range(0, columns, 7):
            column, k = log_p[:, n], chosen[n]
            before = (column > column[k]) | (column == column[k]) & (np.arange(classes) < k)
            total = sum(exp(mpf(float(one))) for one in column[before])
            assert abs(total - mpf(float(mass[n]))) < 1e-15


def of_functions(compute):
    """exp and log by `compute(name, x)`."""
    found = {}
    for dtype in inputs.FUNCTIONS:
        for name, x in zip(("exp", "log"), inputs.of_functions(dtype), strict=True):
            found[f"{name} {dtype.__name__}"] = compute(name, x)
    return found


def of_level(level, programs):
    """All results of the package at a CPU level."""

    def compute(name, x):
        kind = "float" if x.dtype == np.float32 else "double"
        command = [programs / f"exp_log-{level}", name, kind]
        run = subprocess.run(command, input=x.tobytes(), capture_output=True, check=True)
        return np.frombuffer(run.stdout, x.dtype)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "results.npz")
        run = subprocess.run(
            [sys.executable, HERE / "ours.py", path],
            env=environ | {"VQDIFFUSION_CPU": level}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert run.stdout == f"{level}\n"
        with np.load(path) as file:
            return of_functions(compute) | dict(file)


def errors(found, values):
    """The largest error of each row of the table, and the mean."""
    rows = {}
    for name, result in found.items():
        what, kind, *_ = name.split()
        if what == "truncation":
            right = np.array([False, True])[None, :, None]  # dropped below the rate, kept above
            wrong = np.where(result != right, inputs.DISTANCES, 0)
            rows.setdefault(label(name), []).append(wrong.max(axis=(1, 2)))
            continue
        pairs = [
            (mpf(float(value)), true, value.dtype)
            for value, true in zip(result.ravel(), values[name], strict=True)
            if true is not None
        ]
        off = np.array([float(abs(value - true)) for value, true, _ in pairs])
        if what in ("exp", "log"):
            off /= [float(np.spacing(dtype.type(abs(true)))) for _, true, dtype in pairs]
        elif what == "loss":
            off /= [float(abs(true)) for _, true, _ in pairs]
        elif what == "gradient":
            off /= max(float(abs(true)) for _, true, _ in pairs)
        rows.setdefault(label(name), []).append(off)
    return {row: np.concatenate(parts) for row, parts in rows.items()}


UNITS = {
    "exp": "ulp",
    "log": "ulp",
    "posterior": "of the logarithm",
    "guidance": "of the logarithm",
    "truncation": "mass at which a class is misjudged",
    "loss": "relative",
    "gradient": "of its largest entry",
}


def label(name):
    """The row that a result belongs to."""
    what, *rest = name.split()
    kind = next((one for one in rest if one.startswith("float")), "float32")
    size = f", K = {rest[0]}" if rest[0].isdigit() else ""
    return f"{what}{size}, {kind}: {UNITS[what]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--programs", type=Path, default=Path("build/reliability"))
    given = parser.parse_args()
    begin, levels = time.monotonic(), _native.supported_cpus()
    check_masses()
    values = exact()
    columns = [errors(of_functions(theirs.function) | theirs.results(), values)]
    columns += [errors(of_level(level, given.programs), values) for level in levels]
    print("| largest error (mean) | theirs |", " | ".join(levels), "|")
    print("| --- " * (len(levels) + 2) + "|")
    worse = []
    for row, reference in columns[0].items():
        cells = [f"{reference.max():.2g} ({reference.mean():.2g})"]
        for level, column in zip(levels, columns[1:], strict=True):
            ours = column[row]
            cells.append(f"{ours.max():.2g} ({ours.mean():.2g})")
            if ours.max() > (1 if row.startswith(("exp", "log")) else reference.max()):
                cells[-1] = f"**{cells[-1]}**"
                worse.append(f"{row} at {level}")
        print(f"| {row} | {' | '.join(cells)} |")
    print(f"\n{time.monotonic() - begin:.0f} s.", "Worse:" if worse else "No result is worse.",
          "; ".join(worse))  # fmt: skip
    sys.exit(bool(worse))


if __name__ == "__main__":
    main()
