"""The curves as a picture."""

LINES = {
    "eager": ("diffusers", "#888888"),
    "gumbel": ("gumbel", "#d95f02"),
    "inverse": ("inverse_cdf", "#1b9e77"),
    "inverse, inner": ("inverse_cdf, classes inner", "#7570b3"),
    "sum": ("torch.sum: one read", "#bbbbbb"),
}
AXES = {"K": "classes K", "N": "pixels N", "B": "batch B"}


def draw(results, path):
    """Writes an SVG; False where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "vqdiffusion", "font.size": 9}
    )
    from matplotlib import pyplot

    axes = [axis for axis in AXES if axis in results["scaling"]]
    figure, panels = pyplot.subplots(1, len(axes), figsize=(9, 3.2), sharey=True, squeeze=False)
    for axis, panel in zip(axes, panels[0]):
        points = results["scaling"][axis]
        for name, (label, colour) in LINES.items():
            style = "--" if name == "sum" else "-"
            values = [point["times"][name]["ms"] for point in points]
            panel.loglog(
                [point["at"] for point in points],
                values,
                style,
                marker=".",
                color=colour,
                label=label,
            )
        fixed = [f"{n} = {v}" for n, v in zip("BKN", points[0]["shape"]) if n != axis]
        panel.set(xlabel=AXES[axis], title=", ".join(f.replace(*_less_one(f)) for f in fixed))
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("ms for one step, t = 50")
    figure.legend(
        *panels[0][0].get_legend_handles_labels(), loc="lower center", ncols=5, frameon=False
    )
    figure.tight_layout(rect=(0, 0.09, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return True


def _less_one(text):
    """Shapes hold K + 1."""
    value = text.split(" = ")[1]
    return (value, str(int(value) - 1)) if text.startswith("K") else ("", "")
