"""The results in Markdown."""

from memory import UNCERTAIN
from targets import judged
from timing import MEBIBYTES_WRITTEN

CONTESTANTS = {
    "eager": "diffusers",
    "compiled": "compiled",
    "numpy": "NumPy",
    "sum": "`torch.sum`",
    "gumbel": "gumbel",
    "inverse": "inverse_cdf",
    "q_posterior": "`q_posterior`",
}


def number(value):
    """Three digits."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.01 else f"{value:.4f}"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def place(shape):
    return " × ".join(map(str, shape))


def machine(results):
    m = results["machine"]
    policy = f"OMP_WAIT_POLICY={m['OMP_WAIT_POLICY']} " if m.get("OMP_WAIT_POLICY") else ""
    return (
        f"{m['processor']}, {m['cores']} cores, level {m['level']}; Python {m['python']}, NumPy {m['numpy']}, torch {m['torch']} "
        f"({m['threads']} threads), diffusers {m['diffusers']}, vqdiffusion {m['vqdiffusion']}. `{policy}{results['command']}`, {results['date']}."
    )


def checks(row):
    """Every check of the row, alike ones once."""
    says = {}
    for name, check in row["checks"].items():
        text = check["says"] if check["holds"] else f"**{check['says']}**"
        says.setdefault(text, []).append(name)
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in says.items())


def targets(results):
    def cell(figure, sign):
        target, measured, holds = figure["target"], figure["measured"], figure["holds"]
        if measured is None:
            return ""
        if target is None:
            return f"{number(measured)}×"
        bound = "at best" if sign == "≥" else "at least"
        verdict = "holds" if holds else "**does not hold**"
        return f"{number(measured)}× ({sign} {target}×: {verdict}; {bound} {number(figure['at best'])}×)"

    rows = []
    for row in judged(results):
        eager, compiled, read = row["figures"]
        rows.append(
            [row["what"], number(row["ms"]), cell(eager, "≥"), cell(compiled, "≥"), cell(read, "≤"), row["check"]["says"]]
        )
    head = ["t = 50", "ms", "faster than diffusers", "faster than compiled", "time of `torch.sum`", "check of this run"]
    return table(head, rows)


def contest(rows, first_columns, ours, peers):
    """Times, and for ours in brackets how many times faster than diffusers and the compiled rewrite."""
    names = [name for name in peers if any(name in row["times"] for row in rows)]
    body = []
    for row in rows:
        times = {name: value["ms"] for name, value in row["times"].items()}
        cells = [number(times.get(name)) for name in names]
        for name in ours:
            ratios = [f"{number(times[peer] / times[name])}×" for peer in ("eager", "compiled") if peer in times]
            cells.append(f"{number(times[name])} ({', '.join(ratios)})")
        body.append([first(row) for first in first_columns.values()] + cells + [checks(row)])
    return table([*first_columns, *(CONTESTANTS[name] for name in [*names, *ours]), "check of this run"], body)


PLACE = {"B × (K + 1) × N": lambda row: place(row["shape"]), "classes": lambda row: row["layout"]}
WITH_T = PLACE | {"t": lambda row: row["t"]}
PEERS = ["eager", "compiled", "numpy", "sum"]


def bytes_per_second(results):
    rows = []
    first = results["steps"][0]["shape"]
    size = 4 * first[0] * (first[1] - 1) * first[2]
    for point in results["scaling"].get("threads", []):
        memory = results["bandwidth"][str(point["at"])]
        for name, moved in {"sum": 1, "gumbel": 1, "q_posterior": 2}.items():
            speed = moved * size / (1e-3 * point["times"][name]["ms"])
            rows.append([point["at"], CONTESTANTS[name], number(speed / 1e9), f"{100 * speed / memory:.0f} %"])
    return table(["threads", "", "GB/s read and written", "of the memory's bandwidth"], rows)


def memory_table(results):
    def megabytes(value):
        return "" if value is None else f"< {UNCERTAIN / 1e6}" if value < UNCERTAIN else number(value / 1e6)

    return table(["call", "MB beside its arguments"], [[name, megabytes(value)] for name, value in results["memory"].items()])


def losses(results):
    """Where it wins little or loses, found in the results."""
    lines = []
    for name, kind in {"gumbel": "steps", "inverse": "steps", "q_posterior": "posteriors"}.items():
        for peer in "eager", "compiled", "numpy":
            rows = [row for row in results[kind] if peer in row["times"]]
            if rows:
                ratios = [(row["times"][peer]["ms"] / row["times"][name]["ms"], index) for index, row in enumerate(rows)]
                ratio, index = min(ratios)
                row = rows[index]
                lines.append(
                    f"- {CONTESTANTS[name]} against {CONTESTANTS[peer]}, at worst {number(ratio)}×"
                    f"{' (slower)' if ratio < 1 else ''}: {place(row['shape'])}, classes {row['layout']}, t = {row['t']}."
                )
    return "\n".join(lines)


AT_BEST = """*At best* (of times: *at least*) is an estimate of what is possible: torch's own calls (the memory of the result, its object,
and of the generator its state or the uniforms) and the traffic with the memory at the bandwidth measured in this run, with arithmetic that
costs nothing. To be moved are: for gumbel the model output, for inverse_cdf the lines of memory that hold a needed column, for
`q_posterior` the model output and as much to write, for the guided step both outputs."""


def spinning(results):
    names = CONTESTANTS | {"inverse, inner": "inverse_cdf, classes inner", "guided": "guided step"}
    one, two = (results["spinning"][threads] for threads in "12")
    body = [[names.get(name, name), number(one[name]["ms"]) if name in one else "", number(two[name]["ms"])] for name in two]
    return table(["right after torch, its threads spinning, t = 50", "ms, one thread of ours", "two; or torch's"], body)


def small_table(results):
    names = CONTESTANTS | {"gumbel": "drop-in, gumbel", "inverse": "drop-in, inverse_cdf", "numpy": "plain NumPy"}
    rows = [
        [names.get(name, name), number(1e3 * results["small"]["alone"][name]["ms"]), number(1e3 * time["ms"])]
        for name, time in results["small"]["times"].items()
        if name != "sum"
    ]
    return table(["`step`, 1 × 19 × 64, t = 50", "µs, one call after the other", "by turns"], rows) + f"\n\nChecks: {checks(results['small'])}."


def curves(results):
    parts = []
    for axis, points in results["scaling"].items():
        names = list(points[0]["times"])
        body = [
            [point["at"], place(point["shape"]), *(number(point["times"][name]["ms"]) for name in names), checks(point)]
            for point in points
        ]
        head = [axis, "shape", *(CONTESTANTS.get(name, name) for name in names), "check of this run"]
        parts.append(f"### Along {axis}\n\n{table(head, body)}")
    return "\n\n".join(parts)


def everything(results):
    """benchmarks/results.md."""
    compilation = [[place(row["shape"]), row["layout"], number(row["seconds"])] for row in results["compilation"]]
    bandwidths = ", ".join(f"{number(value / 1e9)} GB/s on {threads}" for threads, value in results["bandwidth"].items())
    return f"""# Results

