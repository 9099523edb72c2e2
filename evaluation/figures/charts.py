"""Numbers as bars and points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from evaluation.figures.style import AFTER, BEFORE, SMALL, TEXT, literal, quiet

COSTS = {
    "l1": "mean L1 distance",
    "l2": "mean L2 distance",
    "linf": "mean L-infinity distance",
    "changed": "share of pixels changed",
    "ssim": "mean SSIM to the factual",
}


def activation_bars(changes: Sequence[tuple[str, float]]) -> Figure:
    """Draw how much each layer's activations change from factual to counterfactual.

    Args:
        changes: pairs of a layer's name and the L2 norm of its change, in any order; the largest
            is drawn on top.

    Raises:
        ValueError: if there is no layer.
    """
    if not changes:
        raise ValueError("expected at least one layer, got none; name layers that the network has")
    ordered = sorted(changes, key=lambda change: change[1], reverse=True)
    names = [literal(name) for name, _ in ordered]
    norms = [norm for _, norm in ordered]
    figure = Figure(figsize=(5, 0.9 + 0.24 * len(ordered)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(range(len(ordered)), norms, color=AFTER, height=0.7)
    axes.bar_label(bars, fmt="%.3g", padding=3, fontsize=SMALL)
    axes.set_yticks(range(len(ordered)), names, fontsize=SMALL)
    axes.invert_yaxis()
    axes.set_xlabel("L2 norm of the change in activations", fontsize=TEXT)
    axes.margins(x=0.12)
    quiet(axes)
    return figure


def tradeoff(rows: Sequence[Mapping[str, float]], cost: str = "l2") -> Figure:
    """Draw what validity costs: one labelled point for each weight of the distance term.

    Args:
        rows: one mapping a weight, with the keys `lambda`, `validity` (a share in [0, 1]) and
            the cost's.
        cost: what stands on the horizontal axis: l1, l2, linf, changed or ssim.

    Raises:
        ValueError: if there is no row, or a row lacks one of the keys.
    """
    needed = {"lambda", "validity", cost}
    if not rows or any(needed - row.keys() for row in rows) or cost not in COSTS:
        raise ValueError(
            f"expected rows with the keys {', '.join(sorted(needed))} and a cost among "
            f"{', '.join(COSTS)}, got {[sorted(row) for row in rows]}; measure the sweep first"
        )
    ordered = sorted(rows, key=lambda row: row["lambda"])
    x, y = [row[cost] for row in ordered], [row["validity"] for row in ordered]
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(x, y, color=BEFORE, linewidth=1, zorder=1)
    axes.scatter(x, y, color=AFTER, s=28, zorder=2)
    for row, across, up in zip(ordered, x, y, strict=True):
        axes.annotate(
            f"λ = {row['lambda']:g}",
            (across, up),
            xytext=(5, -10),
            textcoords="offset points",
            fontsize=SMALL,
        )
    axes.set_xlabel(COSTS[cost], fontsize=TEXT)
    axes.set_ylabel("validity", fontsize=TEXT)
    axes.set_ylim(-0.05, 1.05)
    axes.margins(x=0.14)
    quiet(axes)
    return figure


def draw_probabilities(
    axes: Axes,
    classes: Sequence[str],
    before: Float[Tensor, " classes"],
    after: Float[Tensor, " classes"],
) -> None:
    """Draw two horizontal bars a class, with their values."""
    rows = range(len(classes))
    for offset, p, colour, name in (
        (-0.2, before, BEFORE, "original"),
        (0.2, after, AFTER, "counterfactual"),
    ):
        bars = axes.barh(
            [row + offset for row in rows], p.tolist(), height=0.36, color=colour, label=name
        )
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=SMALL)
    axes.set_yticks(rows, [literal(name) for name in classes], fontsize=SMALL)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15)
    axes.set_xticks((0, 0.5, 1))
    axes.set_title("Probabilities", fontsize=TEXT, pad=20)
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=SMALL, frameon=False
    )
    quiet(axes)
