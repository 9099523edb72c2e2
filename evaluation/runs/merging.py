"""Ending a run: the tables of its processes become one, in the order of the samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from evaluation.runs.cells import cells_of, rows_of
from evaluation.runs.format import (
    SAMPLE_COLUMNS,
    SAMPLES,
    SKIPPED,
    SKIPPED_COLUMNS,
    Row,
    table_of,
    tables_of,
)
from evaluation.writing import write_rows

Key = TypeVar("Key", int, str)


def finish_run(path: Path, ids: Sequence[int], paths: Sequence[str]) -> tuple[int, list[Row]]:
    """Put a run's rows in the order of its samples, whoever searched them and when.

    A run whose rows stand in order already is left as it is.

    Args:
        path: a folder made by `create_run`, to which no other process writes any more.
        ids: of all samples, in their order.
        paths: of the same samples.

    Returns:
        The number of samples that were searched, and the rows of those that cannot be read.

    Raises:
        ValueError: the disk is full or cannot be written.
    """
    _merge(path, SAMPLES, SAMPLE_COLUMNS, ids, int)
    _merge(path, SKIPPED, SKIPPED_COLUMNS, paths, str)
    found = sum(1 for _ in cells_of(table_of(path, SAMPLES), SAMPLE_COLUMNS))
    return found, list(rows_of(table_of(path, SKIPPED), SKIPPED_COLUMNS))


def _merge(
    path: Path, name: str, columns: Sequence[str], order: Sequence[Key], key: Callable[[str], Key]
) -> None:
    first, *others = tables_of(path, name)

    def rows() -> Iterator[list[str]]:
        return (cells for table in (first, *others) for cells in cells_of(table, columns))

    if others or not _in_order((key(cells[0]) for cells in rows()), order):
        place = {one: number for number, one in enumerate(order)}
        ordered = sorted(rows(), key=lambda cells: place[key(cells[0])])
        write_rows(table_of(path, name), columns, ordered)
    for table in others:
        table.unlink()


def _in_order(keys: Iterator[Key], order: Sequence[Key]) -> bool:
    """Whether the keys are some of those in `order`, as they stand there."""
    left = iter(order)
    return all(key in left for key in keys)