Written by `make bench`. {machine(results)}

Medians of calls by turns in one process, in milliseconds; in brackets how many times faster than diffusers' class and than the compiled
rewrite. Before each call {MEBIBYTES_WRITTEN} MiB are written, so that all find the caches as a large network leaves them. *Compiled* is the closed form of `benchmarks/peers.py` under `torch.compile` with noise of `torch.rand`, *NumPy* the same in
NumPy. `torch.sum` is `torch.sum(model_output, dim=1)`, one read of the input. Random generators are seeded anew for every call.

## Targets

{targets(results)}

{AT_BEST}

All rows are compared with peers given classes outer, as pipelines hold them. The guided step is compared with guidance, truncation, clamp and step as diffusers' pipeline computes them.

## step

{contest(results["steps"], WITH_T, ["gumbel", "inverse"], PEERS)}

## q_posterior

{contest(results["posteriors"], WITH_T, ["q_posterior"], PEERS)}

## Guidance 5, truncation 0.86, clamp and step

{contest(results["guided"], WITH_T, ["gumbel", "inverse"], ["eager", "sum"])}

## Where it wins little, or loses

{losses(results)}

The compiled rewrite compiles first, for each shape and layout anew:

{table(["B × (K + 1) × N", "classes", "seconds"], compilation)}

## Where torch's threads spin

As they do for some milliseconds after an operation unless `OMP_WAIT_POLICY` asks them to sleep, at {place(results["steps"][0]["shape"])}:

{spinning(results)}

## Small calls

Nothing is written before these calls: each finds the caches as the one before has left them.

{small_table(results)}

## Memory

Largest resident set during the call less that before it, at {place(results["steps"][0]["shape"])}, a process for each:

{memory_table(results)}

## Bytes per second

`torch.sum` over a contiguous array larger than the cores' caches reads {bandwidths} threads. Counted is what a step has to
move: its input once, for `q_posterior` its output too. `q_posterior` reads its input twice, the second time partly from the caches; inverse_cdf reads only the columns that it needs, so it has no figure here.

{bytes_per_second(results)}

## Scaling, at t = 50

{curves(results)}
"""


def readme(results):
    """What stands between the markers of README.md."""
    rows = [row for row in results["steps"] if row["shape"] == results["steps"][0]["shape"]]
    shapes = [row for row in results["steps"] if row["layout"] == "outer" and row["t"] == 50 and row["shape"] != rows[0]["shape"]]
    return f"""Milliseconds for one `step` at {place(rows[0]["shape"])} (batch, K + 1, pixels: the published text-to-image model), float32, by turns with the
others in one process, with caches as a large network leaves them. {machine(results)}
*Compiled* is the same mathematics rewritten in closed form for `torch.compile`.

{targets(results)}

{AT_BEST}

Here the peers are given classes outer, as pipelines hold them, in every row; in the next table the layout of the row.

![Time of one step against the number of classes](docs/speed.svg)

{contest(rows, {"classes": PLACE["classes"], "t": WITH_T["t"]}, ["gumbel", "inverse"], PEERS)}

Other shapes at t = 50:

{contest(shapes, {"B × (K + 1) × N": PLACE["B × (K + 1) × N"]}, ["gumbel", "inverse"], PEERS)}

{memory_table(results)}

Where it wins little, or loses:

{losses(results)}

All figures, small calls, curves over K, N, B and threads, and the checks of each: [benchmarks/results.md](benchmarks/results.md)."""
