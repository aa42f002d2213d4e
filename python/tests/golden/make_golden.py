"""Makes golden.npz: what the VQDiffusionScheduler of diffusers computes. Run with torch and
diffusers installed:

    python make_golden.py golden.npz

Names in the file: <case>/<what>, where a case is a set of arguments of the class, kept as JSON
under <case>/arguments.
"""

import json
import sys

import diffusers
import numpy as np
import torch
from diffusers.schedulers import scheduling_vq_diffusion as module

TABLES = ["log_at", "log_bt", "log_ct", "log_cumprod_at", "log_cumprod_bt", "log_cumprod_ct"]
CASES = {
    "small": ({"num_vec_classes": 18}, [0, 1, 2, 33, 98, 99]),
    "two": ({"num_vec_classes": 2}, [0, 1, 50, 99]),
    "large": ({"num_vec_classes": 1025}, [1, 60]),
    "short": ({"num_vec_classes": 4097, "num_train_timesteps": 2}, []),
    "long": ({"num_vec_classes": 18, "num_train_timesteps": 500}, []),
    "other": (
        {
            "num_vec_classes": 6,
            "num_train_timesteps": 50,
            "alpha_cum_start": 0.99,
            "alpha_cum_end": 0.05,
            "gamma_cum_start": 0.001,
            "gamma_cum_end": 0.8,
        },
        [0, 1, 25, 49],
    ),
}


def inputs(rng, classes):
    batch, pixels = (1, 3) if classes > 100 else (2, 6)
    logits = torch.tensor(rng.normal(size=(batch, classes, pixels)) * 4)
    log_p = torch.log_softmax(logits, dim=1).float().clamp(min=-70)
    x_t = rng.integers(0, classes + 1, (batch, pixels))
    x_t[0, :2] = classes, 0
    return log_p, torch.tensor(x_t)


def step(scheduler, rng, log_p, t, x_t):
    """The tokens, the uniforms behind them, and where the winner is so clear that float32 rounding
    cannot change it.
    """
    drawn, rand = [], torch.rand

    def recorded(shape, **kwargs):
        drawn.append(torch.tensor(rng.random(shape, dtype=np.float32)))
        return drawn[-1]

    torch.rand = recorded
    try:
        tokens = scheduler.step(log_p, t, x_t).prev_sample
    finally:
        torch.rand = rand
    (uniforms,) = drawn
    logits = log_p if t == 0 else scheduler.q_posterior(log_p, x_t, t)
    noised = logits - torch.log(-torch.log(uniforms + 1e-30) + 1e-30)
    if noised.shape[1] == 1:
        return tokens, uniforms, torch.ones_like(tokens, dtype=torch.bool)
    best = noised.topk(2, dim=1).values
    return tokens, uniforms, best[:, 0] - best[:, 1] > 1e-4


def main(path):
    rng = np.random.default_rng(11)
    out = {"diffusers_version": np.array(diffusers.__version__)}
    for case, (arguments, timesteps) in CASES.items():
        scheduler = module.VQDiffusionScheduler(**arguments)
        out[f"{case}/arguments"] = np.array(json.dumps(arguments))
        for name in TABLES:
            out[f"{case}/{name}"] = getattr(scheduler, name)
        log_p, x_t = inputs(rng, scheduler.mask_class)
        log_onehot = module.index_to_log_onehot(x_t, scheduler.num_embed)
        if timesteps:
            out |= {f"{case}/log_p": log_p, f"{case}/x_t": x_t}
        if case in ("small", "two"):
            out[f"{case}/index_to_log_onehot"] = log_onehot
            out[f"{case}/apply_cumulative_transitions/-1"] = scheduler.apply_cumulative_transitions(
                log_p, -1
            )
            steps = scheduler.config.num_train_timesteps
            out[f"{case}/alpha"], out[f"{case}/alpha_cumulative"] = module.alpha_schedules(steps)
            out[f"{case}/gamma"], out[f"{case}/gamma_cumulative"] = module.gamma_schedules(steps)
        for t in timesteps:
            out[f"{case}/q_posterior/{t}"] = scheduler.q_posterior(log_p, x_t, t)
            tokens, uniforms, clear = step(scheduler, rng, log_p, t, x_t)
            out |= {
                f"{case}/tokens/{t}": tokens,
                f"{case}/uniforms/{t}": uniforms,
                f"{case}/clear/{t}": clear,
            }
            if case == "large":
                continue
            out[f"{case}/apply_cumulative_transitions/{t}"] = (
                scheduler.apply_cumulative_transitions(log_p, t)
            )
            for kind, cumulative in (("single", False), ("cumulative", True)):
                out[f"{case}/rows_{kind}/{t}"] = scheduler.log_Q_t_transitioning_to_known_class(
                    t=t, x_t=x_t, log_onehot_x_t=log_onehot, cumulative=cumulative
                )
    np.savez_compressed(path, **{name: np.asarray(value) for name, value in out.items()})


if __name__ == "__main__":
    main(sys.argv[1])
