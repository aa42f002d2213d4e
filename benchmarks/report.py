"""The results in Markdown."""

from math import prod

from floors import find, floors
from memory import UNCERTAIN
from timing import MEBIBYTES_WRITTEN

CONTESTANTS = {
    "eager": "diffusers",
    "compiled": "`torch.compile`",
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
        f"{m['processor']}, {m['cores']} cores, level {m['level']}; Python {m['python']}, "
        f"NumPy {m['numpy']}, torch {m['torch']} ({m['threads']} threads), "
        f"diffusers {m['diffusers']}, vqdiffusion {m['vqdiffusion']}. "
        f"`{policy}{results['command']}`, {results['date']}."
    )


def checks(row):
    """Every check of the row, alike ones once."""
    says = {}
    for name, check in row["checks"].items():
        text = check["says"] if check["holds"] else f"**{check['says']}**"
        says.setdefault(text, []).append(name)
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in says.items())


def floor_table(results):
    rows = []
    for row in floors(results):
        least = row["interface"] + row["traffic"]
        cells = row["megabytes"], row["traffic"], row["interface"], least, row["ours"]
        rows.append([row["call"], *map(number, cells), f"{number(row['ours'] / least)}×"])
    head = ["call", "MB to move", "ms to move them", "ms of torch's own calls"]
    return table([*head, "both: the least", "ours, ms", "ours / the least"], rows)


def contest(rows, first_columns, ours, peers):
    """Times, and for ours in brackets how many times faster than diffusers and the compiled
    rewrite."""
    names = [name for name in peers if any(name in row["times"] for row in rows)]
    body = []
    for row in rows:
        times = {name: value["ms"] for name, value in row["times"].items()}
        cells = [number(times.get(name)) for name in names]
        for name in ours:
            ratios = [
                f"{number(times[peer] / times[name])}×"
                for peer in ("eager", "compiled")
                if peer in times
            ]
            cells.append(f"{number(times[name])} ({', '.join(ratios)})")
        body.append([first(row) for first in first_columns.values()] + cells + [checks(row)])
    return table(
        [*first_columns, *(CONTESTANTS[name] for name in [*names, *ours]), "check of this run"],
        body,
    )


PLACE = {"B × (K + 1) × N": lambda row: place(row["shape"]), "classes": lambda row: row["layout"]}
WITH_T = PLACE | {"t": lambda row: row["t"]}
PEERS = ["eager", "compiled", "numpy", "sum"]
OURS = {"gumbel": "steps", "inverse": "steps", "q_posterior": "posteriors"}


def bytes_per_second(results):
    rows = []
    first = results["steps"][0]["shape"]
    size = 4 * first[0] * (first[1] - 1) * first[2]
    for point in results["scaling"].get("threads", []):
        memory = results["bandwidth"][str(point["at"])]
        for name, moved in {"sum": 1, "gumbel": 1, "q_posterior": 2}.items():
            speed = moved * size / (1e-3 * point["times"][name]["ms"])
            rows.append(
                [
                    point["at"],
                    CONTESTANTS[name],
                    number(speed / 1e9),
                    f"{100 * speed / memory:.0f} %",
                ]
            )
    return table(["threads", "", "GB/s read and written", "of the memory's bandwidth"], rows)


def memory_table(results):
    def megabytes(value):
        return (
            ""
            if value is None
            else f"< {UNCERTAIN / 1e6}"
            if value < UNCERTAIN
            else number(value / 1e6)
        )

    return table(
        ["call", "MB beside its arguments"],
        [[name, megabytes(value)] for name, value in results["memory"].items()],
    )


def least_gains(results):
    """(times faster, ours, peer, row), the least of each of our calls against each peer."""
    for name, kind in OURS.items():
        for peer in PEERS[:-1]:
            rows = [row for row in results[kind] if peer in row["times"]]
            gains = [row["times"][peer]["ms"] / row["times"][name]["ms"] for row in rows]
            if gains:
                yield min(gains), name, peer, rows[gains.index(min(gains))]


def losses(results):
    lines = []
    for gain, name, peer, row in least_gains(results):
        slower = " (slower)" if gain < 1 else ""
        where = f"{place(row['shape'])}, classes {row['layout']}, t = {row['t']}"
        what = f"{CONTESTANTS[name]} against {CONTESTANTS[peer]}"
        lines.append(f"- {what}, at worst {number(gain)}×{slower}: {where}.")
    return "\n".join(lines)


def spinning(results):
    names = CONTESTANTS | {"inverse, inner": "inverse_cdf, classes inner", "guided": "guided step"}
    one, two = (results["spinning"][threads] for threads in "12")
    body = [
        [
            names.get(name, name),
            number(one[name]["ms"]) if name in one else "",
            number(two[name]["ms"]),
        ]
        for name in two
    ]
    return table(
        [
            "right after torch, its threads spinning, t = 50",
            "ms, one thread of ours",
            "two; or torch's",
        ],
        body,
    )


