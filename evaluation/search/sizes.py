"""How many images are searched at once: as many as are asked for, or as fit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeVar

import torch

_LOG = logging.getLogger(__name__)

FIRST = 16
LARGEST = 256
"""Batches whose size is to be found begin with `FIRST` images and have `LARGEST` at most."""
WORTH = 0.95
"""A larger batch is kept where an image takes at most this share of its time in a smaller one."""

Item = TypeVar("Item")
Found = TypeVar("Found")


def block_of(size: int | Literal["auto"], samples: int, processes: int) -> int:
    """Samples that are one process's business at a time, by which batches do not depend on it.

    >>> block_of(64, 1000, 2), block_of(64, 100, 4), block_of(64, 3, 8)
    (64, 25, 1)
    """
    wanted = LARGEST if size == "auto" else size
    return max(1, min(wanted, -(-samples // processes)))


class BatchSize:
    """Size of a process's batches: halved where memory does not suffice, found where it is to be.

    Args:
        size: images at once, or 'auto' to begin small and double as long as that is worth it.
        block: images at most.
    """

    def __init__(self, size: int | Literal["auto"], block: int) -> None:
        self.limit = min(FIRST, block) if size == "auto" else block
        self._growing = size == "auto"
        self._block, self._best = block, float("inf")

    def search(
        self, items: Sequence[Item], search: Callable[[Sequence[Item]], Found]
    ) -> Iterator[Found]:
        """Search all items, in as many batches as it takes, and yield what each has found.

        Raises:
            ValueError: not even one item fits in memory.
        """
        place = 0
        while place < len(items):
            batch = items[place : place + self.limit]
            began = time.perf_counter()
            found, refused = _tried(batch, search)
            if found is None:
                self._halve(len(batch), refused)
                continue
            place += len(batch)
            yield found
            self._grow(len(batch), time.perf_counter() - began)

    def _halve(self, tried: int, refused: str) -> None:
        self._growing = False
        if tried == 1:
            raise ValueError(
                f"expected memory for one image at a time, got none ({refused}); end other "
                "programs, or search smaller images"
            )
        self.limit = tried // 2
        _LOG.warning("not enough memory for %d images at once: going on with %d", tried, self.limit)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _grow(self, searched: int, seconds: float) -> None:
        if not self._growing or searched < self.limit:
            return
        each = seconds / searched
        if each > WORTH * self._best:
            self._growing, self.limit = False, max(1, self.limit // 2)
            return
        self._best, self.limit = each, min(2 * self.limit, self._block)
        self._growing = searched < self.limit


def _tried(
    batch: Sequence[Item], search: Callable[[Sequence[Item]], Found]
) -> tuple[Found | None, str]:
    """Search a batch, or say why memory does not suffice; what the search held is let go."""
    try:
        return search(batch), ""
    except Exception as error:
        if not out_of_memory(error):
            raise
        return None, " ".join(str(error).split())


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory did not suffice, on a GPU or beside it."""
    told = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError)
        and any(
            words in told for words in ("not enough memory", "allocate memory", "out of memory")
        )
    )
