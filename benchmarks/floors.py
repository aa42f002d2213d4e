"""What a call must cost: torch's own calls behind the same interface, and the bytes it has to move
at the bandwidth measured in the same run, with arithmetic that costs nothing."""

# Call, its name among the times, memory layout.
CALLS = [
    ("step, gumbel", "gumbel", "outer"),
    ("step, inverse_cdf", "inverse", "outer"),
    ("step, inverse_cdf, classes inner", "inverse", "inner"),
    ("q_posterior", "q_posterior", "outer"),
    ("guided step, gumbel", "guided", "outer"),
]


def find(results, kind, layout, shape=None):
    """The row at t = 50 of that layout, and of the first shape where none is given."""
    shape = shape or results["steps"][0]["shape"]
    wanted = shape, layout, 50
    rows = results[kind]
    return next(row for row in rows if (row["shape"], row["layout"], row["t"]) == wanted)


def floors(results):
    """Rows of call, megabytes to move, and milliseconds: of torch's calls, of the traffic, of
    ours."""
    rows = []
    for call, name, layout in CALLS:
        step = find(results, "steps", layout)
        kind = {"q_posterior": "posteriors", "guided": "guided"}.get(name, "steps")
        row = find(results, kind, layout)
        key = "gumbel" if name == "guided" else name
        interface = (row if name == "q_posterior" else step)["times"][f"{key}_interface"]["ms"]
        moved = bytes_to_move(name, step)
        rows.append(
            {
                "call": call,
                "megabytes": moved / 1e6,
                "interface": interface,
                "traffic": 1e3 * moved / results["bandwidth"]["2"],
                "ours": row["times"][key]["ms"],
            }
        )
    return rows


def bytes_to_move(name, step):
    """Of a call; `step` is the row of `step` in the same layout.

    Gumbel-max reads the model output, inverse_cdf the lines of memory that hold a needed column,
    the guided step both outputs; `q_posterior` reads the model output and writes as much.
    """
    batch, embeddings, pixels = step["shape"]
    outputs = {"gumbel": 1, "inverse": step["share of lines"], "guided": 2, "q_posterior": 2}[name]
    return outputs * 4 * batch * (embeddings - 1) * pixels
