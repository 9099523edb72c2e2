"""How many images are searched together, and how many of them at once: as are asked for, or fit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeVar

import torch

_LOG = logging.getLogger(__name__)

POOL = 4
"""Batches that are searched together: as images are done, others of their pool take their place."""
FIRST = 16
LARGEST = 128
"""Batches whose size is to be found begin with `FIRST` images and have `LARGEST` at most."""
WORTH = 0.95
"""A larger batch is kept where an image takes at most this share of its time in a smaller one."""

Item = TypeVar("Item")
Found = TypeVar("Found")


def block_of(size: int | Literal["auto"], samples: int, processes: int) -> int:
    """Samples that are one process's business at a time, by which pools do not depend on it.

    >>> block_of(32, 1000, 2), block_of(32, 100, 4), block_of(32, 3, 8)
    (128, 25, 1)
    """
    wanted = POOL * (LARGEST if size == "auto" else size)
    return max(1, min(wanted, -(-samples // processes)))


class BatchSize:
    """Size of a process's batches: halved where memory does not suffice, found where it is to be.

    Args:
        size: images at once, or 'auto' to begin small and double as long as that is worth it.
    """

    def __init__(self, size: int | Literal["auto"]) -> None:
        self._growing = size == "auto"
        self.width = FIRST if size == "auto" else size
        self._best = float("inf")

    def search(
        self, items: Sequence[Item], search: Callable[[Sequence[Item], int], Found]
    ) -> Iterator[Found]:
        """Search all items, in as many pools as it takes, and yield what each has found.

        Args:
            items: to be searched.
            search: searches a pool of them, so many at once.

        Raises:
            ValueError: not even one item fits in memory.
        """
        place = 0
        while place < len(items):
            pool = items[place : place + self._pool]
            width = min(self.width, len(pool))
            began = time.perf_counter()
            found, refused = _tried(pool, width, search)
            if found is None:
                self._halve(width, refused)
                continue
            place += len(pool)
            yield found
            self._grow(len(pool), time.perf_counter() - began)

    @property
    def _pool(self) -> int:
        return POOL * self.width

    def _halve(self, tried: int, refused: str) -> None:
        self._growing = False
        if tried == 1:
            raise ValueError(
                f"expected memory for one image at a time, got none ({refused}); end other "
                "programs, or search smaller images"
            )
        self.width = tried // 2
        _LOG.warning("not enough memory for %d images at once: going on with %d", tried, self.width)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _grow(self, searched: int, seconds: float) -> None:
        if not self._growing or searched < self._pool:
            return
        each = seconds / searched
        if each > WORTH * self._best:
            self._growing, self.width = False, max(1, self.width // 2)
            return
        self._best, self.width = each, min(2 * self.width, LARGEST)
        self._growing = searched < self._pool


def _tried(
    pool: Sequence[Item], width: int, search: Callable[[Sequence[Item], int], Found]
) -> tuple[Found | None, str]:
    """Search a pool, or say why memory does not suffice; what the search held is let go."""
    try:
        return search(pool, width), ""
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
