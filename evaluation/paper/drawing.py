"""Figures at the width of a journal's column, in one style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.figures.style import OKABE_ITO, SMALL, TEXT, legend_below, literal, quiet, save
from evaluation.measured import Measured

SINGLE, DOUBLE = 85 / 25.4, 175 / 25.4
"""Widths of one column and of two, in inches."""
COLOURS = OKABE_ITO
"""Of the runs, in order."""


def bars(runs: Sequence[Measured], targets: Sequence[str], subset: str) -> Figure:
    """Draw how often counterfactuals are valid and how often each judge follows, a panel a target.

    Whiskers are 95 % intervals. What was not measured of a run has no bar.

    Args:
        runs: at most as many as there are `COLOURS`.
        targets: names of the classes.
        subset: of the images, as in a summary.

    Raises:
        ValueError: there are more runs than colours, or there is no target.
    """
    if not targets or len(runs) > len(COLOURS):
        raise ValueError(
            f"expected a target and at most {len(COLOURS)} runs, which have a colour each, got "
            f"{len(targets)} targets and {len(runs)} runs; leave some out."
        )
    figure, panels = _panels(targets, 1.9)
    judges = list(dict.fromkeys(name for run in runs for name in run.summary["judges"]))
    measures = {"valid": "valid", **{f"judge_{name}_follows": name for name in judges}}
    for axes, target in zip(panels, targets, strict=False):
        _bars(axes, runs, list(measures), (subset, target))
        axes.set_title(f"to {literal(target)}", fontsize=TEXT)
        names = [literal(name) for name in measures.values()]
        axes.set_xticks(range(len(names)), names, fontsize=SMALL)
        if sum(map(len, names)) > 30:
            axes.tick_params("x", labelrotation=30)
    panels[0].set_ylabel("share of the images", fontsize=TEXT)
    legend_below(figure, panels[0], columns=_across(runs, targets))
    return figure


def frontier(runs: Sequence[Measured], targets: Sequence[str], subset: str) -> Figure:
    """Draw the judges' mean follow against the mean SSIM, a panel a target and a point a run.

    Whiskers are 95 % intervals of either.

    Args:
        runs: at most as many as there are `COLOURS`.
        targets: names of the classes.
        subset: of the images, as in a summary.
    """
    figure, panels = _panels(targets, 2.1)
    for axes, target in zip(panels, targets, strict=False):
        for run, colour in zip(runs, COLOURS, strict=False):
            across, up = (run.metric(one, subset, target) for one in ("ssim", "panel_follows"))
            if across and up and None not in (across["mean"], up["mean"]):
                axes.errorbar(
                    across["mean"], up["mean"], *([[a], [b]] for a, b in map(_ends, (up, across))),
                    fmt="o", markersize=4.5, color=colour, elinewidth=0.8, label=literal(run.name),
                )  # fmt: skip
        axes.set_title(f"to {literal(target)}", fontsize=TEXT)
        axes.set_xlabel("mean SSIM to the factual", fontsize=TEXT)
        axes.set_ylim(-0.05, 1.05)
        axes.locator_params("x", nbins=5)
        quiet(axes)
    panels[0].set_ylabel("judges that follow", fontsize=TEXT)
    legend_below(figure, panels[0], columns=_across(runs, targets))
    return figure


def write(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as NAME.pdf and NAME.png, 300 dots an inch.

    Raises:
        ValueError: the folder cannot be written.
    """
    for suffix in (".pdf", ".png"):
        save(figure, folder / f"{name}{suffix}", dpi=300)


def resized(figure: Figure, width: float) -> Figure:
    """Bring a figure to a column's width, its letters as large as before."""
    across, up = figure.get_size_inches()
    figure.set_size_inches(width, max(up * width / across, 0.75 * min(width, 4.0)))
    return figure


def _panels(targets: Sequence[str], high: float) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure with a panel a target, in one column for one and in two for more."""
    columns = min(2, len(targets))
    rows = -(-len(targets) // columns)
    size = (SINGLE if columns == 1 else DOUBLE, 0.5 + high * rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).ravel())
    for axes in panels[len(targets) :]:
        axes.set_axis_off()
    return figure, panels


def _across(runs: Sequence[Measured], targets: Sequence[str]) -> int:
    """Return how many entries of a legend stand side by side."""
    return min(len(runs), 2 if len(targets) == 1 else 5)


def _bars(
    axes: Axes, runs: Sequence[Measured], measures: Sequence[str], of: tuple[str, str]
) -> None:
    """Draw the bars of one subset and target."""
    wide = 0.8 / len(runs)
    for nth, run in enumerate(runs):
        left = (nth - (len(runs) - 1) / 2) * wide
        found = [run.metric(name, *of) for name in measures]
        known = [(x + left, one) for x, one in enumerate(found) if one and one["mean"] is not None]
        places, means = [x for x, _ in known], [one["mean"] for _, one in known]
        ends = list(zip(*(_ends(one) for _, one in known), strict=True)) or None
        # The edge is what can be seen of a share of none.
        axes.bar(
            places, means, width=0.85 * wide, color=COLOURS[nth], edgecolor=COLOURS[nth],
            linewidth=0.8, label=literal(run.name),
        )  # fmt: skip
        axes.errorbar(
            places, means, ends, fmt="none", ecolor="#333333", elinewidth=0.7, capsize=1.5,
            capthick=0.7,
        )  # fmt: skip
    axes.set_ylim(-0.02, 1.06)
    axes.set_xlim(-0.6, len(measures) - 0.4)
    quiet(axes)


def _ends(one: Mapping[str, float | None]) -> tuple[float, float]:
    """Lengths of the whiskers below and above a mean; none where the interval has no such end."""
    mean, low, high = (one[key] for key in ("mean", "low", "high"))
    if mean is None or low is None or high is None:
        return 0.0, 0.0
    return max(0.0, mean - low), max(0.0, high - mean)
