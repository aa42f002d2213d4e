"""Draws noise schedules, and what becomes of a pixel under each. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .named_schedules import tables

Table = npt.NDArray[np.float64]

FATES = {"its own class": "#1c2040", "another class": "#9aa3c7", "the mask": "#e89868"}


def fates(alphas: Table, gammas: Table, classes: int) -> tuple[Table, Table, Table]:
    """The probabilities that a pixel shows its own class, another one, and the mask at each t.

    With K classes a pixel that is neither kept nor masked shows each of them with probability
    β̄ = (1 - ᾱ - γ̄)/K, its own among them.
    """
    beta = np.maximum(1 - alphas - gammas, 0) / classes
    return alphas + beta, (classes - 1) * beta, gammas


def save_plot(
    path: str | PathLike[str], names: Sequence[str], timesteps: int, classes: int
) -> None:
    """Write ᾱ and γ̄ of the schedules, and a panel of a pixel's fate for each.

    Parameters
    ----------
    path : path
        Its ending is the format: png, svg, pdf or another that matplotlib writes.
    names : sequence of str
        Of `named_schedules.NAMES`.
    timesteps : int
        T.
    classes : int
        K, without the mask.
    """
    columns = min(len(names) + 1, 3)
    rows = -(-(len(names) + 1) // columns)
    # In an SVG, text stays text, and the same plot is the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "vqdiffusion"}):
        figure = Figure(figsize=(3.6 * columns, 2.8 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        t = np.arange(timesteps)
        for place, name in enumerate(names):
            alphas, gammas = tables(name, timesteps)
            panels[0].plot(t, alphas, color=f"C{place}", label=name)
            panels[0].plot(t, gammas, "--", color=f"C{place}")
            _draw_fate(panels[place + 1], t, fates(alphas, gammas, classes), name)
        panels[0].set_title("ᾱ (solid) and γ̄ (dashed)")
        panels[0].legend(fontsize="x-small")
        for panel in panels[: len(names) + 1]:
            panel.set(xlim=(0, timesteps - 1), ylim=(0, 1), xlabel="t")
            panel.tick_params(labelbottom=True)
        for panel in panels[len(names) + 1 :]:
            panel.set_axis_off()
        handles, labels = panels[1].get_legend_handles_labels()
        title = "A pixel shows"
        figure.legend(handles, labels, title=title, loc="outside lower center", ncols=len(labels))
        ending = str(path).rsplit(".", 1)[-1].lower()
        figure.savefig(path, metadata={"Date": None} if ending == "svg" else None)


def _draw_fate(panel: Axes, t: npt.NDArray[np.int64], parts: Sequence[Table], name: str) -> None:
    panel.stackplot(t, parts, labels=list(FATES), colors=list(FATES.values()))
    panel.set_title(f"{name}: a pixel's fate")
