"""Draws both samplers many times and tests what came against the exact probabilities.

    python reliability/draws.py [--draws 1e9] [--seed 0]

Inverse CDF: a run draws a million pixels of one column. Its counts give the p-value of a chi-square
test, and the p-values of all runs must be uniform. Classes of probability below 1e-4 are counted
over all runs, by decade down to 1e-8, against the Poisson distribution of their number.

Gumbel-max: a tenth as many draws, of columns without rare classes, in the same way; and the rate of
rare classes against the exact one of noise from 24-bit uniforms.

Prints Markdown. The exit status is 1 where a p-value is below its bound; a right sampler comes to
that with a probability of 1e-3, for each new seed.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1] / "python/tests"))
from reference import Reference, gumbel

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler, _native

RUN, ROWS = 1_000_000, 100
ALARM = 1e-3  # of the whole script, shared out below
# Pooled until each cell of a chi-square test expects as many.
EXPECTED = 25
RARE = 1e-4
T = 100
LEFT = np.linspace(0.999, 1e-3, T)
SCHEDULES = {
    "published": (np.linspace(0.99999, 9e-6, T), np.linspace(9e-6, 0.99999, T)),
    "substituting": (np.linspace(0.9, 0.1, T), np.linspace(0.02, 0.6, T)),
    "absorbing": (LEFT, 1 - LEFT),
    "uniform": (LEFT, np.zeros(T)),
}
STEPS = [(50, 49), (99, 20), (70, 30), (60, -1)]
LAWS = {
    "rare": [1e-7, 0.3, 3e-7, 1e-6, 1e-5, 0.2, 1e-4, 3e-5, 1e-3, 0.4, 3e-6, 0.1],
    "plain": [0.03, 0.4, 0.07, 0.3, 0.2],
}
LAYOUTS = ["classes outer", "classes inner", "one column in memory"]


class Case:
    """A law, a schedule, a step and what the pixels show, with the exact probabilities."""

    def __init__(self, law, schedule, t, s, x, method):
        p = np.array(LAWS[law])
        log_p = np.log(p / p.sum())
        alpha, gamma = SCHEDULES[schedule]
        self.t, self.s, self.classes = t, s, len(p)
        self.x = self.classes if x == "mask" else int(p.argmax() if x == "likely" else p.argmin())
        self.scheduler = VQDiffusionScheduler(
            self.classes + 1, alphas_cumprod=alpha, gammas_cumprod=gamma, sampling_method=method
        )
        self.log_p = {dtype: log_p.astype(dtype) for dtype in (np.float32, np.float64)}
        truth = Reference.of_tables(self.classes, alpha, gamma)
        sample = np.array([[self.x]])
        self.probabilities = {
            dtype: truth.step_probabilities(one[None, :, None], sample, t, s)[0, :, 0]
            for dtype, one in self.log_p.items()
        }

    def counts(self, seed, layout, dtype):
        """How often a run draws each class."""
        pixels = RUN // ROWS
        column = self.log_p[dtype]
        if layout == "classes outer":
            one = np.repeat(column[:, None], pixels, axis=1)
        elif layout == "classes inner":
            one = np.repeat(column[None], pixels, axis=0).T
        else:
            one = np.broadcast_to(column[:, None], (self.classes, pixels))
        model_output = np.broadcast_to(one, (ROWS, self.classes, pixels))
        sample = np.full((ROWS, pixels), self.x, np.int16)
        generator = np.random.default_rng(seed)
        drawn = self.scheduler.step(
            model_output, self.t, sample, generator, previous_timestep=self.s
        ).prev_sample
        return np.bincount(drawn.ravel(), minlength=self.classes + 1)


def cases(method):
    """Those of which anything is left to chance."""
    for law in LAWS if method == "inverse_cdf" else ["plain"]:
        for schedule in SCHEDULES:
            for t, s in STEPS:
                for x in ("mask", "likely", "rare"):
                    if x == "mask" and schedule == "uniform":
                        continue
                    if x != "mask" and (schedule == "absorbing" or s == -1):
                        continue
                    yield Case(law, schedule, t, s, x, method)


def chi_square(counts, probabilities):
    """The p-value, or None where pooling leaves one cell."""
    order = np.argsort(probabilities)
    expected, observed = probabilities[order] * counts.sum(), counts[order].astype(float)
    pooled = int(np.searchsorted(np.cumsum(expected), EXPECTED)) + 1
    expected = np.append(expected[:pooled].sum(), expected[pooled:])
    observed = np.append(observed[:pooled].sum(), observed[pooled:])
    while len(expected) > 1 and expected.min() < EXPECTED:
        expected = np.append(expected[:2].sum(), expected[2:])
        observed = np.append(observed[:2].sum(), observed[2:])
    if len(expected) < 2:
        return None
    return stats.chi2.sf(((observed - expected) ** 2 / expected).sum(), len(expected) - 1)


def poisson_p_value(found, expected):
    """Two-sided and exact: twice the smaller tail."""
    tails = stats.poisson.cdf(found, expected), stats.poisson.sf(found - 1, expected)
    return min(1.0, 2 * min(tails))


class Verdicts:
    """Rows of a table, a test in each; prints them and remembers whether one has failed."""

    def __init__(self):
        self.failed = 0

    def table(self, title, head, rows):
        print(f"\n{title}\n\n| {' | '.join(head)} |\n| {' | '.join(['---'] * len(head))} |")
        for *cells, p_value, bound in rows:
            self.failed += p_value < bound
            p_text = f"**{p_value:.2g}**" if p_value < bound else f"{p_value:.2g}"
            print(f"| {' | '.join([*cells, p_text, f'{bound:.0e}'])} |")


def draw_runs(method, runs, seed):
    """The p-value of each run, and (probability, how many draws, how often) of rare classes."""
    every = list(cases(method))
    p_values, rare, impossible = [], [], 0
    for number in range(runs):
        case = every[number % len(every)]
        layout = LAYOUTS[number // len(every) % len(LAYOUTS)]
        dtype = (np.float32, np.float64)[number // len(every) % 2]
        counts = case.counts([seed, number, len(method)], layout, dtype)
        probabilities = case.probabilities[dtype]
        impossible += counts[probabilities == 0].sum()
        p_value = chi_square(counts, probabilities)
        if p_value is not None:
            p_values.append(p_value)
        rare += [(p, RUN, c) for p, c in zip(probabilities, counts, strict=True) if 0 < p < RARE]
    return np.array(p_values), np.array(rare), impossible, len(every)


def test_method(verdicts, method, runs, seed):
    begin = time.monotonic()
    p_values, rare, impossible, number = draw_runs(method, runs, seed)
    seconds = time.monotonic() - begin
    title = f"`{method}`: {runs * RUN:.2g} draws in {runs} runs of {number} cases, {seconds:.0f} s"
    uniformity = stats.kstest(p_values, "uniform")
    rows = [
        [f"{len(p_values)} chi-square tests, the least times their number", "", "",
         min(1, p_values.min() * len(p_values)), ALARM / 8],
        ["p-values uniform, Kolmogorov-Smirnov", "", f"{uniformity.statistic:.3f}",
         uniformity.pvalue, ALARM / 8],
        ["impossible classes", "0", str(impossible), float(impossible == 0), ALARM],
    ]  # fmt: skip
    if method == "inverse_cdf":
        decades = np.floor(np.log10(rare[:, 0]) + 1e-9).astype(int)
        for decade in range(-5, -9, -1):
            p, draws, found = rare[decades == decade].T
            expected = (p * draws).sum()
            name = f"classes of probability 1e{decade} … 1e{decade + 1}"
            p_value = poisson_p_value(found.sum(), expected)
            bound = ALARM / 4 / 4
            rows.append([name, f"{expected:.1f}", f"{found.sum():.0f}", p_value, bound])
    verdicts.table(title, ["", "expected", "found", "p-value", "bound"], rows)


def noise_rate(p, rest):
    """The probability that a class of probability p is drawn, beside one of probability `rest`, by
    float32 noise of all 2**24 uniforms.
    """
    noise = np.sort(gumbel(np.arange(2**24, dtype=np.float32) * np.float32(2.0**-24)))
    top = noise[noise > np.log(p / rest) * -1 - 5].astype(np.float64)  # the others hardly ever win
    below = np.searchsorted(noise, (top + np.log(p) - np.log(rest)).astype(np.float32))
    return below.sum() / 2.0**48


def test_gumbel_misses(verdicts, most, seed):
    begin, rows = time.monotonic(), []
    number, pixels = 30, 10_000  # rare classes that are alike
    for p in (1e-5, 1e-6, 1e-7, 1e-8):
        rest = 1 - number * p
        column = np.log(np.array([rest] + [p] * number)).astype(np.float32)
        scheduler = VQDiffusionScheduler(number + 2, sampling_method="gumbel")
        output = np.broadcast_to(
            np.repeat(column[:, None], pixels, axis=1), (ROWS, number + 1, pixels)
        )
        generator, found = np.random.default_rng([seed, round(1 / p)]), 0
        draws = most if p < 1e-6 else max(RUN, most / 10)
        for _ in range(int(draws) // RUN):
            found += np.count_nonzero(scheduler.step(output, 0, None, generator).prev_sample)
        true, rate = number * p * draws, noise_rate(p, rest) / p
        rows.append(
            [f"{p:.0e}", f"{draws:.0e}", f"{rate:.3g}", f"{true:.1f}", f"{rate * true:.2f}",
             str(found), poisson_p_value(found, rate * true), ALARM / 4 / 4]
        )  # fmt: skip
    title = (
        f"`gumbel`, {number} rare classes beside one that is drawn nearly always, "
        f"{time.monotonic() - begin:.0f} s"
    )
    head = [
        "probability",
        "draws",
        "rate of 24-bit noise",
        "hits without the miss",
        "expected",
        "found",
    ]
    verdicts.table(title, [*head, "p-value", "bound"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=float, default=1e9, help="by the inverse CDF, 1e9")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    threads = vqdiffusion.get_num_threads() or "automatic"
    print(f"CPU level {_native.cpu}, threads {threads}, seed {given.seed}.")
    verdicts = Verdicts()
    runs = max(2, round(given.draws / RUN))
    test_method(verdicts, "inverse_cdf", runs, given.seed)
    test_method(verdicts, "gumbel", max(2, runs // 10), given.seed)
    test_gumbel_misses(verdicts, max(RUN, given.draws / 10), given.seed)
    sys.exit(int(verdicts.failed > 0))


if __name__ == "__main__":
    main()
