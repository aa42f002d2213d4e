"""Results of every kernel on input large enough for threads, for comparing numbers of threads,
batches, memory and CPU levels.

As a script it writes them to the .npz file that is its first argument, computed on as many threads
as the second says.
"""

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import views
from cpu_levels import LEVELS
from reference import random_classes, random_log_p

from vqdiffusion import _native

K, T, B, N = (
    131,
    20,
    4,
    825,
)  # B * K * N is three times what makes threads worth while, with ragged ends
T_NOW, T_EARLIER = 15, 4  # so long a stride that most columns are needed
SCHEDULE = K, np.linspace(0.95, 0.05, T), np.linspace(0.02, 0.9, T)
INPUTS = ("float32", "float64", "float16", "classes inside")
WITH_FMA = [level for level in LEVELS if level != "x86-64"]


def inputs(kind):
    """Log-probabilities, classes, uniforms for every class, and for every pixel."""
    rng = np.random.default_rng(17)
    # In thousandths, so that machines whose NumPy rounds exp in another way have the same.
    log_p = np.round(random_log_p(rng, B, K, N, scale=6, dtype=np.float64) * 1024) / 1024
    classes = random_classes(rng, B, K, N)
    of_classes, of_pixels = rng.random((B, K + 1, N), dtype=np.float32), rng.random((B, N))
    if kind == "classes inside":
        log_p = views.turned(log_p.astype(np.float32))
    else:
        log_p = log_p.astype(kind)
    return log_p, classes, of_classes, of_pixels


def run(name, *arguments):
    """Calls the native function, `step` in several ways."""
    getattr(_native, "step" if "step" in name else name.split()[0])(*arguments)


def results(kind, num_threads, rows=slice(None), lay=lambda array: array):
    """Results by name: integers are tokens, the rest log-probabilities. Of these batch rows, with
    the inputs in the memory that `lay` copies them to."""
    log_p, x, of_classes, of_pixels = (lay(array[rows]) for array in inputs(kind))
    batch = len(x)
    wide = np.float64 if log_p.dtype == np.float64 else np.float32
    onehot = np.where(np.arange(K + 1)[:, None] == x[:, None], 0, np.log(1e-30))
    onehot, x_0 = lay(onehot.astype(wide)), lay(x % K)
    step = *SCHEDULE, T_NOW, T_EARLIER
    guided = log_p[:, ::-1], 3.0, 0.86, -70.0
    cdf = log_p, x, "inverse_cdf", of_pixels
    known = lay(np.where(of_pixels < 0.5, x % K, -1))

    def empty(count):
        return np.empty((batch, count, N), wide)

    def grid(dtype=np.int64):
        return np.empty((batch, N), dtype)

    none = 0.0, None  # remask and unmask
    levels, per_row = np.array([2, 9, T_NOW, 5])[rows], np.empty(batch)  # t of each row
    weights = 0.7, 1.0, 0.01, True, None, of_pixels, np.empty(1)  # the last is the result
    order = lay(of_pixels[:, ::-1].copy())
    margin = 3, 0, 0.0, 0.5, 0.0, None, None, order, grid(bool), grid(float)
    seeds = np.arange(B, dtype=np.uint64)[rows] + 7, levels
    calls = {
        "q_posterior": (*step, log_p, x, empty(K + 1)),
        "log_transition_rows": (*SCHEDULE, T_NOW, True, x, onehot, empty(K)),
        "apply_cumulative_transitions": (*SCHEDULE, T_NOW, log_p, empty(K + 1)),
        "step_gumbel": (*step, log_p, x, "gumbel", of_classes, grid(), None, None, *none),
        "step_inverse_cdf": (*step, *cdf, grid(), None, None, *none),
        "step_unmask": (*step, *cdf, grid(), None, None, 0.0, margin),
        "step_remask": (*step, *cdf, grid(), None, None, 0.1, None),
        "plan": (*step, x, of_pixels, grid(bool), None, *none),
        "add_noise": (*SCHEDULE, 2, x, np.arange(B)[rows] + 5, of_pixels, grid()),
        "row_uniforms": (5, *seeds, 2, grid(float)),
        "gumbel_noised": (log_p, of_classes[:, 1:], empty(K)),
        "token_scores": (log_p, of_pixels, 0.7, grid(), *(grid(wide) for _ in range(4))),
        "loss": (*SCHEDULE, log_p, x_0, x, levels, levels - 3, *weights, per_row, empty(K)),
        "guide": (log_p[:, ::-1], log_p, 3.0, empty(K)),
        "truncate": (log_p, 0.86, -70.0, empty(K), 0, 1.0),
        "truncate to 40": (log_p, 0.86, -70.0, empty(K), 40, 0.8),
        "guided_step_gumbel": (*step, log_p, x, "gumbel", of_classes, grid(), guided, known, *none),
        "guided_step_inverse_cdf": (*step, *cdf, grid(), guided, known, *none),
    }
    found = {}
    for name, arguments in calls.items():
        run(name, *arguments, num_threads)
        place = {"plan": -4, "truncate": -3, "truncate to 40": -3}
        found[name] = arguments[-5 if "step" in name else place.get(name, -1)]
    found["loss, per row"], found["loss, all rows"] = per_row, weights[-1]
    found["step_unmask, revealed"], found["step_unmask, scores"] = margin[-2:]
    for place, name in enumerate(("token", "probability", "entropy", "margin"), start=3):
        found[f"token_scores, {name}"] = calls["token_scores"][place]
    for name, noise in (("gumbel", of_classes[:, :-1]), ("inverse_cdf", of_pixels)):
        clean = found[f"step_{name} at 0"] = grid()
        _native.step(
            *SCHEDULE, 0, -1, log_p, None, name, noise, clean, None, None, *none, num_threads
        )
    needed = found["plan"]
    completed = grid()
    columns = log_p.transpose(0, 2, 1)[needed].T
    _native.step(
        *step, columns, x, "inverse_cdf", of_pixels, completed, None, None, *none, num_threads
    )
    found["complete_inverse_cdf"] = completed
    return found


@cache
def of_process(level, num_threads, python=sys.executable):
    """The results for all kinds of input, named KIND/NAME, of another Python at this CPU level."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "results.npz")
        run = subprocess.run(
            [python, __file__, str(path), str(num_threads)],
            env=os.environ | {"VQDIFFUSION_CPU": level}, capture_output=True, text=True,
        )  # fmt: skip
        assert (run.returncode, run.stdout, run.stderr) == (0, f"{level}\n", "")
        with np.load(path) as file:
            return dict(file)


if __name__ == "__main__":
    np.savez(
        sys.argv[1],
        **{
            f"{kind}/{name}": v
            for kind in INPUTS
            for name, v in results(kind, int(sys.argv[2])).items()
        },
    )
    print(_native.cpu)
