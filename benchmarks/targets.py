"""The targets: shape (1, 4097, 1024), t = 50, two cores, medians of one run."""

# What, layout, then at least so many times faster than eager and compiled, and at most so many times as long as torch.sum.
TARGETS = [
    ("gumbel, same tokens", "gumbel", "outer", 50, 18, 6),
    ("inverse_cdf, classes outer", "inverse", "outer", 500, 170, 0.6),
    ("inverse_cdf, classes inner", "inverse", "inner", 2500, 800, 0.15),
    ("q_posterior", "q_posterior", "outer", 25, 12, 8),
    ("guidance + truncation 0.86 + clamp + step, gumbel", "guided", "outer", 150, None, None),
]


def judged(results):
    """Rows of what, milliseconds, the three figures (target, measured, an estimate of the most that could be measured, whether
    the target holds), and the check of that run. Eager, compiled and torch.sum are timed with classes outer, as pipelines hold
    them."""
    first = results["steps"][0]["shape"]

    def find(kind, layout):
        return next(row for row in results[kind] if row["shape"] == first and row["layout"] == layout and row["t"] == 50)

    rows = []
    for what, name, layout, eager, compiled, read in TARGETS:
        kind = {"q_posterior": "posteriors", "guided": "guided"}.get(name, "steps")
        row, base = find(kind, layout), find(kind, "outer")["times"]
        key = "gumbel" if name == "guided" else name
        ours = row["times"][key]["ms"]
        times = (row if name == "q_posterior" else find("steps", layout))["times"]
        best = times[f"{key}_interface"]["ms"] + _traffic(name, find("steps", layout), results["bandwidth"]["2"])
        figures = []
        for peer, target in ("eager", eager), ("compiled", compiled):
            time = base[peer]["ms"] if peer in base else None
            faster, at_best = (time / ours, time / best) if time else (None, None)
            figures.append(_figure(target, faster, at_best, lambda measured, target: measured >= target))
        time = base["sum"]["ms"]
        figures.append(_figure(read, ours / time, best / time, lambda measured, target: measured <= target))
        rows.append({"what": what, "ms": ours, "at best": best, "figures": figures, "check": row["checks"][key]})
    return rows


def _traffic(name, step, bytes_per_second):
    """Milliseconds that the traffic with the memory takes; `step` is the row of `step` in the same layout. Torch's own calls and
    this traffic are an estimate of what is possible behind the same interface with arithmetic that costs nothing."""
    batch, embeddings, pixels = step["shape"]
    outputs = {"gumbel": 1, "inverse": step["share of lines"], "guided": 2, "q_posterior": 2}[name]
    return 1e3 * outputs * 4 * batch * (embeddings - 1) * pixels / bytes_per_second


def _figure(target, measured, at_best, holds):
    judged = target is not None and measured is not None
    return {"target": target, "measured": measured, "at best": at_best, "holds": holds(measured, target) if judged else None}
