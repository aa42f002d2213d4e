"""A good call of every function of the native module, as named arguments in order, for tests to
break one of them. `step` has one for each way of drawing.
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
    "step_coefficients": ["out"],
    "q_posterior": ["out"],
    "log_transition_rows": ["out"],
    "apply_cumulative_transitions": ["out"],
    "index_to_log_onehot": ["out"],
    "step_gumbel": ["prev_sample"],
    "step_inverse_cdf": ["prev_sample"],
    "plan": ["needed"],
    "complete_inverse_cdf": ["prev_sample"],
    "check_model_output": [],
    "add_noise": ["out"],
    "row_uniforms": ["out"],
    "gumbel_noised": ["out"],
    "token_scores": ["token", "probability", "entropy", "margin", "logsumexp"],
    "guide": ["out"],
    "truncate": ["out"],
    "guided_step_gumbel": ["prev_sample"],
    "guided_step_inverse_cdf": ["prev_sample"],
    "loss": ["loss", "per_row", "gradient"],
}  # fmt: skip
FUNCTIONS = list(OUTPUTS)

SCHEDULE = "num_classes", "alpha_cumulative", "gamma_cumulative"
GUIDED = "log_p_uncond", "log_p_cond", "guidance_scale", "truncation_rate", "floor"
DRAWN = "sample", "uniforms", "prev_sample", "known", "num_threads"
# The names of the arguments of a step: those of the tuple `guidance` stand for themselves, and
# `noise` is called as in errors.
STEPS = {
    "step_gumbel": (*SCHEDULE, "t", "s", "model_output", *DRAWN),
    "step_inverse_cdf": (*SCHEDULE, "t", "s", "model_output", *DRAWN),
    "complete_inverse_cdf": (*SCHEDULE, "t", "s", "model_output", *DRAWN),
    "guided_step_gumbel": (*SCHEDULE, "t", "s", *GUIDED, *DRAWN),
    "guided_step_inverse_cdf": (*SCHEDULE, "t", "s", *GUIDED, *DRAWN),
}
STEP_PARAMETERS = tuple(inspect.signature(_native.step).parameters)


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
        "top_k": 3,
        "floor": -70.0,
        "model_output": log_p,
        "x_t": classes,
        "x": classes,
        "sample": classes,
        "from_timestep": 0,
        "original_samples": classes,
        "known": np.full((B, N), -1),
        "timesteps": rng.integers(0, T, size=B),
        "previous_timesteps": np.array([4, -1, 0]),
        "log_onehot_x_t": onehot,
        "prev_sample": junk(B, N, dtype=np.int64),
        "needed": junk(B, N, dtype=bool),
        "seed": 3,
        "ids": np.array([5, 8]),
        "draw": 2,
        "masked_weight": 1.5,
        "unmasked_weight": 1.0,
        "auxiliary_weight": 0.1,
        "adaptive_auxiliary": True,
        "probability": np.full(B, 0.25),
        "pixel_weights": rng.random((B, N)),
        "loss": junk(1, dtype=np.float64),
        "per_row": junk(B, dtype=np.float64),
        "gradient": junk(B, K, N),
        "temperature": 0.7,
        "token": junk(B, N, dtype=np.int64),
        "entropy": junk(B, N),
        "margin": junk(B, N),
        "logsumexp": junk(B, N),
        "num_threads": 1,
        "remask": 0.0,
        "unmask": None,
    }
    uniforms = {name: (B, K + 1, N) for name in ("step_gumbel", "guided_step_gumbel")}
    shape = {**uniforms, "gumbel_noised": (B, K, N)}.get(function, (B, N))
    values["uniforms"] = rng.random(shape)
    if (
        function == "complete_inverse_cdf"
    ):  # with every column needed, also where another class is shown
        values["uniforms"] = rng.uniform(0.97, 1, shape)
        values["model_output"] = log_p.transpose(1, 0, 2).reshape(K, B * N)
    if function == "step_coefficients":
        values["timesteps"] = np.array([6, 9, 1])
    if function == "token_scores":
        values["probability"] = junk(B, N)
    if function == "loss":
        values["x_0"] = classes % K
        values["timesteps"] = np.array([T - 1, 4])
        values["previous_timesteps"] = np.array([T - 3, -1])
    if function == "index_to_log_onehot":
        values["num_classes"] = K + 1
    if function in ("alpha_schedules", "gamma_schedules"):
        cumulative = function.replace("schedules", "cumulative")
        values[cumulative] = junk(T + 1, dtype=np.float64)
    values["out"] = {
        "step_coefficients": junk(3, len(_native.step_coefficient_names), dtype=np.float64),
        "q_posterior": junk(B, K + 1, N),
        "apply_cumulative_transitions": junk(B, K + 1, N),
        "index_to_log_onehot": junk(B, K + 1, N),
        "log_transition_rows": junk(B, K, N),
        "gumbel_noised": junk(B, K, N, dtype=np.float64),
        "add_noise": junk(B, N, dtype=np.int64),
        "row_uniforms": junk(B, N, dtype=np.float64),
        "guide": junk(B, K, N),
        "truncate": junk(B, K, N),
    }.get(function)
    names = STEPS.get(function) or inspect.signature(native(function)).parameters
    return {name: values[name] for name in names}


def native(function):
    """The function of the native module."""
    return getattr(_native, "step" if function in STEPS else function)


def positional(function, named):
    """The arguments as the function takes them."""
    if function not in STEPS:
        return list(named.values())
    of_step = named | {"method": "gumbel" if function.endswith("gumbel") else "inverse_cdf"}
    of_step |= {"noise": named["uniforms"], "guidance": None, "remask": 0.0, "unmask": None}
    if "log_p_cond" in named:
        uncond, of_step["model_output"], *numbers = (named[name] for name in GUIDED)
        of_step["guidance"] = (uncond, *numbers)
    return [of_step[name] for name in STEP_PARAMETERS]


def call(function, named):
    return native(function)(*positional(function, named))


def array_names(function):
    return [name for name, value in arguments(function).items() if isinstance(value, np.ndarray)]


EVERY_ARRAY = [(function, name) for function in FUNCTIONS for name in array_names(function)]
EVERY_OUTPUT = [(function, name) for function in FUNCTIONS for name in OUTPUTS[function]]
# Vectors of any strides, with an entry for each batch row.
LISTS = [("add_noise", "timesteps"), ("row_uniforms", "timesteps"), ("row_uniforms", "ids")]
LISTS += [("loss", name) for name in ("timesteps", "previous_timesteps", "probability", "per_row")]
OPTIONAL = [("loss", "probability"), ("loss", "pixel_weights"), ("loss", "gradient")]
OPTIONAL += [pair for pair in EVERY_ARRAY if pair[1] == "known"]
OPTIONAL += [("token_scores", "uniforms")]
EVERY_TENSOR = [pair for pair in EVERY_ARRAY if arguments(pair[0])[pair[1]].ndim > 1]
