"""How different the counterfactuals are that were drawn of one image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor

from cfgen import metrics
from evaluation.batches import batches
from evaluation.runs import Row, Run
from evaluation.summary import attempted, finite, group_of, target_of

DEFINITION = (
    "of the draws of one image (all attempted): mean of 1 - cosine of any two of their changes, "
    "and of the L2 distance of any two of the counterfactuals; higher is more diverse"
)


def diversity_of_draws(run: Run, batch_size: int = 64) -> dict[str, dict]:
    """Return by target how different the draws of an image are; nothing for single draws.

    Args:
        run: of `cfgen search --draws`.
        batch_size: images that are read at once.
    """
    found: dict[str, list[tuple[float, float, str]]] = {}
    for row, drawn in _drawn(run, batch_size):
        known = metrics.diversity(torch.stack(drawn)[None])
        values = (float(known.cosine), float(known.l2), str(group_of(row)))
        found.setdefault(target_of(row), []).append(values)
    return {target: _summed(values) for target, values in sorted(found.items())}


def _drawn(run: Run, batch_size: int) -> Iterator[tuple[Row, list[Tensor]]]:
    """Yield the changes of each image of which several were drawn, once they are all read."""
    wanted = Counter(_key(row) for row in run.samples if attempted(row))
    waiting: dict[tuple[object, str], list[Tensor]] = {}
    for batch in batches(run, batch_size, "cpu"):
        for row, change in zip(batch.rows, batch.image - batch.factual, strict=True):
            if attempted(row) and wanted[_key(row)] > 1:
                so_far = waiting.setdefault(_key(row), [])
                so_far.append(change)
                if len(so_far) == wanted[_key(row)]:
                    yield row, waiting.pop(_key(row))


def _key(row: Row) -> tuple[object, str]:
    return row["path"], target_of(row)


def _summed(values: list[tuple[float, float, str]]) -> dict:
    cosines, lengths, groups = (list(column) for column in zip(*values, strict=True))
    return {
        "n": len(values),
        "cosine": finite(metrics.estimate(cosines, groups)),
        "l2": finite(metrics.estimate(lengths, groups)),
    }
