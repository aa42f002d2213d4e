"""The native module: one function for each function of vqdiffusion.h, over any object with the
buffer protocol.

Every function releases the GIL while it works, fills the arrays passed as outputs (C-contiguous,
writable, of exactly the stated shape and dtype) and returns None unless stated. Errors: ValueError,
TypeError or MemoryError with a sentence that names the argument, what was expected and what came;
no output has been written then.

Floating arrays are float16, float32, float64, or bfloat16 by its bits in an array of
numpy.dtype([("bfloat16", "u2")]).

`schedule` stands for the three leading arguments num_classes (K, without the mask),
alpha_cumulative and gamma_cumulative (float64, (T,)).
"""

from typing import Any

from typing_extensions import (
    Buffer,
)  # in every type checker; collections.abc has it from Python 3.12 on

cpu: str
"""The CPU level this module was compiled for, such as "x86-64-v3"."""

def version() -> str: ...
def supported_cpus() -> tuple[str, ...]:
    """CPU levels that this machine can run, lowest first."""

def alpha_schedules(
    num_timesteps: int, start: float, end: float, alpha: Buffer, alpha_cumulative: Buffer, /
) -> None: ...
def gamma_schedules(
    num_timesteps: int, start: float, end: float, gamma: Buffer, gamma_cumulative: Buffer, /
) -> None: ...
def schedule_check(
    num_classes: int, alpha_cumulative: Buffer, gamma_cumulative: Buffer, /
) -> None: ...
def schedule_logs(
    num_classes: int,
    alpha_cumulative: Buffer,
    gamma_cumulative: Buffer,
    log_alpha: Buffer,
    log_beta: Buffer,
    log_gamma: Buffer,
    log_alpha_cumulative: Buffer,
    log_beta_cumulative: Buffer,
    log_gamma_cumulative: Buffer,
    /,
) -> None: ...

step_coefficient_names: tuple[str, ...]
"""The columns of `step_coefficients`: the fields of vqd_coefficients in vqdiffusion.h."""

def step_coefficients(
    num_classes: int,
    alpha_cumulative: Buffer,
    gamma_cumulative: Buffer,
    timesteps: Buffer,
    previous_timesteps: Buffer,
    out: Buffer,
    remask: float = 0.0,
    /,
) -> None:
    """One row of `out` (float64, (M, len(step_coefficient_names))) for each step, from timesteps[m]
    to previous_timesteps[m] (contiguous int64, (M,)), -1 for clean data.
    """

def q_posterior(
    num_classes: int,
    alpha_cumulative: Buffer,
    gamma_cumulative: Buffer,
    t: int,
    s: int,
    log_p_x_0: Buffer,
    x_t: Buffer,
    out: Buffer,
    num_threads: int = 0,
    /,
) -> None: ...
def log_transition_rows(
    num_classes: int,
    alpha_cumulative: Buffer,
    gamma_cumulative: Buffer,
    t: int,
    cumulative: bool,
    x_t: Buffer,
    log_onehot_x_t: Buffer,
    out: Buffer,
    num_threads: int = 0,
    /,
) -> None: ...
def apply_cumulative_transitions(
    num_classes: int,
    alpha_cumulative: Buffer,
    gamma_cumulative: Buffer,
    t: int,
    q: Buffer,
    out: Buffer,
    num_threads: int = 0,
    /,
) -> None: ...
def index_to_log_onehot(
    x: Buffer, num_classes: int, out: Buffer, num_threads: int = 0, /
) -> None: ...
def step(
    num_classes: int,
    alpha_cumulative: Buffer,
    gamma_cumulative: Buffer,
    t: int,
    s: int,
    model_output: Buffer,
    sample: Buffer | None,
    method: str,
    noise: Any,
    prev_sample: Buffer,
    guidance: tuple[Buffer | None, float, float, float]
    | tuple[Buffer | None, float, float, float, int, float]
    | None = None,
    known: Buffer | None = None,
    remask: float = 0.0,
    unmask: tuple[Any, ...] | None = None,
    num_threads: int = 0,
    /,
) -> None:
    """`method` is "gumbel" or "inverse_cdf".

    `noise`, which errors call `uniforms`, is for "inverse_cdf" an array (B, N) of float64, and for
    "gumbel" one of: an array (B, K + 1, N), at t = 0 (B, K, N), of float32 or float64; a writable
    uint32 array (625,), the words of an MT19937 engine and how many of them have been given out
    since the last twist, or the uint8 array (5056,) that torch.Generator.get_state() gives on the
    CPU, advanced as torch.rand would; a numpy.random.BitGenerator, whose lock the caller must hold.

    `guidance` is (log_p_uncond, guidance_scale, truncation_rate, floor), perhaps with top_k (0 for
    any number) and temperature behind; errors then call `model_output` log_p_cond. `known` is of
    any integer type: the classes that pixels are given, and -1 for the others.

    `unmask` is (order, rule, bound, temperature, prior_weight, count, positions, order_uniforms,
    revealed, scores) of vqd_unmask; arrays may be None, the two results only together.
    """

def plan(
    num_classes: int,
    alpha_cumulative: Buffer,
    gamma_cumulative: Buffer,
    t: int,
    s: int,
    sample: Buffer | None,
    uniforms: Buffer,
    needed: Buffer,
    known: Buffer | None = None,
    remask: float = 0.0,
    unmask: tuple[Any, ...] | None = None,
    num_threads: int = 0,
    /,
) -> None: ...
def check_model_output(model_output: Buffer, num_threads: int = 0, /) -> None: ...
def add_noise(
    num_classes: int,
    alpha_cumulative: Buffer,
    gamma_cumulative: Buffer,
    from_timestep: int,
    original_samples: Buffer,
    timesteps: Buffer,
    uniforms: Buffer,
    out: Buffer,
    num_threads: int = 0,
    /,
) -> None: ...
def row_uniforms(
    seed: int,
    ids: Buffer,
    timesteps: Buffer,
    draw: int,
    out: Buffer,
    num_threads: int = 0,
    /,
) -> None: ...
def gumbel_noised(
    logits: Buffer, uniforms: Buffer, out: Buffer, num_threads: int = 0, /
) -> None: ...
def token_scores(
    logits: Buffer,
    uniforms: Buffer | None,
    temperature: float,
    token: Buffer,
    probability: Buffer,
    entropy: Buffer,
    margin: Buffer,
    logsumexp: Buffer,
    num_threads: int = 0,
    /,
) -> None: ...
def guide(
    log_p_uncond: Buffer, log_p_cond: Buffer, scale: float, out: Buffer, num_threads: int = 0, /
) -> None: ...
def truncate(
    log_p: Buffer,
    rate: float,
    floor: float,
    out: Buffer,
    top_k: int = 0,
    temperature: float = 1,
    num_threads: int = 0,
    /,
) -> None: ...
def loss(
    num_classes: int,
    alpha_cumulative: Buffer,
    gamma_cumulative: Buffer,
    logits: Buffer,
    x_0: Buffer,
    x_t: Buffer,
    timesteps: Buffer,
    previous_timesteps: Buffer,
    masked_weight: float,
    unmasked_weight: float,
    auxiliary_weight: float,
    adaptive_auxiliary: bool,
    probability: Buffer | None,
    pixel_weights: Buffer | None,
    loss: Buffer,
    per_row: Buffer,
    gradient: Buffer | None,
    num_threads: int = 0,
    /,
) -> None:
    """`loss` has one element; `gradient` any strides by which no two elements overlap."""
