"""What the figures and the sheet of one image are drawn with, on axes of whoever calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.font_manager import findfont, get_font
from matplotlib.image import AxesImage

from cfgen.metrics import LayerChange
from cfgen.types import Image
from evaluation.explain.case import Case
from evaluation.explain.lines import BRIGHTER, DARKER, LUNGS, Line, outline, strongest
from evaluation.explain.response import SHOWN, STRENGTHS, Response
from evaluation.figures.style import (
    AFTER,
    DIVERGING,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    SMALL,
    VERMILLION,
    literal,
    quiet,
)

JUDGES = (VERMILLION, GREEN, PURPLE, ORANGE, SKY)
"""Colours of the judges' lines."""
DASHES = ((4, 1.5), (1.5, 1.5), (6, 1.5, 1.5, 1.5), (3, 3), (8, 3))
_WIDE = STRENGTHS[1] - STRENGTHS[0]


def line_style(place: int) -> dict[str, Any]:
    """How the line of the model (place 0) or of a judge (1, 2, ...) is drawn."""
    if not place:
        return {"color": AFTER, "linewidth": 2, "zorder": 3}
    turn = (place - 1) % len(JUDGES)
    return {"color": JUDGES[turn], "linewidth": 1.1, "dashes": DASHES[turn]}


def speaker(place: int, name: str) -> str:
    """How the model (place 0) or a judge (1, 2, ...) is called."""
    return f"judge {name}" if place else "the model"


def printable(text: str) -> str:
    """Return a text with what the font cannot show as question marks, and no mathematics."""
    font = get_font(findfont("DejaVu Sans"))
    shown = (c if c == "\n" or font.get_char_index(ord(c)) else "?" for c in text)
    return literal("".join(shown))


def draw_image(axes: Axes, image: Image, title: str = "") -> None:
    """Show an image from black at 0 to white at 1."""
    axes.set_axis_off()
    axes.imshow(image[0].cpu().numpy(), cmap="gray", vmin=0, vmax=1, interpolation="bilinear")
    if title:
        axes.set_title(title, fontsize=SMALL + 1)


def draw_change(axes: Axes, case: Case, title: str) -> AxesImage:
    """Show the signed change on a scale symmetric about zero, the lungs outlined in grey."""
    axes.set_axis_off()
    axes.set_title(title, fontsize=SMALL + 1)
    change = case.change[0].cpu().numpy()
    shown = axes.imshow(change, cmap=DIVERGING, vmin=-case.limit, vmax=case.limit)
    if case.lungs is not None:
        _draw_lines(axes, outline(case.lungs), "#777777", 0.6)
    return shown


def draw_contours(axes: Axes, case: Case, title: str) -> None:
    """Show the factual with outlines of the lungs and of where it became brighter and darker."""
    draw_image(axes, case.found.factual, title)
    if case.lungs is not None:
        _draw_lines(axes, outline(case.lungs), LUNGS, 0.8)
    brighter, darker = strongest(case.change)
    _draw_lines(axes, brighter, BRIGHTER, 1.4)
    _draw_lines(axes, darker, DARKER, 1.4)


def _draw_lines(axes: Axes, lines: Sequence[Line], colour: str, width: float) -> None:
    for line in lines:
        axes.plot(line[:, 0], line[:, 1], color=colour, linewidth=width, scalex=False, scaley=False)


def draw_strip(axes: Axes, response: Response) -> None:
    """Show the images at some strengths, each above its strength on the curve's axis."""
    shown, strengths = response.images[SHOWN], STRENGTHS[SHOWN]
    high = shown.shape[-2] / shown.shape[-1]
    for image, strength in zip(shown, strengths, strict=True):
        extent = (strength - 0.97 * _WIDE, strength + 0.97 * _WIDE, 0, high)
        axes.imshow(
            image[0].cpu().numpy(), cmap="gray", vmin=0, vmax=1, extent=extent, aspect="auto"
        )
    axes.set_xlim(STRENGTHS[0] - _WIDE, STRENGTHS[-1] + _WIDE)
    axes.set_ylim(0, high)
    axes.set_box_aspect(high / len(strengths))
    axes.set_axis_off()


def draw_curve(axes: Axes, response: Response) -> None:
    """Draw the probability of the goal over strength: classifier, judges, threshold."""
    axes.axhline(response.threshold, color="#888888", linewidth=0.8, linestyle=":")
    axes.axvline(1, color="#888888", linewidth=0.8)
    for k, one in enumerate(response.opinions):
        label = printable(speaker(k, one.name))
        axes.plot(STRENGTHS, one.p, label=label, marker="" if k else "o", ms=3, **line_style(k))
    for text, side in (("threshold", "bottom"), (f"{response.threshold:.2f}", "top")):
        place = (STRENGTHS[-1] + _WIDE, response.threshold)
        axes.text(*place, text, ha="right", va=side, fontsize=SMALL - 1, color="#555555")
    axes.set_xlim(STRENGTHS[0] - _WIDE, STRENGTHS[-1] + _WIDE)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xticks(
        STRENGTHS[SHOWN],
        ["0\noriginal", *(f"{s:g}" for s in STRENGTHS[2:8:2]), "1\nfound", "1.25", "1.5"],
    )
    axes.set_yticks((0, 0.5, 1))
    axes.set_xlabel("strength of the change", fontsize=SMALL, labelpad=0)
    axes.set_ylabel(printable(f"p({response.goal})"), fontsize=SMALL)
    quiet(axes)


def draw_layers(axes: Axes, chosen: Sequence[LayerChange]) -> None:
    """Draw the relative change of some layers, the first on top."""
    bars = axes.barh(range(len(chosen)), [one.relative for one in chosen], color=AFTER, height=0.7)
    axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=SMALL - 1)
    names = [printable(one.layer.removeprefix("network.")) for one in chosen]
    axes.set_yticks(range(len(chosen)), names)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    quiet(axes)
    axes.tick_params(labelsize=SMALL - 1)
