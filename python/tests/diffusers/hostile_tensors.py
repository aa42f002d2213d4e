"""Calls the torch class and functions with tensors that are wrong in every way that torch can
express, and prints how many calls returned and how many raised. Nothing crashes, what is drawn are
classes, and after an exception no generator has moved. The arguments are the seed, the number of
calls, and the seconds after which no more are made.

Not here: tensors whose storage has been resized to nothing, which torch's own functions read.
"""

import faulthandler
import math
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # hostile_values.py

from hostile_values import ERRORS, SAID, Refused, hostile_array, hostile_number

from vqdiffusion import RowKeys, Unmask
from vqdiffusion.torch import VQDiffusionScheduler, guide, token_scores, truncate

K, T, B, N = 5, 10, 2, 7
SCHEDULERS = [VQDiffusionScheduler(K + 1, T, sampling_method=m) for m in ("inverse_cdf", "gumbel")]
# Torch raises these for tensors that it cannot compute with, the package for all else.
EXPECTED = TypeError, ValueError, RuntimeError, NotImplementedError, IndexError, OverflowError
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.bool]
DTYPES += [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8]
EXTREMES = [math.nan, math.inf, -math.inf, 0.0, 1.0, -1.0, 77.0, 3e38, -3e38]
TIMESTEPS = [-1, 0, T - 1, T, -2, 2**63, 10**400, 1.5, math.nan, True, None, "5", [3, 4], [3], []]


class LyingTensor(torch.Tensor):
    """Refuses to be used, whatever it is asked."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        raise Refused(SAID)


CHANGES = [
    lambda rng, x: x.to(DTYPES[rng.integers(len(DTYPES))]),
    lambda rng, x: x.to("meta"),
    lambda rng, x: x.clone().requires_grad_() if x.is_floating_point() else x[None],
    lambda rng, x: x.to_sparse(),
    lambda rng, x: x.transpose(0, -1),
    lambda rng, x: x.flip(-1),
    lambda rng, x: x[..., :1].expand(x.shape),
    lambda rng, x: x.as_strided(x.shape, (0,) * x.ndim),
    lambda rng, x: x[..., : rng.integers(x.shape[-1])],
    lambda rng, x: x[:0],
    lambda rng, x: torch.cat([x, x]),
    lambda rng, x: x.reshape(-1),
    lambda rng, x: x.sum(),
    lambda rng, x: torch.complex(torch.zeros(x.shape), -x.float()).conj().imag,
    lambda rng, x: x.masked_fill(torch.rand(x.shape) < 0.1, EXTREMES[rng.integers(9)]),
    lambda rng, x: torch.full_like(x, EXTREMES[rng.integers(9)]),
    lambda rng, x: torch.nested.as_nested_tensor([x[0], x[0][..., :2]]),
    lambda rng, x: x.as_subclass(LyingTensor),
    lambda rng, x: x.numpy(),
    lambda rng, x: x.tolist(),
    lambda rng, x: hostile_array(rng, x.numpy()),
    lambda rng, x: torch.stack([x, x], -1)[..., 0],
    lambda rng, x: None,
]


def hostile_tensor(rng, good):
    try:
        return CHANGES[rng.integers(len(CHANGES))](rng, good)
    except EXPECTED:
        return good  # torch has no such tensor


def hostile(rng, good):
    if isinstance(good, torch.Tensor):
        return hostile_tensor(rng, good)
    if isinstance(good, torch.Generator):
        others = [good, good], [good], [None, good], (good, good, good), 3, "x", object()
        return others[rng.integers(len(others))]
    if isinstance(good, int):
        if rng.random() < 0.3:
            return torch.tensor(3).to(DTYPES[rng.integers(len(DTYPES))])
        return TIMESTEPS[rng.integers(len(TIMESTEPS))]
    return hostile_number(rng, good)


def revealed(scheduler, **named):
    return scheduler.step(**named, unmask=Unmask(by="margin", count=3))


def keyed(scheduler, **named):
    return scheduler.step(**named, generator=RowKeys(3, [4, 5]))


def planned(scheduler, model_output, timestep, sample, generator):
    plan = scheduler.plan(timestep, sample, generator)
    return scheduler.step(model_output, timestep, sample, plan=plan)


def of_class(name):
    return lambda scheduler, **named: getattr(scheduler, name)(**named)


def of_module(function):
    return lambda scheduler, **named: function(**named)


def every_call(seed):
    """Triples: whether classes are drawn, a function, and its good arguments."""
    generator = torch.Generator().manual_seed(seed)
    log_p = torch.randn(B, K, N, generator=generator).log_softmax(1)
    x = torch.randint(0, K + 1, (B, N), generator=generator)
    clean, ts = x.clamp(max=K - 1), torch.randint(1, T, (B,), generator=generator)
    one = {"model_output": log_p, "timestep": 4, "sample": x}
    drawn = {"generator": generator}
    both = {"log_p_uncond": log_p, "log_p_cond": log_p.flip(1)}
    yield True, of_class("step"), one | drawn
    yield True, of_class("step"), one | drawn | {"known": clean - 2}
    yield True, revealed, one | drawn
    yield True, keyed, one
    yield True, planned, one | drawn
    guided = {"timestep": 4, "sample": x, "guidance_scale": 2.0, "truncation_rate": 0.8}
    yield True, of_class("guided_step"), both | guided | drawn
    yield True, of_class("add_noise"), {"original_samples": clean, "timesteps": ts} | drawn
    yield False, of_class("q_posterior"), {"log_p_x_0": log_p, "x_t": x, "t": 4}
    yield False, of_class("loss"), {"logits": log_p, "x_0": clean, "x_t": x, "timesteps": ts}
    yield False, of_module(guide), both | {"scale": 1.5}
    yield False, of_module(truncate), {"log_p": log_p, "rate": 0.8}
    uniforms = torch.rand(B, N, dtype=torch.float64, generator=generator)
    yield False, of_module(token_scores), {"logits": log_p, "uniforms": uniforms}


def check_drawn(result):
    tokens = getattr(result, "prev_sample", result)
    if isinstance(tokens, torch.Tensor) and tokens.device.type == "cpu" and tokens.numel():
        assert 0 <= tokens.min() and tokens.max() <= K, tokens


def main(seed, calls, seconds=math.inf):
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    returned = raised = 0
    end = time.monotonic() + seconds
    while returned + raised < calls and time.monotonic() < end:
        for draws, function, named in every_call(int(rng.integers(2**31))):
            named = dict(named)
            for name in rng.permutation(list(named))[: rng.integers(1, 3)]:
                named[name] = hostile(rng, named[name])
            scheduler = SCHEDULERS[rng.integers(2)]
            made = [g for g in named.values() if isinstance(g, torch.Generator)]
            states = [g.get_state() for g in made]
            try:
                result = function(scheduler, **named)
            except (*EXPECTED, *ERRORS) as error:
                raised += 1
                if isinstance(error, Refused) and SAID not in str(error):
                    raise
                for one, state in zip(made, states):
                    if function is not planned:
                        assert torch.equal(one.get_state(), state), (named, error)
            else:
                returned += 1
                if draws:
                    check_drawn(result)
    print(returned, raised)


if __name__ == "__main__":
    faulthandler.enable()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    main(*map(int, sys.argv[1:]))
