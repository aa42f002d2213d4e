"""What each kind of result depends on: the table of docs/reliability.md, a claim in each cell, of
which test_determinism.py is the proof. As a script it prints the table.
"""

from typing import NamedTuple

# A row of the table, and the results of level_results.py in it.
RESULTS = {
    "posterior": ["q_posterior"],
    "rows of transitions": ["log_transition_rows", "apply_cumulative_transitions"],
    "tokens, `inverse_cdf`": ["step_inverse_cdf", "step_inverse_cdf at 0", "complete_inverse_cdf"],
    "tokens, `gumbel`": ["step_gumbel", "step_gumbel at 0"],
    "Gumbel noise": ["gumbel_noised"],
    "guidance": ["guide"],
    "truncation": ["truncate", "truncate to 40"],
    "tokens of guided steps": ["guided_step_gumbel", "guided_step_inverse_cdf"],
    "scores": [
        "token_scores", "token_scores, token", "token_scores, probability",
        "token_scores, entropy", "token_scores, margin",
    ],
    "`unmask`": ["step_unmask", "step_unmask, revealed", "step_unmask, scores"],
    "`remask`": ["step_remask"],
    "loss": ["loss, per row", "loss, all rows"],
    "gradient": ["loss"],
    "`add_noise`": ["add_noise"],
    "`plan`": ["plan"],
    "`RowKeys`": ["row_uniforms"],
}  # fmt: skip

# A column, and what its heading says.
COLUMNS = {
    "threads": "threads: 1, 2, 3, 8, automatic",
    "batch": "rows one by one",
    "layout": "classes inner, strided, backwards",
    "alignment": "one element, one byte on",
    "levels": "x86-64-v3, -v4",
    "baseline": "x86-64",
    "aarch64": "aarch64",
}


class Within(NamedTuple):
    """How far results that are not equal may differ."""

    # Numbers computed in float32, and in float64: times 1 + |value|, of a gradient times the
    # largest + |value|.
    single: float = 0.0
    double: float = 0.0
    # At how many places of the test tokens may be others, or classes kept or not: near-ties, which
    # the last digits decide, about one token in a million.
    places: int = 0

    def __str__(self):
        numbers = f"{self.single:.0e}, {self.double:.0e}".replace("e-0", "e-")
        return "; ".join([numbers] * (self.single > 0) + ["near-ties"] * (self.places > 0))


NUMBERS = Within(5e-7, 2e-15)
TIES = Within(places=3)
# All other cells are claims of equality, bit for bit.
DIFFERENT = {
    # A column in neighbouring memory has another order of sums.
    ("posterior", "layout"): NUMBERS,
    ("tokens, `inverse_cdf`", "layout"): TIES,
    ("tokens, `gumbel`", "layout"): TIES,
    ("tokens of guided steps", "layout"): TIES,
    ("scores", "layout"): TIES,
    ("`unmask`", "layout"): TIES,
    ("`remask`", "layout"): TIES,
    # The baseline rounds a product before it is added.
    ("posterior", "baseline"): NUMBERS,
    ("rows of transitions", "baseline"): NUMBERS,
    ("tokens, `inverse_cdf`", "baseline"): TIES,
    ("tokens, `gumbel`", "baseline"): TIES,
    ("Gumbel noise", "baseline"): Within(5e-7, 5e-7),  # of float32 for any logits
    ("guidance", "baseline"): NUMBERS,
    ("truncation", "baseline"): Within(*NUMBERS[:2], places=3),
    ("tokens of guided steps", "baseline"): TIES,
    ("scores", "baseline"): Within(*NUMBERS[:2], places=3),
    ("`unmask`", "baseline"): Within(*NUMBERS[:2], places=3),
    ("`remask`", "baseline"): TIES,
    ("loss", "baseline"): NUMBERS,
    ("gradient", "baseline"): NUMBERS,
}


def table():
    """Markdown. The numbers are bounds of the relative difference in float32 and in float64;
    near-ties are tokens or kept classes that the last digits decide, about one in a million.
    """
    lines = [["", *COLUMNS.values()], ["---"] * (len(COLUMNS) + 1)]
    for row in RESULTS:
        lines.append([row, *(str(DIFFERENT.get((row, column), "equal")) for column in COLUMNS)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(table())
