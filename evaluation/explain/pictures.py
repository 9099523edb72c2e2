"""The figures of one image that stand as files of their own."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure

from evaluation import figures
from evaluation.explain.case import Case
from evaluation.explain.plots import draw_change, draw_contours, draw_curve, draw_strip
from evaluation.figures.style import SMALL, legend_below


def change_figure(case: Case) -> Figure:
    """The change as outlines on the factual, and as a signed map with its scale."""
    figure = Figure(figsize=(7.2, 3.7), layout="constrained")
    overlaid, signed = figure.subplots(1, 2)
    draw_contours(overlaid, case, _legend(case))
    shown = draw_change(signed, case, "counterfactual minus original\nred: brighter, blue: darker")
    bar = figure.colorbar(shown, cax=signed.inset_axes((1.03, 0, 0.04, 1)))
    bar.ax.tick_params(labelsize=SMALL)
    bar.set_label("share of the grey range", fontsize=SMALL)
    return figure


def _legend(case: Case) -> str:
    lungs = "yellow: lungs" if case.lungs is not None else "lungs not outlined"
    return f"where the original changes most\nred: brighter, blue: darker, {lungs}"


def strengths_figure(case: Case) -> Figure:
    """The images at growing strengths of the change, and what the models make of them."""
    figure = Figure(figsize=(9.2, 4.4), layout="constrained")
    strip, curve = figure.subplots(2, 1, height_ratios=(1.3, 2))
    draw_strip(strip, case.response)
    draw_curve(curve, case.response)
    legend_below(figure, curve, columns=6)
    return figure


def draws_figure(case: Case) -> Figure:
    """Every draw beside the factual."""
    captions = [
        f"draw {draw}: {found.outcome}" + (f", {found.verdict.verdict}" if found.verdict else "")
        for draw, found in enumerate(case.draws)
    ]
    factual = torch.stack([found.factual for found in case.draws])
    images = torch.stack([found.counterfactual for found in case.draws])
    return figures.grid(factual, [("counterfactual", images)], captions)
