"""The benchmark on phantoms as tables and as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from evaluation.definitions import describe
from evaluation.figures.style import BLUE, SKY, SMALL, TEXT, VERMILLION, legend_below, quiet
from evaluation.tables import Cell, csv_text, interval, markdown

MEASURES = (
    "valid",
    "energy_in_opacity",
    "iou_opacity",
    "pointing_opacity",
    "ssim_outside_opacity",
    "ssim_truth",
    "ssim_truth_factual",
    "l2_truth",
    "l2_truth_factual",
)
ON_MARKER, MARKER_AREA = "on_marker", "marker_area"
_MARKER = {ON_MARKER: "change on the marker", MARKER_AREA: "the marker's area"}
_DRAWN = ("energy_in_opacity", "iou_opacity", "pointing_opacity", "ssim_truth", ON_MARKER)
_COLOURS = (BLUE, SKY, VERMILLION)


class Score(NamedTuple):
    """What a method scores on one classifier and target.

    Attributes:
        classifier: that is explained, and on which phantoms.
        method: or saliency map, or chance.
        target: name of the class.
        measures: estimates as a summary holds them, by name; not all apply to all.
    """

    classifier: str
    method: str
    target: str
    measures: Mapping[str, Mapping]


def score_table(scores: Sequence[Score], target: str) -> str:
    """Write the scores of a target for reading, a row a classifier and method."""
    rows = []
    for one in scores:
        if one.target == target:
            row = {"classifier": one.classifier, "method": one.method}
            row["n"] = str(max(known["n"] for known in one.measures.values()))
            for name in (*MEASURES, *_MARKER):
                label, decimals = _label(name)
                row[label] = interval(one.measures.get(name), decimals)
            rows.append(row)
    heads = tuple(dict.fromkeys(head for row in rows for head in row))
    shown = [head for head in heads if any(row[head] != "-" for row in rows)]
    return markdown(rows, shown) if rows else "Nothing was attempted.\n"


def score_csv(scores: Sequence[Score]) -> str:
    """Write all scores without rounding, a row a number."""
    rows: list[dict[str, Cell]] = [
        {
            "classifier": one.classifier,
            "method": one.method,
            "target": one.target,
            "measure": name,
            **known,
        }
        for one in scores
        for name, known in one.measures.items()
    ]
    heads = ("classifier", "method", "target", "measure", "mean", "low", "high", "n")
    return csv_text(rows, heads)


def score_figure(scores: Sequence[Score], target: str) -> Figure:
    """Draw means with their intervals of a target, a panel a measure and a line a method.

    Raises:
        ValueError: nothing was scored towards the target.
    """
    some = [one for one in scores if one.target == target]
    if not some:
        raise ValueError(f"expected scores to {target}, got none; search more samples")
    methods = list(dict.fromkeys(one.method for one in some))
    classifiers = list(dict.fromkeys(one.classifier for one in some))
    names = [name for name in _DRAWN if any(name in one.measures for one in some)]
    size = (1.4 + 2.1 * len(names), 1.2 + 0.32 * len(methods))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        for place, classifier in enumerate(classifiers):
            here = [one for one in some if one.classifier == classifier and name in one.measures]
            known = [(one.method, one.measures[name]) for one in here]
            known = [(method, value) for method, value in known if value["mean"] is not None]
            at = [methods.index(method) + 0.22 * place for method, _ in known]
            means = [value["mean"] for _, value in known]
            ends = [
                [abs(value["mean"] - (value[end] if value[end] is not None else value["mean"]))
                 for _, value in known]
                for end in ("low", "high")
            ]  # fmt: skip
            axes.errorbar(
                means, at, xerr=ends, fmt="o", markersize=4, linewidth=1,
                color=_COLOURS[place], label=classifier,
            )  # fmt: skip
        axes.set_title(_label(name)[0], fontsize=TEXT)
        axes.set_yticks(range(len(methods)), methods, fontsize=SMALL)
        axes.margins(x=0.08)
        axes.grid(axis="x", linewidth=0.3)
        quiet(axes)
    panels[0].invert_yaxis()
    figure.suptitle(f"to {target}: mean with 95 % interval", fontsize=TEXT)
    legend_below(figure, panels[0], columns=3)
    return figure


def _label(name: str) -> tuple[str, int]:
    if name in _MARKER:
        return _MARKER[name], 3
    shown = describe(name)
    return shown.label, shown.decimals
