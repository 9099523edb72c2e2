"""How near a counterfactual is found for how many evaluations of the classifier."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from statistics import median_low
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from cfgen.goals import make_goal
from cfgen.methods import METHODS
from cfgen.methods import search as search_batch
from cfgen.models.bundle import Bundle
from cfgen.objectives import l2
from cfgen.types import Goal, Images, LogOdds, Seeds
from evaluation.figures.style import OKABE_ITO, SMALL, TEXT, legend_below, quiet
from evaluation.speed.contestants import ORIGIN
from evaluation.speed.origin import origin_loop, origin_settings
from evaluation.tables import markdown, number

BUDGETS = (1, 2, 3, 5, 8, 12, 20, 30)
"""Evaluations at which the curves are read."""
_COLOURS = OKABE_ITO[:-1]  # yellow is too pale for a line
_MARKERS = "sovD^Pp"

Traces = Sequence[Sequence[float]]
"""For each image the L2 distance at every evaluation; infinite where the goal is not reached."""


class Point(NamedTuple):
    """What some evaluations lead to: the median L2 distance, and the share of images that flip."""

    distance: float
    valid: float


def curves(bundle: Bundle, images: Images, seeds: Seeds) -> dict[str, list[Point]]:
    """Return a point for each of `BUDGETS`, by the origin's loop and by every method.

    The origin's loop does not end where it reaches the goal: it goes on to shrink the change.

    Args:
        bundle: whose models take part.
        images: in [0, 1]; each is searched alone.
        seeds: one an image.
    """
    names = (ORIGIN, *METHODS)
    parts = list(zip(images.split(1), seeds.split(1), strict=True))
    return {
        name: curve([trace(bundle, name, image, seed) for image, seed in parts]) for name in names
    }


def trace(bundle: Bundle, name: str, image: Images, seed: Seeds) -> list[float]:
    """Search one image, and note every image that the classifier is asked of.

    Returns:
        For each evaluation, in order, the L2 distance, or infinity if the goal is not reached.
    """
    goal = make_goal(bundle.classifier, image)
    seen: list[float] = []

    def noting(images: Images, asked: Goal) -> LogOdds:
        log_odds = goal.score(images, asked)
        far = l2(image.expand_as(images), images).detach()
        seen.extend(torch.where(log_odds.detach() >= goal.bar, far, torch.inf).tolist())
        return log_odds

    noted = replace(goal, score=noting, before=None)
    if name == ORIGIN:
        settings = replace(origin_settings(), steps=BUDGETS[-1])
        origin_loop(replace(noted, bar=torch.full_like(goal.bar, torch.inf)), image, settings)
    else:
        settings = replace(METHODS[name].settings, steps=BUDGETS[-1])
        search_batch(bundle, noted, image, name, settings, seeds=seed)
    return seen


def curve(traces: Traces) -> list[Point]:
    """Return what each of `BUDGETS` leads to, with the nearest image so far that is valid.

    The median is over all images, one without a valid image being infinitely far: so it is finite
    only where at least half of them have one, and no easy half stands for all.

    Example:
        >>> [tuple(point) for point in curve([[math.inf, 4.0, 3.0], [math.inf, math.inf, 5.0]])[:3]]
        [(inf, 0.0), (4.0, 0.5), (3.0, 1.0)]
    """
    points = []
    for budget in BUDGETS:
        nearest = [min(distances[:budget], default=math.inf) for distances in traces]
        valid = sum(math.isfinite(distance) for distance in nearest) / len(nearest)
        points.append(Point(median_low(nearest), valid))
    return points


def curve_table(found: Mapping[str, Sequence[Point]]) -> str:
    """Write the curves as Markdown: distance, and in brackets the share that is valid."""
    rows = [
        {"method": name}
        | {
            str(budget): f"{_finite(point.distance)} ({number(point.valid)})"
            for budget, point in zip(BUDGETS, points, strict=True)
        }
        for name, points in found.items()
    ]
    return markdown(rows, ("method", *map(str, BUDGETS)))


def _finite(distance: float) -> str:
    return number(distance) if math.isfinite(distance) else "-"


def curve_figure(found: Mapping[str, Sequence[Point]]) -> Figure:
    """Draw distance and validity against evaluations, side by side."""
    figure = Figure(figsize=(8.6, 3.9), layout="constrained")
    far, valid = figure.subplots(1, 2)
    styles = zip(cycle(_COLOURS), cycle(_MARKERS), strict=False)
    for (name, points), (colour, marker) in zip(found.items(), styles, strict=False):
        style = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1.2}
        far.plot(BUDGETS, [point.distance for point in points], label=name, **style)
        valid.plot(BUDGETS, [point.valid for point in points], **style)
    far.set_yscale("log")
    far.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    far.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    far.yaxis.set_minor_formatter(NullFormatter())
    far.set_ylabel("L2 distance, median", fontsize=TEXT)
    valid.set_ylabel("share of images that are valid", fontsize=TEXT)
    valid.set_ylim(-0.03, 1.03)
    for axes in (far, valid):
        _evaluations(axes)
    legend_below(figure, far, columns=min(4, len(found)))
    return figure


def _evaluations(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_xticks(BUDGETS, map(str, BUDGETS))
    axes.set_xticks([], minor=True)
    axes.set_xlim(0.9, 34)
    axes.set_xlabel("evaluations of the classifier", fontsize=TEXT)
    axes.grid(color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    quiet(axes)
    axes.tick_params(labelsize=SMALL)
