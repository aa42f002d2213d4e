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
    """Rows of what, the three (target, measured, holds), and the check of that run. Eager, compiled and torch.sum are timed with
    classes outer, as pipelines hold them."""
    first = results["steps"][0]["shape"]

    def find(kind, layout):
        return next(row for row in results[kind] if row["shape"] == first and row["layout"] == layout and row["t"] == 50)

    rows = []
    for what, name, layout, eager, compiled, read in TARGETS:
        kind = {"q_posterior": "posteriors", "guided": "guided"}.get(name, "steps")
        row, base = find(kind, layout), find(kind, "outer")["times"]
        key = "gumbel" if name == "guided" else name
        ours = row["times"][key]["ms"]
        figures = []
        for peer, target in ("eager", eager), ("compiled", compiled):
            measured = base[peer]["ms"] / ours if peer in base else None
            figures.append(_figure(target, measured, measured is not None and target is not None and measured >= target))
        measured = ours / base["sum"]["ms"]
        figures.append(_figure(read, measured, read is not None and measured <= read))
        rows.append({"what": what, "ms": ours, "figures": figures, "check": row["checks"][key]})
    return rows


def _figure(target, measured, holds):
    return {"target": target, "measured": measured, "holds": holds if target is not None and measured is not None else None}
