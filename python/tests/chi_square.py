"""The statistical test of drawn classes."""

from math import erfc, exp, sqrt
from math import gamma as gamma_function

import numpy as np


def chi_square_p_value(counts, probabilities):
    """The probability of a chi-square statistic as large as that of the counts.

    Cells with few expected counts are pooled. A count where the probability is zero gives 0.
    """
    counts, probabilities = np.asarray(counts, float), np.asarray(probabilities, float)
    if counts[probabilities == 0].any():
        return 0.0
    expected = probabilities / probabilities.sum() * counts.sum()
    rare = expected < 10
    observed = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    if expected[-1] < 10:
        # Too few even when pooled: the last cell joins the smallest of the others.
        smallest = np.argmin(expected[:-1])
        observed[smallest] += observed[-1]
        expected[smallest] += expected[-1]
        observed, expected = observed[:-1], expected[:-1]
    return chi_square_tail(((observed - expected) ** 2 / expected).sum(), len(observed) - 1)


def chi_square_tail(statistic, freedom):
    """P(χ² > statistic), by the recurrence that raises the degrees of freedom by two."""
    if freedom == 0:
        return 1.0
    half = statistic / 2
    tail = erfc(sqrt(half)) if freedom % 2 else exp(-half)
    for d in range(2 - freedom % 2, freedom, 2):
        tail += exp(d / 2 * np.log(half) - half) / gamma_function(d / 2 + 1) if half > 0 else 0.0
    return min(tail, 1.0)
