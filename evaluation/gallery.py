"""Draws the first cases of a run side by side, as a figure for a paper."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import torch

from evaluation import figures
from evaluation.runs import Row, read_run


def gallery(run: Path, count: int = 12, out: Path | None = None) -> Path:
    """Draw factual, counterfactual and difference of the first cases of a run.

    The order is the run's own, that of hashed file names with the classes in turn, so that nobody
    has picked them.

    Args:
        run: the run's folder.
        count: how many cases.
        out: the figure's file, PNG or PDF; RUN/gallery.png by default.

    Returns:
        The figure's path.

    Raises:
        ValueError: there is no such run, the count is below 1, or the file cannot be written.
    """
    if count < 1:
        raise ValueError(f"expected a count of 1 or more, got {count}; leave it out for 12")
    found = read_run(run)
    rows = {row["id"]: row for row in found.samples[:count]}
    chosen, factuals, images = [], [], []
    for ids, factual, image in found.images():
        for place, identity in enumerate(ids.tolist()):
            if identity in rows:
                chosen.append(rows[identity])
                factuals.append(factual[place])
                images.append(image[place])
        if len(chosen) == len(rows):
            break
    figure = figures.grid(
        torch.stack(factuals), torch.stack(images), [_caption(row) for row in chosen]
    )
    return figures.save(figure, out or run / "gallery.png")


def _caption(row: Row) -> str:
    name = PurePosixPath(str(row["path"])).stem
    before, after = float(row["p_target_factual"] or 0), float(row["p_target"] or 0)
    return f"{name}: p({row['target']}) {before:.2f} to {after:.2f}"
