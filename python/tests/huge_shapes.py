"""Run as a program: calls every function with tensors that have a huge axis and an empty one, and
fails where a call takes more than a second of CPU time. It says which call it begins, for whoever
has to stop it.
"""

import sys
import time

import numpy as np
from native_calls import FUNCTIONS, LISTS, OUTPUTS, arguments, call

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler, _native

HUGE = (2**31 + 1, 2**40, 2**50)
GRIDS = [grid for huge in HUGE for grid in ((huge, 0), (0, huge))]
K = 5


def plain(shape, dtype):
    return np.zeros(shape, dtype)


def repeated(shape, dtype):
    """Strides of 0 along every axis."""
    return np.broadcast_to(np.zeros((1,) * len(shape), dtype), shape)


class Table:
    """Runs calls, and counts them."""

    def __init__(self):
        self.count = 0
        self.slow = []

    def run(self, label, call, error=None):
        print(label, flush=True)
        start = time.process_time()
        try:
            call()
            raised = None
        except Exception as exception:
            raised = exception
        if time.process_time() - start > 1:
            self.slow.append(label)
        if (
            error is None
            and raised is not None
            or error is not None
            and not isinstance(raised, error)
        ):
            raise AssertionError(label) from raised
        self.count += 1

    def end(self):
        print(f"{self.count} cases, slow: {self.slow}", flush=True)
        sys.exit(bool(self.slow))


def reshaped(function, name, value, batch, pixels):
    """The shape of an argument for grids of another shape; None for what is no tensor."""
    if not isinstance(value, np.ndarray) or value.ndim < 2 and (function, name) not in LISTS:
        return None
    if function == "step_coefficients":  # it has no pixels
        return None
    if (function, name) in LISTS:
        return (batch,)
    if function == "complete_inverse_cdf" and name == "model_output":
        return (value.shape[0], 0)
    return batch, *value.shape[1:-1], pixels


def native(table):
    """All tensors of one shape, and then one of them alone, which the others do not go with."""
    for function in FUNCTIONS:
        named = arguments(function)
        tensors = [
            name
            for name, value in named.items()
            if reshaped(function, name, value, 0, 0) is not None
        ]
        # The loss has an entry for each row, however few pixels.
        if not tensors or function == "loss":
            continue
        for batch, pixels in GRIDS:
            for make in plain, repeated:
                for threads in 0, 1:
                    changed = dict(named)
                    for name in tensors:
                        shape = reshaped(function, name, named[name], batch, pixels)
                        kind = (
                            plain
                            if name in OUTPUTS[function]
                            else repeated
                            if (function, name) in LISTS
                            else make
                        )
                        changed[name] = kind(shape, named[name].dtype)
                    if "num_threads" in changed:
                        changed["num_threads"] = threads
                    label = f"_native.{function} {(batch, pixels)} {make.__name__} {threads}"
                    table.run(label, lambda: call(function, changed))
            if len(tensors) > 1:
                for name in tensors:
                    shape = reshaped(function, name, named[name], batch, pixels)
                    kind = repeated if (function, name) in LISTS else plain
                    one = named | {name: kind(shape, named[name].dtype)}
                    label = f"_native.{function} {name} {shape}"
                    table.run(label, lambda: call(function, one), (ValueError, MemoryError))


def any_axis(table):
    """Functions that take any number of classes, with every axis huge or empty."""
    huge, half = 2**50, 2**25
    shapes = [
        (huge, 0, 7),
        (7, 0, huge),
        (half, 0, half),
        (half, half, 0),
        (0, half, half),
        (3, huge, 0),
        (0, huge, 3),
    ]
    for shape in shapes:
        without_classes = shape[1] == 0
        for dtype in np.float16, np.float32, np.float64:
            out = np.zeros(shape, np.float64 if dtype == np.float64 else np.float32)
            for make in plain, repeated:
                x = make(shape, dtype)
                refused = ValueError if without_classes else None
                label = f"{shape} {dtype.__name__} {make.__name__}"
                table.run(f"guide {label}", lambda: _native.guide(x, x, 2.0, out), refused)
                table.run(
                    f"truncate {label}", lambda: _native.truncate(x, 0.5, -70.0, out), refused
                )
                table.run(f"check {label}", lambda: _native.check_model_output(x), refused)
                if dtype != np.float16:
                    noised = np.zeros(shape, dtype)
                    table.run(f"noised {label}", lambda: _native.gumbel_noised(x, x, noised))


def scheduler(table, numbers, integers, make_scheduler, kinds, guidance=vqdiffusion):
    """The methods of a scheduler class and the functions, on what `numbers` and `integers` make of
    a shape.
    """
    for method in "inverse_cdf", "gumbel":
        s = make_scheduler(method)
        for (batch, pixels), kind in ((grid, kind) for grid in GRIDS for kind in kinds):
            x, full = numbers((batch, K, pixels), kind), numbers((batch, K + 1, pixels), kind)
            grid = integers((batch, pixels), kind)
            label = f"{type(s).__module__} {method} {(batch, pixels)} {kind.__name__}"

            def run(name, call, label=label):
                table.run(f"{name} {label}", call)

            for t in 5, 0:
                run(f"step {t}", lambda: s.step(x, t, grid))
                run(f"guided_step {t}", lambda: s.guided_step(x, x, t, grid))
                run(
                    f"guided_step {t} alone",
                    lambda: s.guided_step(None, x, t, grid, truncation_rate=0.9),
                )
                if isinstance(x, np.ndarray):
                    run(f"known {t}", lambda: s.step(x, t, grid, known=grid))
                    run(f"known {t}", lambda: s.guided_step(x, x, t, grid, known=grid))
                if method == "inverse_cdf":
                    run(f"check_finite {t}", lambda: s.step(x, t, grid, check_finite=True))
                    run(f"plan {t}", lambda: s.step(x, t, grid, plan=s.plan(t, grid)))
                    columns = numbers((K, 0), kind)
                    run(f"planned {t}", lambda: s.step(columns, t, grid, plan=s.plan(t, grid)))
            if method == "gumbel":
                continue
            run("q_posterior", lambda: s.q_posterior(x, grid, 5))
            run("apply", lambda: s.apply_cumulative_transitions(x, 5))
            for cumulative in False, True:
                known = {"x_t": grid, "log_onehot_x_t": full, "cumulative": cumulative}
                run(
                    f"known {cumulative}",
                    lambda: s.log_Q_t_transitioning_to_known_class(t=5, **known),
                )
            if hasattr(s, "add_noise"):
                run("add_noise", lambda: s.add_noise(grid, 5))
                each = np.broadcast_to(np.int32(5), batch)
                run("add_noise, one t for each row", lambda: s.add_noise(grid, each))
            run("guide", lambda: guidance.guide(x, x, 2.0))
            run("truncate", lambda: guidance.truncate(x, 0.5))
            if isinstance(x, np.ndarray):
                run("onehot", lambda: vqdiffusion.index_to_log_onehot(grid, K))
                run("gumbel_noised", lambda: vqdiffusion.gumbel_noised(x, 1))


def main():
    table = Table()
    native(table)
    any_axis(table)
    scheduler(
        table,
        lambda shape, kind: kind(shape, np.float32),
        lambda shape, kind: kind(shape, np.int64),
        lambda method: VQDiffusionScheduler(K + 1, 10, sampling_method=method),
        (plain, repeated),
    )
    table.end()


if __name__ == "__main__":
    main()
