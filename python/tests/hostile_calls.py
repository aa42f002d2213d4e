"""Calls the NumPy classes with arguments that lie, and prints how many calls returned and how many
raised. What returns is right: what the same call returns for the plain values that the arguments
have handed out. After an exception no generator has moved. The arguments are the seed, the number
of calls, and the seconds after which no more are made.
"""

import copy
import faulthandler
import itertools
import math
import sys
import time
import warnings

import numpy as np
from hostile_values import (
    LIARS,
    SAID,
    LyingSequence,
    hostile_array,
    hostile_generator,
    hostile_number,
    truths,
)

import vqdiffusion
from vqdiffusion import RowKeys, StepPlan, TimestepSampler, Unmask, VQDiffusionScheduler

BATCH, CLASSES, PIXELS, T = 2, 5, 7, 10
SCHEDULERS = {
    method: VQDiffusionScheduler(CLASSES + 1, T, sampling_method=method)
    for method in ("inverse_cdf", "gumbel")
}
# What the package raises; other exceptions are those of the arguments themselves.
EXPECTED = TypeError, ValueError


def planned(scheduler, model_output, timestep, sample, generator, known, remask):
    plan = scheduler.plan(timestep, sample, generator, known=known, remask=remask)
    return scheduler.step(model_output, timestep, sample, plan=plan)


def revealed(scheduler, model_output, timestep, sample, generator, count, temperature):
    unmask = Unmask(by="entropy", count=count, temperature=temperature)
    return scheduler.step(model_output, timestep, sample, generator, unmask=unmask)


def keyed(scheduler, model_output, timestep, sample, ids):
    return scheduler.step(model_output, timestep, sample, RowKeys(3, ids))


def strided(scheduler, timesteps):
    made = VQDiffusionScheduler(CLASSES + 1, T)
    made.set_timesteps(timesteps=timesteps)
    return made.timesteps


def tabled(scheduler, alphas_cumprod, gammas_cumprod):
    made = VQDiffusionScheduler(
        CLASSES + 1, T, alphas_cumprod=alphas_cumprod, gammas_cumprod=gammas_cumprod
    )
    return made.sample_prior((1, 3), 1)


def bound(scheduler, model_output, x_0, generator):
    """The model answers with the hostile object itself."""
    return scheduler.likelihood_bound(lambda *_: model_output, x_0, generator)


def sampled(scheduler, timesteps, terms):
    sampler = TimestepSampler(T)
    sampler.update(timesteps, terms)
    return sampler.probabilities()


def of_module(name):
    def call(scheduler, **named):
        return getattr(vqdiffusion, name)(**named)

    call.__name__ = name
    return call


def of_class(name):
    def call(scheduler, **named):
        return getattr(scheduler, name)(**named)

    call.__name__ = name
    return call


def every_call(rng):
    """Pairs of a function and its good arguments, small enough to be drawn anew for each call."""
    log_p = np.log(rng.dirichlet(np.ones(CLASSES), (BATCH, PIXELS))).transpose(0, 2, 1)
    log_p = log_p.astype(rng.choice(["f4", "f8", "f2"]))
    x = rng.integers(0, CLASSES + 1, (BATCH, PIXELS), dtype=rng.choice(["i8", "i4", "u1", "i2"]))
    clean, t = np.minimum(x, CLASSES - 1), int(rng.integers(0, T))
    ts, known = rng.integers(1, T, BATCH), np.where(clean > 2, clean.astype(np.int64), -1)
    one_step = {"model_output": log_p, "timestep": t, "sample": x}
    seed = {"generator": np.random.default_rng(int(rng.integers(99)))}
    yield of_class("step"), one_step | seed | {"known": known, "previous_timestep": t - 1}
    yield of_class("step"), one_step | seed | {"check_finite": True, "remask": 0.0}
    yield of_class("plan"), {"timestep": t, "sample": x, "known": known} | seed
    yield planned, one_step | seed | {"known": known, "remask": 0.0}
    yield revealed, one_step | seed | {"count": 3, "temperature": 0.5}
    yield keyed, one_step | {"ids": np.arange(BATCH) + 5}
    both = {"log_p_uncond": log_p, "log_p_cond": log_p[..., ::-1].copy(), "timestep": t}
    options = {"guidance_scale": 2.0, "truncation_rate": 0.8, "floor": -70.0, "top_k": 3}
    yield of_class("guided_step"), both | {"sample": x} | options | seed
    yield of_class("q_posterior"), {"log_p_x_0": log_p, "x_t": x, "t": t}
    yield of_class("add_noise"), {"original_samples": clean, "timesteps": ts} | seed
    yield of_class("sample_prior"), {"shape": np.array([2, 3])} | seed
    yield of_class("apply_cumulative_transitions"), {"q": log_p, "t": t}
    rows = {"t": t, "x_t": x, "log_onehot_x_t": vqdiffusion.index_to_log_onehot(x, CLASSES + 1)}
    yield of_class("log_Q_t_transitioning_to_known_class"), rows | {"cumulative": True}
    weights = {"pixel_weights": np.ones((BATCH, PIXELS)), "mask_weight": 0.5}
    yield of_class("loss"), {"logits": log_p, "x_0": clean, "x_t": x, "timesteps": ts} | weights
    yield of_module("guide"), {"log_p_uncond": log_p, "log_p_cond": log_p, "scale": 1.5}
    yield of_module("truncate"), {"log_p": log_p, "rate": 0.7, "floor": -70.0, "temperature": 0.5}
    yield of_module("token_scores"), {"logits": log_p, "uniforms": rng.random((BATCH, PIXELS))}
    yield of_module("index_to_log_onehot"), {"x": x, "num_classes": CLASSES + 1}
    yield of_module("gumbel_noised"), {"logits": log_p.astype("f4")} | seed
    yield strided, {"timesteps": np.arange(T)[::-1].copy()}
    alphas, gammas = np.linspace(0.9, 0.1, T), np.linspace(0.01, 0.5, T)
    yield tabled, {"alphas_cumprod": alphas, "gammas_cumprod": gammas}
    yield bound, {"model_output": log_p, "x_0": clean} | seed
    yield sampled, {"timesteps": ts, "terms": np.ones(BATCH)}


