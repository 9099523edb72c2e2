"""Validity, realism and proximity of runs at equal evaluations, and which runs none beats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from cfgen.metrics import Estimate, estimate, pareto_front
from evaluation.figures.labels import keep_apart
from evaluation.figures.style import AFTER, BEFORE, SMALL, TEXT, literal, quiet, shortened
from evaluation.measured import Measured
from evaluation.measures.distances import in_network
from evaluation.runs import Row
from evaluation.summary import attempted, finite, group_of
from evaluation.tables import Cell, csv_text, interval, markdown, number


class Point(NamedTuple):
    """A run on the three axes.

    Attributes:
        name: of the run.
        within: share of all attempted samples that took no more evaluations than the budget.
        validity: share that is valid and took no more; higher is better.
        realism: Frechet ratio, mean over the targets; 1 is as close as real images to each other,
            lower is better. NaN where it was not measured.
        proximity: mean L2 of the change; lower is better.
        front: whether no other run is as good on all three and better on one.
    """

    name: str
    within: float
    validity: Estimate
    realism: float
    proximity: Estimate
    front: bool


def default_budget(runs: Sequence[Measured]) -> float:
    """Return the median of the runs' median evaluations, of all attempted."""
    known = [[_evaluations(row) for row in _tried(run)] for run in runs]
    return median([median(values) for values in known if values] or [0.0])


def pareto_points(runs: Sequence[Measured], budget: float) -> list[Point]:
    """Return where each run is, of all that it attempted.

    Args:
        runs: evaluated.
        budget: evaluations from which on a sample counts as not valid: passes of the classifier.
    """
    points = [_point(run, budget) for run in runs]
    gains = [[one.validity.mean, -one.realism, -one.proximity.mean] for one in points]
    front = pareto_front(np.array(gains))
    return [one._replace(front=bool(on)) for one, on in zip(points, front, strict=True)]


def pareto_table(points: Sequence[Point], budget: float) -> str:
    """Write the points for reading, with what is on the axes."""
    rows = [
        {
            "run": one.name,
            "n": str(one.validity.n),
            "within budget": number(one.within),
            "valid within budget": interval(finite(one.validity)),
            "Frechet ratio": number(one.realism),
            "L2": interval(finite(one.proximity)),
            "on the front": "yes" if one.front else "-" if math.isnan(one.realism) else "no",
        }
        for one in points
    ]
    note = (
        f"At {number(budget, 0)} passes of the classifier, of all attempted: a sample that took "
        "more counts as not valid. Realism is the Frechet ratio to real images of the target, "
        "mean over targets; like L2, lower is better, and both are of the images as stored. On the "
        "front are the runs that no other equals in all three and beats in one.\n"
    )
    return f"{note}\n{markdown(rows, tuple(rows[0]))}"


def pareto_csv(points: Sequence[Point], budget: float) -> str:
    """Write the same without rounding."""
    rows: list[dict[str, Cell]] = []
    for one in points:
        row: dict[str, Cell] = {"run": one.name, "budget": budget, "within": one.within}
        for name in ("validity", "proximity"):
            known = finite(getattr(one, name))
            row |= {name if key == "mean" else f"{name}_{key}": v for key, v in known.items()}
        row["realism"] = None if math.isnan(one.realism) else one.realism
        rows.append({**row, "front": int(one.front)})
    return csv_text(rows, tuple(rows[0]))


def pareto_figure(points: Sequence[Point], budget: float) -> Figure:
    """Draw validity against L2, realism as the colour; runs on the front are ringed and named."""
    figure = Figure(figsize=(5.4, 3.8), layout="constrained")
    axes = figure.subplots()
    known = [one for one in points if not math.isnan(one.realism)]
    labels: list[Annotation] = []
    for one in points:
        across, up = one.proximity.mean, one.validity.mean
        label = axes.annotate(
            literal(shortened(one.name)),
            (across, up),
            xytext=(6, 5),
            textcoords="offset points",
            fontsize=SMALL,
            fontweight="bold" if one.front else "normal",
        )
        labels.append(label)
        ring, width = (AFTER, 2.0) if one.front else (BEFORE, 1.0)
        axes.scatter([across], [up], s=110, facecolors="none", edgecolors=ring, linewidths=width)
    colours = axes.scatter(
        [one.proximity.mean for one in known],
        [one.validity.mean for one in known],
        c=[one.realism for one in known],
        cmap="viridis_r",
        s=45,
    )
    if known:
        bar = figure.colorbar(colours, ax=axes)
        bar.set_label("Frechet ratio (lower is better)", fontsize=TEXT)
        bar.ax.tick_params(labelsize=SMALL)
    axes.set_xlabel("mean L2 of the change (lower is better)", fontsize=TEXT)
    axes.set_ylabel(f"valid within {number(budget, 0)} evaluations", fontsize=TEXT)
    axes.set_title("ringed: no other run is better in all", fontsize=TEXT)
    axes.set_ylim(-0.05, 1.1)
    axes.margins(x=0.2)
    quiet(axes)
    keep_apart(figure, labels)
    return figure


def _point(run: Measured, budget: float) -> Point:
    rows = _tried(run)
    patients = [str(group_of(row)) for row in rows]
    within = [_evaluations(row) <= budget for row in rows]
    valid = [float(row["valid"] or 0) * soon for row, soon in zip(rows, within, strict=True)]
    lengths = [None if row["l2"] is None else float(row["l2"]) for row in rows]
    return Point(
        run.name,
        fmean(within) if within else math.nan,
        estimate(valid, patients),
        _realism(run.summary),
        estimate(lengths, patients),
        front=False,
    )


def _realism(summary: Mapping) -> float:
    """Mean Frechet ratio over the targets, in the one network that a run is measured in."""
    targets = in_network(summary["frechet"])
    return fmean(known["ratio"] for known in targets.values()) if targets else math.nan


def _tried(run: Measured) -> list[Row]:
    return [row for row in run.rows.values() if attempted(row)]


def _evaluations(row: Row) -> float:
    return float(row["evaluations"] or 0)