def small_table(results):
    names = CONTESTANTS | {
        "gumbel": "drop-in, gumbel",
        "inverse": "drop-in, inverse_cdf",
        "numpy": "plain NumPy",
    }
    rows = [
        [
            names.get(name, name),
            number(1e3 * results["small"]["alone"][name]["ms"]),
            number(1e3 * time["ms"]),
        ]
        for name, time in results["small"]["times"].items()
        if name != "sum"
    ]
    return (
        table(["`step`, 1 × 19 × 64, t = 50", "µs, one call after the other", "by turns"], rows)
        + f"\n\nChecks: {checks(results['small'])}."
    )


def curves(results):
    parts = []
    for axis, points in results["scaling"].items():
        names = list(points[0]["times"])
        body = [
            [
                point["at"],
                place(point["shape"]),
                *(number(point["times"][name]["ms"]) for name in names),
                checks(point),
            ]
            for point in points
        ]
        head = [
            axis,
            "shape",
            *(CONTESTANTS.get(name, name) for name in names),
            "check of this run",
        ]
        parts.append(f"### Along {axis}\n\n{table(head, body)}")
    return "\n\n".join(parts)


def everything(results):
    """benchmarks/results.md."""
    compilation = [
        [place(row["shape"]), row["layout"], number(row["seconds"])]
        for row in results["compilation"]
    ]
    bandwidths = ", ".join(
        f"{number(value / 1e9)} GB/s on {threads}"
        for threads, value in results["bandwidth"].items()
    )
    first = place(results["steps"][0]["shape"])
    return f"""# Results

Written by `make bench`. {machine(results)}

Medians of calls by turns in one process, in milliseconds; in brackets how many times faster than
diffusers' class and than the compiled rewrite. Before each call {MEBIBYTES_WRITTEN} MiB are
written, so that all find the caches as a large network leaves them. `torch.compile` is the closed
form of `benchmarks/peers.py` compiled, with noise of `torch.rand`; NumPy is the same in NumPy.
`torch.sum` is `torch.sum(model_output, dim=1)`, one read of the input. Random generators
are seeded anew for every call.

## What a call must cost

At {first}, t = 50. The least is an estimate: torch's own calls behind the same interface (the
memory of the result, its object, and of the generator its state or the uniforms), and the bytes
at the bandwidth below, with arithmetic that costs nothing. Gumbel-max has to read the model output,
inverse_cdf the lines of memory that hold a needed column, the guided step both outputs;
`q_posterior` reads the model output and writes as much.

{floor_table(results)}

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

As they do for some milliseconds after an operation unless `OMP_WAIT_POLICY` asks them to sleep, at
{first}:

{spinning(results)}

## Small calls

Nothing is written before these calls: each finds the caches as the one before has left them.

{small_table(results)}

## Memory

Largest resident set during the call less that before it, at {first}, a process for each:

{memory_table(results)}

## Bytes per second

`torch.sum` over a contiguous array larger than the cores' caches reads {bandwidths} threads.
Counted is what a step has to move: its input once, for `q_posterior` its output too. `q_posterior`
reads its input twice, the second time partly from the caches; inverse_cdf reads only the columns
that it needs, so it has no figure here.

{bytes_per_second(results)}

## Scaling, at t = 50

{curves(results)}
"""


def readme(results):
    """The table of README.md and the sentence under it."""
    first = results["steps"][0]["shape"]
    small = min((row["shape"] for row in results["steps"]), key=prod)
    rows = [
        ("`step`, gumbel: diffusers' tokens", "steps", "gumbel", "outer", first),
        ("`step`, inverse_cdf", "steps", "inverse", "outer", first),
        ("… classes inner in memory", "steps", "inverse", "inner", first),
        ("`q_posterior`", "posteriors", "q_posterior", "outer", first),
        ("guidance, truncation and `step`, gumbel", "guided", "gumbel", "outer", first),
        (f"`step`, gumbel, at {place(small)}", "steps", "gumbel", "outer", small),
    ]
    body = []
    for what, kind, name, layout, shape in rows:
        times = {n: t["ms"] for n, t in find(results, kind, layout, shape)["times"].items()}
        cells = [number(times.get(each)) for each in ("eager", "compiled", name)]
        body.append(
            [what, *cells, f"{number(times['eager'] / times[name])}×", number(times["sum"])]
        )
    head = ["ms", "diffusers", "`torch.compile`", "ours", "diffusers / ours", "`torch.sum`"]
    return f"{table(head, body)}\n\n{machine(results)}\n\n{where_it_loses(results)}"


def where_it_loses(results):
    """One sentence, from every row of the run."""
    worst = {}
    for gain, name, peer, row in least_gains(results):
        worst[peer] = min(worst.get(peer, (gain, name, row)), (gain, name, row), key=lambda w: w[0])
    parts = []
    for peer, (gain, name, row) in sorted(worst.items(), key=lambda one: one[1][0]):
        times = number(row["times"][name]["ms"]), number(row["times"][peer]["ms"])
        verdict = (
            f"loses to {CONTESTANTS[peer]}" if gain < 1 else f"gains least on {CONTESTANTS[peer]}"
        )
        where = (
            f"{CONTESTANTS[name]}, {place(row['shape'])}, classes {row['layout']}, t = {row['t']}"
        )
        parts.append(f"{verdict} at {where} ({times[0]} ms against {times[1]})")
    return f"It {'; it '.join(parts)}."