def plain(result):
    """What a call has returned, to be compared."""
    if isinstance(result, StepPlan):
        result = result.needed, result.uniforms
    if hasattr(result, "to_tuple"):
        result = result.to_tuple()
    return list(map(np.asarray, result if isinstance(result, tuple) else (result,)))


def same(one, other):
    """But for the order of sums, which depends on the layout of the arrays."""
    if isinstance(one, Exception) or len(one) != len(other):
        return False
    for a, b in zip(one, other):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        few = 64 * np.finfo(a.dtype).eps if a.dtype.kind == "f" else 0
        if not (a == b).all() and not (few and np.allclose(a, b, few, few, equal_nan=True)):
            return False
    return True


def outcome(function, scheduler, named):
    try:
        return plain(function(scheduler, **named))
    except Exception as error:
        return error


def with_lies(rng, named):
    """`named` with one or two hostile arguments, and what others that these change were before."""
    named, others = copy.deepcopy(named), {}
    names = list(rng.permutation(list(named))[: rng.integers(1, 3)])
    arrays = [key for key in named if type(named[key]) is np.ndarray and key not in names]
    for name in names:
        good, also = named[name], []
        if arrays and rng.random() < 0.2:  # asked for its value, it changes another argument
            other = arrays[rng.integers(len(arrays))]
            others[other] = [named[other].copy()]
            also.append(lambda array=named[other]: array.fill(77))
        if isinstance(good, np.random.Generator):
            named[name] = hostile_generator(rng)
        elif isinstance(good, np.ndarray):
            named[name] = hostile_array(rng, good, also)
        else:
            named[name] = hostile_number(rng, good, also)
    return named, others


def described(function, method, named):
    """The call, without a question to its arguments."""
    kinds = ", ".join(f"{name}: {type(value).__name__}" for name, value in named.items())
    return f"{function.__name__} ({method}) of {kinds}"


def check(function, method, named, before, others, result):
    """Raises AssertionError where the result is that of no plain values."""
    for value in named.values():
        # What NumPy makes of a sequence is a mixture of what that has said, and a model answers at
        # every step.
        if isinstance(value, LyingSequence) or len(getattr(value, "given", ())) > 4:
            return
    names, choices = list(named), []
    for name, value in named.items():
        if isinstance(value, LIARS):
            choices.append(truths(value))
        elif name in others:
            choices.append([*others[name], value])
        else:
            choices.append([before.get(name, value)])
    for values in itertools.product(*choices):
        honest = copy.deepcopy(dict(zip(names, values)))
        if same(outcome(function, SCHEDULERS[method], honest), result):
            return
    raise AssertionError(
        f"{described(function, method, named)} returned {result}, choices {choices}"
    )


def main(seed, calls, seconds=math.inf):
    rng = np.random.default_rng(seed)
    returned, raised = 0, {}
    end = time.monotonic() + seconds
    while returned + sum(raised.values()) < calls and time.monotonic() < end:
        for function, good in every_call(rng):
            method = ("inverse_cdf", "gumbel")[rng.integers(2)]
            named, others = with_lies(rng, good)
            generators = {
                name: copy.deepcopy(value)
                for name, value in named.items()
                if isinstance(value, np.random.Generator)
            }
            result = outcome(function, SCHEDULERS[method], named)
            if not isinstance(result, Exception):
                check(function, method, named, generators, others, result)
                returned += 1
                continue
            if not isinstance(result, EXPECTED) and SAID not in str(result):
                raise result
            raised[type(result).__name__] = raised.get(type(result).__name__, 0) + 1
            for name, generator in generators.items():
                state = named[name].bit_generator.state
                if state != generator.bit_generator.state and function is not planned:
                    raise AssertionError(f"{described(function, method, named)} moved {name}")
    print(returned, sum(raised.values()))
    return raised


if __name__ == "__main__":
    faulthandler.enable()
    warnings.simplefilter("ignore")
    kinds = main(*map(int, sys.argv[1:]))
    print(kinds, file=sys.stderr)
