"""Draws the first cases of a run side by side, as a figure for a paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch

from cfgen.types import Image, Images
from evaluation import figures
from evaluation.runs import Row, Run, read_run


def gallery(
    run: Path, count: int = 12, beside: Path | None = None, out: Path | None = None
) -> Path:
    """Draw factual, counterfactual and difference of the first cases of a run.

    The order is the run's own, that of hashed file names with the classes in turn, so that nobody
    has picked them.

    Args:
        run: the run's folder.
        count: how many cases.
        beside: another run over the same images, whose counterfactuals are to stand beside.
        out: the figure's file, PNG or PDF; RUN/gallery.png by default.

    Returns:
        The figure's path.

    Raises:
        ValueError: there is no such run, the count is below 1, the other run lacks an image, or
            the file cannot be written.
    """
    runs = [read_run(path) for path in (run, beside) if path is not None]
    figure = figures.grid(*cases(runs, count))
    return figures.save(figure, out or run / "gallery.png")


def cases(runs: Sequence[Run], count: int) -> tuple[Images, list[tuple[str, Images]], list[str]]:
    """Return the first cases of a run: factuals, counterfactuals by method, captions.

    Args:
        runs: the run, and others over the same images.
        count: how many cases.

    Raises:
        ValueError: the count is below 1, or another run lacks an image.
    """
    if count < 1:
        raise ValueError(f"expected a count of 1 or more, got {count}; leave it out")
    main = runs[0]
    rows = {int(row["id"] or 0): row for row in main.samples[:count]}
    factual, _ = images_of(main, list(rows))
    found = [(_name(run), images_of(run, list(rows))[1]) for run in runs]
    return factual, found, [_caption(row) for row in rows.values()]


def images_of(run: Run, ids: Sequence[int]) -> tuple[Images, Images]:
    """Return factuals and counterfactuals of some samples, in their order.

    Args:
        run: of the images.
        ids: of the samples.

    Raises:
        ValueError: the run lacks one of them.
    """
    known: dict[int, tuple[Image, Image]] = {}
    for there, factual, image in run.images():
        known |= {
            identity: (factual[place], image[place])
            for place, identity in enumerate(there.tolist())
            if identity in ids
        }
        if len(known) == len(ids):
            break
    lacking = [identity for identity in ids if identity not in known]
    if lacking:
        raise ValueError(
            f"expected the images of the first run in {run.path} too, got none for "
            f"{len(lacking)} of {len(ids)}; search both on the same samples"
        )
    factuals, images = zip(*(known[identity] for identity in ids), strict=True)
    return torch.stack(factuals), torch.stack(images)


def _name(run: Run) -> str:
    return str(run.config.get("method") or run.path.name)


def _caption(row: Row) -> str:
    name = PurePosixPath(str(row["path"])).stem
    before, after = float(row["p_target_factual"] or 0), float(row["p_target"] or 0)
    return f"{name}: p({row['target']}) {before:.2f} to {after:.2f}"
