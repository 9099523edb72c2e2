"""Labels of points that may stand close together."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.text import Annotation

_STEP = 2.0
"""Points by which a label is raised until it is free."""


def keep_apart(figure: Figure, labels: Sequence[Annotation]) -> None:
    """Raise labels that would cover one another, the lowest first.

    Args:
        figure: the one they are drawn in, complete but for this.
        labels: of one pair of axes, placed in points from what they name.
    """
    figure.draw_without_rendering()
    placed = []
    for label in sorted(labels, key=lambda one: one.get_window_extent().y0):
        while any(label.get_window_extent().overlaps(other) for other in placed):
            across, up = label.xyann
            label.xyann = (across, up + _STEP)
        placed.append(label.get_window_extent())
