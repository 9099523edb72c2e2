"""What changes over a cohort: mean maps of the change, and the kinds that the changes fall into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from matplotlib.figure import Figure
from torch.nn.functional import adaptive_avg_pool2d

from cfgen.metrics import kmeans, mean_pairwise_cosine, silhouette
from cfgen.types import Image, Images
from evaluation.audit.lines import Line, plain
from evaluation.batches import batches
from evaluation.figures.style import DIVERGING, SMALL, TEXT, literal
from evaluation.runs import Run
from evaluation.summary import attempted, target_of

SECTION = "Patterns"
SIDE = 16
"""Pixels a side of the changes that are clustered: where something changed, not its texture."""
MOST_CHANGES = 1000
"""Changes a target that are clustered, at most: their distances are held all together."""
MOST_KINDS = 5
"""Kinds that a reader can still hold apart; among 2 to this many the silhouette chooses."""
STRUCTURE = 0.25
"""Silhouette below which clusters are no substantial structure (Kaufman and Rousseeuw 1990)."""


class Pattern(NamedTuple):
    """The changes of a target together.

    Attributes:
        target: name of the class.
        mean: of the changes, signed.
        magnitude: mean of the absolute changes.
        kinds: mean change of each kind, from the most frequent on; one where there is no structure.
        sizes: how many changes each kind has.
        alike: mean pairwise cosine of the changes of each kind; NaN for one change.
        silhouette: of the kinds; NaN for one.
    """

    target: str
    mean: Image
    magnitude: Image
    kinds: list[Image]
    sizes: list[int]
    alike: list[float]
    silhouette: float


def patterns(run: Run) -> list[Pattern]:
    """Return each target's pattern, of the first `MOST_CHANGES` attempted that changed at all."""
    return [_pattern(target, changes) for target, changes in sorted(_changes(run).items())]


def pattern_lines(found: Sequence[Pattern]) -> Iterator[Line]:
    """Yield how many changes each kind has, and how alike they are."""
    for one in found:
        total = sum(one.sizes)
        for place, (size, alike) in enumerate(zip(one.sizes, one.alike, strict=True), start=1):
            row = f"to {one.target}, kind {place} of {len(one.sizes)}"
            yield plain(SECTION, row, "share of the changes", size / total, size)
            if size > 1:
                yield plain(SECTION, row, "pairwise cosine", alike, size)
            if len(one.sizes) > 1:
                yield plain(SECTION, row, "silhouette of the kinds", one.silhouette, size)


def pattern_figure(found: Sequence[Pattern]) -> Figure:
    """Draw a row a target: the mean change, the mean absolute change, and every kind's mean."""
    columns = 2 + max(len(one.kinds) for one in found)
    figure = Figure(figsize=(1.7 * columns, 2.0 * len(found) + 0.3), layout="constrained")
    shown = figure.subplots(len(found), columns, squeeze=False)
    for axes, one in zip(shown, found, strict=True):
        for empty in axes:
            empty.set_axis_off()
        kinds = [
            (f"kind {place}, n = {size}", kind)
            for place, (kind, size) in enumerate(zip(one.kinds, one.sizes, strict=True), start=1)
        ]
        maps = [(f"to {one.target}: mean", one.mean), ("mean absolute", one.magnitude), *kinds]
        for panel, (title, picture) in zip(axes, maps, strict=False):
            # Each on a scale of its own: a mean over many is much fainter than one of a few.
            end = float(picture.abs().max()) or 1e-3
            panel.imshow(picture[0].numpy(), cmap=DIVERGING, vmin=-end, vmax=end)
            panel.set_title(literal(f"{title}\nends at {end:.3f}"), fontsize=SMALL)
    figure.suptitle("red: brighter, blue: darker", fontsize=TEXT)
    return figure


def _changes(run: Run) -> dict[str, Images]:
    found: dict[str, list[Image]] = {}
    for batch in batches(run, 64, "cpu"):
        for row, change in zip(batch.rows, batch.image - batch.factual, strict=True):
            some = found.setdefault(target_of(row), [])
            if attempted(row) and change.any() and len(some) < MOST_CHANGES:
                some.append(change)
    return {target: torch.stack(some) for target, some in found.items() if some}


def _pattern(target: str, changes: Images) -> Pattern:
    labels, width = kinds_of(changes)
    kinds = [changes[torch.from_numpy(labels == kind)] for kind in np.unique(labels)]
    return Pattern(
        target,
        changes.mean(0),
        changes.abs().mean(0),
        [some.mean(0) for some in kinds],
        [len(some) for some in kinds],
        [mean_pairwise_cosine(some) for some in kinds],
        width,
    )


def kinds_of(changes: Images) -> tuple[Int[np.ndarray, " batch"], float]:
    """Return the kind of each change and the kinds' silhouette; one kind where it is below 0.25.

    k-means of the changes, averaged to 16 pixels a side and scaled to an L2 of 1, so that what is
    compared is where and in which direction something changed, and not how strongly.
    """
    coarse = adaptive_avg_pool2d(changes, SIDE).flatten(1).double()
    points = (coarse / coarse.norm(dim=1, keepdim=True).clamp(min=1e-12)).numpy()
    best, width = np.zeros(len(points), dtype=np.int64), float("nan")
    bar = STRUCTURE
    for k in range(2, min(MOST_KINDS, len(points) - 1) + 1):
        labels = kmeans(points, k)
        found = silhouette(points, labels)
        if found >= bar:
            best, width, bar = labels, found, found
    return best, width
