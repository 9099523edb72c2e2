"""explanation.pdf: everything on one A4 page, drawn by matplotlib alone."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.explain import words
from evaluation.explain.case import Case
from evaluation.explain.plots import (
    draw_change,
    draw_contours,
    draw_curve,
    draw_image,
    draw_layers,
    draw_strip,
    line_style,
    printable,
    speaker,
)
from evaluation.explain.text import evidence, size_of_change
from evaluation.figures.style import SMALL

A4 = (8.27, 11.69)
_LEFT, _WIDE, _LINE = 0.62, 7.03, 0.165
"""Inches: margin, width between the margins, and height of a line of text."""
_COLUMNS = 112
"""Letters in a line of text across the page."""
_WARNING = {"facecolor": "#fff1d6", "edgecolor": "#b35900", "boxstyle": "square,pad=0.6"}
_DIM = "#555555"
_SIDE, _STRIP, _CURVE, _FOOT = 1.66, 0.94, 1.45, 8.7
"""Inches: side of a picture, heights of strip and curve, where the tables begin."""
_LABEL = 0.42
"""Inches that the curve's labels take."""


def sheet(case: Case) -> Figure:
    """Draw the page."""
    figure = Figure(figsize=A4)
    top = _write_head(figure, case) + 0.35
    _draw_pictures(figure, case, top)
    # What room the text has left is shared between what stands above and below the strip.
    strip = (top + _SIDE + 0.45 + _FOOT - _STRIP - _CURVE - 0.75) / 2
    wide = _WIDE - _LABEL
    draw_strip(_axes(figure, _LABEL, strip, wide, _STRIP), case.response)
    draw_curve(_axes(figure, _LABEL, strip + _STRIP + 0.06, wide, _CURVE), case.response)
    _draw_opinions(_axes(figure, 0.0, _FOOT, 3.0, 2.0), case)
    layers = _axes(figure, 4.22, _FOOT, 1.05, 1.95)
    draw_layers(layers, case.leading_layers(9))
    layers.set_title("change of layers", fontsize=SMALL + 1, loc="left")
    _draw_evidence(_axes(figure, 5.5, _FOOT, _WIDE - 5.5, 2.0), case)
    _write_foot(figure, case)
    return figure


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place in inches, from the left margin and from the top of the page."""
    wide, high = A4
    return figure.add_axes(
        ((_LEFT + left) / wide, 1 - (top + height) / high, width / wide, height / high)
    )


def _write_head(figure: Figure, case: Case) -> float:
    """Write title, warning and sentences; return where they end, in inches from the top."""
    _write(figure, 0.4, words.KICKER, fontsize=SMALL, color=_DIM)
    title = textwrap.shorten(printable(case.name), 60, placeholder="...")
    _write(figure, 0.58, title, fontsize=16, fontweight="bold")
    line = 0.95
    if case.strange:
        warning = textwrap.fill(words.familiarity(case), _COLUMNS - 4)
        _write(figure, line + 0.1, warning, left=0.08, fontsize=9, bbox=_WARNING)
        line += _LINE * (warning.count("\n") + 1) + 0.28
    heading, told = words.verdict(case)
    paragraphs = [(words.answer(case), "bold"), (words.where(case), "normal")]
    paragraphs += [(words.believe(case), "bold"), (f"{heading} {told}.", "normal")]
    for text, weight in paragraphs:
        wide = _COLUMNS if weight == "normal" else _COLUMNS - 20
        wrapped = textwrap.fill(printable(text), wide)
        _write(figure, line, wrapped, fontsize=9, fontweight=weight)
        line += _LINE * (wrapped.count("\n") + 1) + 0.08
    return line


def _write(figure: Figure, top: float, text: str, *, left: float = 0.0, **style: Any) -> None:  # noqa: ANN401 - matplotlib's own
    figure.text((_LEFT + left) / A4[0], 1 - top / A4[1], text, va="top", **style)


def _draw_pictures(figure: Figure, case: Case, top: float) -> None:
    found, step = case.found, (_WIDE - _SIDE) / 3
    axes = [_axes(figure, step * k, top, _SIDE, _SIDE) for k in range(4)]
    draw_image(axes[0], found.factual, f"original: {printable(found.decided_before)}")
    draw_image(axes[1], found.counterfactual, f"counterfactual: {printable(found.decided_after)}")
    draw_contours(axes[2], case, "where it changes most")
    shown = draw_change(axes[3], case, "change")
    bar = figure.colorbar(
        shown, cax=axes[3].inset_axes((0, -0.09, 1, 0.05)), orientation="horizontal"
    )
    bar.ax.tick_params(labelsize=SMALL - 1, length=2, pad=1)
    told = "red: brighter, blue: darker" + (", yellow: lungs" if case.lungs is not None else "")
    axes[2].text(0.5, -0.05, told, transform=axes[2].transAxes, ha="center", va="top", fontsize=6)


def _draw_opinions(axes: Axes, case: Case) -> None:
    """Tabulate who decides for what, each with the line that is its curve's."""
    axes.set_axis_off()
    axes.set_title("who decides for what", fontsize=SMALL + 1, loc="left")
    opinions = case.response.opinions
    rows = [("", "before", "after")]
    rows += [(speaker(k, one.name), one.before, one.after) for k, one in enumerate(opinions)]
    step = _draw_rows(axes, rows, (0.12, 0.44, 0.71))
    for k in range(len(opinions)):
        height = 0.96 - step * (k + 1) - 0.022
        axes.plot((0, 0.09), (height, height), transform=axes.transAxes, **line_style(k))


def _draw_evidence(axes: Axes, case: Case) -> None:
    axes.set_axis_off()
    axes.set_title("evidence", fontsize=SMALL + 1, loc="left")
    rows = [(row["evidence"].replace("_", " "), row["value"]) for row in evidence(case)]
    _draw_rows(axes, rows, (0.0, 0.82))


def _draw_rows(axes: Axes, rows: Sequence[tuple[str, ...]], places: tuple[float, ...]) -> float:
    """Write a table; return the height of a row as a share of the axes'."""
    step = min(0.1, 0.98 / len(rows))
    for k, row in enumerate(rows):
        for place, cell in zip(places, row, strict=True):
            axes.text(
                place,
                0.96 - step * k,
                textwrap.shorten(printable(cell), 26, placeholder="..."),
                fontsize=SMALL,
                va="top",
                transform=axes.transAxes,
            )
    return step


def _write_foot(figure: Figure, case: Case) -> None:
    texts = [words.CONVENTION, size_of_change(case)]
    texts += [] if case.strange else [words.familiarity(case)]
    told = f"{words.searched(case)} " + " ".join(texts)
    lines = [textwrap.fill(printable(text), 138) for text in (told, case.command)]
    _write(figure, 10.9, "\n".join(lines), fontsize=SMALL - 0.5, color=_DIM)
