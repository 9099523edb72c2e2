"""The samples of a run with their images, some at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cfgen.types import Images
from evaluation.runs import Row, Run


@dataclass(frozen=True)
class Batch:
    """Some samples of a run with their images."""

    rows: list[Row]
    factual: Images
    image: Images


def batches(run: Run, size: int, device: str) -> Iterator[Batch]:
    """Yield a run's samples with their images, at most `size` at a time.

    Raises:
        ValueError: the size is below 1.
    """
    if size < 1:
        raise ValueError(f"expected a batch of 1 image or more, got {size}; give 64, say")
    row_of = {row["id"]: row for row in run.samples}
    for ids, factual, image in run.images():
        parts = zip(ids.split(size), factual.split(size), image.split(size), strict=True)
        for some, before, after in parts:
            rows = [row_of[int(i)] for i in some.tolist()]
            yield Batch(rows, before.float().to(device), after.float().to(device))
