"""Rows of a run's tables, read one at a time: a table may be long, and its last row cut."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from evaluation.runs.format import Row, typed


def cells_of(table: Path, columns: Sequence[str]) -> Iterator[list[str]]:
    """Yield the rows of a table that are whole, as texts; none where there is no table.

    Raises:
        ValueError: the table has other columns.
    """
    if not table.is_file():
        return
    with table.open(encoding="utf-8", errors="replace", newline="") as file:
        lines = csv.reader(_whole(file))
        header = next(lines, None)
        if header is not None and tuple(header) != tuple(columns):
            raise ValueError(
                f"expected the columns {', '.join(columns)} in {table}, got {', '.join(header)}; "
                "search again into another folder."
            )
        yield from (cells for cells in lines if len(cells) == len(columns))


def rows_of(table: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a table that are whole, with typed values.

    Raises:
        ValueError: the table has other columns, or a text where a number belongs.
    """
    for cells in cells_of(table, columns):
        named = zip(columns, cells, strict=True)
        yield {column: typed(table, column, text) for column, text in named}


def _whole(file: TextIO) -> Iterator[str]:
    """Yield all lines but a last one that was cut, which has no end."""
    return (line for line in file if line.endswith(("\n", "\r")))
