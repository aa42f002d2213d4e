"""A good call of every function of the native module, as named arguments in order, for tests to
break one of them.
"""

import inspect

import numpy as np

from vqdiffusion import _native

K, T, B, N = 5, 10, 2, 7

OUTPUTS = {
    "alpha_schedules": ["alpha", "alpha_cumulative"],
    "gamma_schedules": ["gamma", "gamma_cumulative"],
    "schedule_check": [],
    "schedule_logs": [
        f"log_{rate}{suffix}"
        for suffix in ("", "_cumulative")
        for rate in ("alpha", "beta", "gamma")
    ],
    "transition": [],
    "q_posterior": ["out"],
    "log_transition_rows": ["out"],
    "apply_cumulative_transitions": ["out"],
    "index_to_log_onehot": ["out"],
    "step_gumbel": ["prev_sample"],
    "step_inverse_cdf": ["prev_sample"],
    "plan_inverse_cdf": ["needed"],
    "complete_inverse_cdf": ["prev_sample"],
    "check_model_output": [],
    "q_sample": ["out"],
    "gumbel_noised": ["out"],
    "guide": ["out"],
    "truncate": ["out"],
    "guided_step_gumbel": ["prev_sample"],
    "guided_step_inverse_cdf": ["prev_sample"],
}  # fmt: skip
FUNCTIONS = list(OUTPUTS)


def arguments(function, seed=0):
    """Named arguments of a call that works, in order. Outputs hold junk, so that a change shows."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(B, K, N))
    log_p = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)
    classes = rng.integers(0, K + 1, size=(B, N))
    onehot = np.where(np.arange(K + 1)[:, None] == classes[:, None, :], 0, np.log(1e-30)).astype(
        np.float32
    )

    def junk(*shape, dtype=np.float32):
        return np.full(shape, -7, dtype)

    values = {
        "num_classes": K,
        "alpha_cumulative": np.linspace(0.95, 0.05, T),
        "gamma_cumulative": np.linspace(0.02, 0.9, T),
        "num_timesteps": T,
        "start": 0.3,
        "end": 0.7,
        "alpha": junk(T, dtype=np.float64),
        "gamma": junk(T, dtype=np.float64),
        "log_alpha": junk(T, dtype=np.float64),
        "log_beta": junk(T, dtype=np.float64),
        "log_gamma": junk(T, dtype=np.float64),
        "log_alpha_cumulative": junk(T + 1, dtype=np.float64),
        "log_beta_cumulative": junk(T + 1, dtype=np.float64),
        "log_gamma_cumulative": junk(T + 1, dtype=np.float64),
        "t": 6,
        "s": 4,
        "cumulative": True,
        "log_p_x_0": log_p,
        "q": log_p,
        "logits": log_p,
        "log_p_uncond": log_p,
        "log_p_cond": log_p[:, ::-1].copy(),
        "scale": 1.5,
        "guidance_scale": 1.5,
        "truncation_rate": 0.8,
        "log_p": log_p,
        "rate": 0.8,
        "floor": -70.0,
        "model_output": log_p,
        "x_t": classes,
        "x": classes,
        "sample": classes,
        "x_0": classes,
        "timesteps": rng.integers(0, T, size=B),
        "log_onehot_x_t": onehot,
        "prev_sample": junk(B, N, dtype=np.int64),
        "needed": junk(B, N, dtype=bool),
        "num_threads": 1,
    }
    uniforms = {name: (B, K + 1, N) for name in ("step_gumbel", "guided_step_gumbel")}
    shape = {**uniforms, "gumbel_noised": (B, K, N)}.get(function, (B, N))
    values["uniforms"] = rng.random(shape)
    if (
        function == "complete_inverse_cdf"
    ):  # with every column needed, also where another class is shown
        values["uniforms"] = rng.uniform(0.97, 1, shape)
        values["model_output"] = log_p.transpose(1, 0, 2).reshape(K, B * N)
    if function == "index_to_log_onehot":
        values["num_classes"] = K + 1
    if function in ("alpha_schedules", "gamma_schedules"):
        cumulative = function.replace("schedules", "cumulative")
        values[cumulative] = junk(T + 1, dtype=np.float64)
    values["out"] = {
        "q_posterior": junk(B, K + 1, N),
        "apply_cumulative_transitions": junk(B, K + 1, N),
        "index_to_log_onehot": junk(B, K + 1, N),
        "log_transition_rows": junk(B, K, N),
        "gumbel_noised": junk(B, K, N, dtype=np.float64),
        "q_sample": junk(B, N, dtype=np.int64),
        "guide": junk(B, K, N),
        "truncate": junk(B, K, N),
    }.get(function)
    return {name: values[name] for name in inspect.signature(getattr(_native, function)).parameters}


def call(function, named):
    return getattr(_native, function)(*named.values())


def array_names(function):
    return [name for name, value in arguments(function).items() if isinstance(value, np.ndarray)]


EVERY_ARRAY = [(function, name) for function in FUNCTIONS for name in array_names(function)]
EVERY_OUTPUT = [(function, name) for function in FUNCTIONS for name in OUTPUTS[function]]
EVERY_TENSOR = [pair for pair in EVERY_ARRAY if arguments(pair[0])[pair[1]].ndim > 1]
