"""Results of every kernel on input large enough for threads, for comparing CPU levels and numbers
of threads.

As a script it writes them to the .npz file that is its first argument, computed on as many threads
as the second says.
"""

import sys

import numpy as np
import views
from reference import random_classes, random_log_p

from vqdiffusion import _native

K, T, B, N = (
    131,
    20,
    3,
    1100,
)  # B * K * N is three times what makes threads worth while, with ragged ends
T_NOW, T_EARLIER = 15, 4  # so long a stride that most columns are needed
SCHEDULE = K, np.linspace(0.95, 0.05, T), np.linspace(0.02, 0.9, T)
INPUTS = ("float32", "float64", "float16", "classes inside")


def inputs(kind):
    """Log-probabilities, classes, uniforms for every class, and for every pixel."""
    rng = np.random.default_rng(17)
    log_p = random_log_p(rng, B, K, N, scale=6, dtype=np.float64)
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


def results(kind, num_threads):
    """Results by name: integers are tokens, the rest log-probabilities."""
    log_p, x, of_classes, of_pixels = inputs(kind)
    wide = np.float64 if log_p.dtype == np.float64 else np.float32
    onehot = np.where(np.arange(K + 1)[:, None] == x[:, None], 0, np.log(1e-30)).astype(wide)
    step = *SCHEDULE, T_NOW, T_EARLIER
    guided = log_p[:, ::-1], 3.0, 0.86, -70.0
    cdf = log_p, x, "inverse_cdf", of_pixels
    known = np.where(of_pixels < 0.5, x % K, -1)

    def rows(count):
        return np.empty((B, count, N), wide)

    def grid(dtype=np.int64):
        return np.empty((B, N), dtype)

    none = 0.0, None  # remask and unmask
    levels, per_row = np.array([2, 9, T_NOW]), np.empty(B)  # t of each row
    weights = 0.7, 1.0, 0.01, True, None, of_pixels, np.empty(1)
    margin = 3, 0, 0.0, 0.5, 0.0, None, None, of_pixels[:, ::-1].copy(), grid(bool), grid(float)
    calls = {
        "q_posterior": (*step, log_p, x, rows(K + 1)),
        "log_transition_rows": (*SCHEDULE, T_NOW, True, x, onehot, rows(K)),
        "apply_cumulative_transitions": (*SCHEDULE, T_NOW, log_p, rows(K + 1)),
        "step_gumbel": (*step, log_p, x, "gumbel", of_classes, grid(), None, None, *none),
        "step_inverse_cdf": (*step, *cdf, grid(), None, None, *none),
        "step_unmask": (*step, *cdf, grid(), None, None, 0.0, margin),
        "step_remask": (*step, *cdf, grid(), None, None, 0.1, None),
        "plan": (*step, x, of_pixels, grid(bool), None, *none),
        "add_noise": (*SCHEDULE, 2, x, np.arange(B) + 5, of_pixels, grid()),
        "gumbel_noised": (log_p, of_classes[:, 1:], rows(K)),
        "token_scores": (log_p, of_pixels, 0.7, grid(), *(grid(wide) for _ in range(4))),
        "loss": (*SCHEDULE, log_p, x % K, x, levels, levels - 3, *weights, per_row, rows(K)),
        "guide": (log_p[:, ::-1], log_p, 3.0, rows(K)),
        "truncate": (log_p, 0.86, -70.0, rows(K), 0, 1.0),
        "truncate to 40": (log_p, 0.86, -70.0, rows(K), 40, 0.8),
        "guided_step_gumbel": (*step, log_p, x, "gumbel", of_classes, grid(), guided, known, *none),
        "guided_step_inverse_cdf": (*step, *cdf, grid(), guided, known, *none),
    }
    found = {}
    for name, arguments in calls.items():
        run(name, *arguments, num_threads)
        place = {"plan": -4, "truncate": -3, "truncate to 40": -3}
        found[name] = arguments[-5 if "step" in name else place.get(name, -1)]
    found["loss, per row"] = per_row
    found["token_scores, entropy"] = calls["token_scores"][-3]
    found["step_unmask, revealed"] = margin[-2]
    found["token_scores, token"] = calls["token_scores"][3]
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
