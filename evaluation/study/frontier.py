"""How often judges follow against how much is changed: whole families of runs, not one point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from evaluation.figures.labels import keep_apart
from evaluation.figures.style import AFTER, BEFORE, SMALL, TEXT, VERMILLION, legend_below, quiet
from evaluation.measured import Measured
from evaluation.summary import CORRECT

FOLLOW = "panel_follows"
_COLOURS = (AFTER, VERMILLION)
"""Blue and vermilion: they differ in lightness, and for the common colour blindnesses too."""


def frontier(
    families: Mapping[str, Sequence[Measured]],
    singles: Sequence[Measured],
    targets: Sequence[str],
) -> Figure:
    """Draw the judges' mean follow against the mean SSIM, a panel a target.

    Of all that the classifier had right. The band is the 95 % interval of the follow.

    Args:
        families: at most two, by name: runs of one method at several strengths, joined by a line.
        singles: runs that are drawn as one labelled point each.
        targets: names of the classes.

    Raises:
        ValueError: there is no target.
    """
    if not targets:
        raise ValueError("expected at least one target, got none; search more samples")
    figure = Figure(figsize=(0.6 + 4 * len(targets), 3.6), layout="constrained")
    shown = figure.subplots(1, len(targets), sharey=True, squeeze=False)[0]
    labels: dict[str, list[Annotation]] = {target: [] for target in targets}
    for axes, target in zip(shown, targets, strict=True):
        for (name, family), colour in zip(families.items(), _COLOURS, strict=False):
            _line(axes, name, points(family, target), colour)
        for run in singles:
            for similarity, follow in points([run], target):
                axes.scatter([similarity], [follow["mean"]], color=BEFORE, s=24, zorder=2)
                label = axes.annotate(
                    run.name,
                    (similarity, follow["mean"]),
                    xytext=(4, 4),
                    textcoords="offset points",
                    fontsize=SMALL,
                )
                labels[target].append(label)
        axes.set_title(f"to {target}", fontsize=TEXT)
        axes.set_xlabel("mean SSIM to the factual", fontsize=TEXT)
        axes.set_ylim(-0.05, 1.05)
        axes.margins(x=0.12)
        quiet(axes)
    shown[0].set_ylabel("judges that follow", fontsize=TEXT)
    legend_below(figure, shown[0], columns=2)
    for some in labels.values():
        keep_apart(figure, some)
    return figure


def points(runs: Sequence[Measured], target: str) -> list[tuple[float, Mapping]]:
    """Return the mean SSIM and the estimate of the follow of each run that has both, by SSIM."""
    found = []
    for run in runs:
        similarity = run.mean("ssim", CORRECT, target)
        follow = run.metric(FOLLOW, CORRECT, target)
        if similarity is not None and follow is not None and follow["mean"] is not None:
            found.append((similarity, follow))
    return sorted(found, key=lambda point: point[0])


def _line(axes: Axes, name: str, found: Sequence[tuple[float, Mapping]], colour: str) -> None:
    across = [similarity for similarity, _ in found]
    means, lows, highs = (
        [_or_mean(follow, key) for _, follow in found] for key in ("mean", "low", "high")
    )
    axes.plot(across, means, color=colour, marker="o", markersize=4, linewidth=1.2, label=name)
    axes.fill_between(across, lows, highs, color=colour, alpha=0.15, linewidth=0)


def _or_mean(follow: Mapping, key: str) -> float:
    """End of an interval; where there is none, the mean itself."""
    return follow["mean"] if follow[key] is None else follow[key]
