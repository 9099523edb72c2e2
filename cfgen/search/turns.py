"""Batches that stay full: whoever is done makes room for one that waits."""

from __future__ import annotations

from collections.abc import Callable

import torch

from cfgen.types import Going, Rows


def take_turns(rows: Rows, width: int, step: Callable[[Rows], Going]) -> None:
    """Let rows take steps, at most `width` of them at a time, until none is left.

    Args:
        rows: of a pool.
        width: most rows that take a step together.
        step: lets some rows take one; returns those that are to take another.

    Example:
        >>> left = torch.tensor([1, 3, 2])
        >>> def step(rows):
        ...     left[rows] -= 1
        ...     print(rows.tolist())
        ...     return rows[left[rows] > 0]
        >>> take_turns(torch.arange(3), 2, step)
        [0, 1]
        [1, 2]
        [1, 2]
    """
    while len(rows):
        rows = torch.cat([step(rows[:width]), rows[width:]])
