"""The measurements, each a function that returns what goes into the JSON file."""

import time

import numpy as np
import torch

import vqdiffusion
from cases import LAYOUTS, Case
from contestants import Contestants
from memory import calls, extra_memory
from timing import by_turns


def checked(checks):
    return {name: {"holds": bool(holds), "says": says} for name, (holds, says) in checks.items()}


def share_of_lines(needed, layout):
    """Of the lines of memory of a model output in float32, how many hold an element of a needed
    pixel (mask (B, N))."""
    if layout == "inner":
        return float(needed.mean())
    padded = np.pad(needed, ((0, 0), (0, -needed.shape[1] % 16)))
    return float(padded.reshape(len(needed), -1, 16).any(axis=2).mean())


def steps_and_posteriors(shapes, timesteps, effort, first_effort, with_compile, log):
    """`step` at every shape, layout and timestep, and `q_posterior` and the guided step at t = 50.

    `effort` is for `by_turns`, and `first_effort` for the first shape at t = 50, which README.md
    shows.
    """
    steps, posteriors, guided, compilation = [], [], [], []
    for shape in shapes:
        case = Case(*shape)
        for layout in LAYOUTS:
            contestants = Contestants(case.embeddings, with_compile)
            log_p = case.model_output(layout)
            if with_compile:
                start = time.perf_counter()
                contestants.steps(log_p, 50, case.sample(50))["compiled"]()
                compilation.append(
                    {"shape": shape, "layout": layout, "seconds": time.perf_counter() - start}
                )
            for t in timesteps:
                sample = case.sample(t)
                row = {"shape": shape, "layout": layout, "t": t}
                functions = contestants.steps(log_p, t, sample)
                checks = contestants.check_steps(functions, case, layout, t, sample)
                often = effort | first_effort if shape == shapes[0] and t == 50 else effort
                if t == 50:
                    functions |= contestants.interfaces(log_p, sample)
                needed = contestants.inverse.plan(
                    t, sample, torch.Generator().manual_seed(0)
                ).needed
                share = share_of_lines(np.asarray(needed), layout)
                steps.append(
                    row
                    | {
                        "times": by_turns(functions, **often),
                        "share of lines": share,
                        "checks": checked(checks),
                    }
                )
                log(steps[-1])
                if t != 50:
                    continue
                functions = contestants.posteriors(log_p, t, sample)
                checks = contestants.check_posteriors(functions)
                functions["q_posterior_interface"] = contestants.posterior_interface(log_p, sample)
                posteriors.append(
                    row | {"times": by_turns(functions, **often), "checks": checked(checks)}
                )
                log(posteriors[-1])
                if layout == "outer":
                    uncond = case.unconditional()
                    functions = contestants.guided(uncond, log_p, t, sample)
                    checks = contestants.check_guided(functions, uncond, log_p, t, sample)
                    times = by_turns(functions, **({"least": 1} | often))
                    guided.append(row | {"times": times, "checks": checked(checks)})
                    log(guided[-1])
    return {"steps": steps, "posteriors": posteriors, "guided": guided, "compilation": compilation}


def scaling(variants, effort, with_compile, log):
    """At t = 50, along one axis at a time. {axis: [{"at": value, "times": …}]}; by name of axis a
    list of (value, shape)."""
    curves = {}
    for axis, points in variants.items():
        curves[axis] = []
        for value, shape in points:
            case = Case(*shape)
            contestants = Contestants(case.embeddings, with_compile and axis == "threads")
            threads = torch.get_num_threads()
            if axis == "threads":
                torch.set_num_threads(value)
                vqdiffusion.set_num_threads(value)
            sample = case.sample(50)
            functions = contestants.steps(case.outer, 50, sample, with_numpy=False)
            inner = contestants.steps(case.model_output("inner"), 50, sample, with_numpy=False)
            functions["inverse, inner"] = inner["inverse"]
            same = torch.equal(functions["eager"](), functions["gumbel"]())
            if axis == "threads":
                functions["q_posterior"] = contestants.posteriors(case.outer, 50, sample)[
                    "q_posterior"
                ]
                guided = contestants.guided(case.unconditional(), case.outer, 50, sample)
                functions["guided"] = guided["gumbel"]
            checks = checked(
                {"gumbel": (same, "tokens equal to diffusers'" if same else "tokens DIFFER")}
            )
            curves[axis].append(
                {
                    "at": value,
                    "shape": shape,
                    "times": by_turns(functions, **effort),
                    "checks": checks,
                }
            )
            log(curves[axis][-1] | {"layout": axis, "t": 50})
            torch.set_num_threads(threads)
            vqdiffusion.set_num_threads(None)
    return curves


def memory(shape, names=None):
    """Bytes beside the arguments of each call, or of those named, None where they cannot be
    told."""
    return {name: extra_memory(name, shape) for name in names or calls(Case(1, 66, 16))}


def small():
    """18 classes and the mask, 64 pixels: the class on NumPy arrays beside the drop-in and
    diffusers', in milliseconds.

    "times" are those by turns, where each call finds the caches as the others leave them; "alone"
    those of one call after another.
    """
    case = Case(1, 19, 64)
    contestants = Contestants(19)
    sample, rng = case.sample(50), np.random.default_rng(0)
    array, grid = case.outer.numpy(), sample.numpy()
    functions = contestants.steps(case.outer, 50, sample)
    for method in "inverse_cdf", "gumbel":
        scheduler = vqdiffusion.VQDiffusionScheduler(19, sampling_method=method)
        functions[f"NumPy class, {method}"] = lambda scheduler=scheduler: scheduler.step(
            array, 50, grid, rng
        )
    checks = contestants.check_steps(functions, case, "outer", 50, sample)
    scheduler, uniforms = (
        vqdiffusion.VQDiffusionScheduler(19),
        np.random.default_rng(5).random(grid.shape),
    )
    tokens = scheduler.step(array, 50, grid, np.random.default_rng(5)).prev_sample
    same = np.array_equal(tokens, contestants.truth.step_inverse_cdf(array, grid, 50, uniforms))
    checks["NumPy class"] = (
        same,
        "tokens equal to float64's" if same else "tokens DIFFER from float64's",
    )
    alone = {
        name: by_turns({name: function}, seconds=0.2, most=2000, written=0)[name]
        for name, function in functions.items()
    }
    return {
        "times": by_turns(functions, seconds=1, most=500, written=0),
        "alone": alone,
        "checks": checked(checks),
    }
