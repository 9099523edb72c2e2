"""What an audit found, line by line: written as CSV, shown as tables."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cfgen.metrics import Estimate
from evaluation.summary import finite
from evaluation.tables import Cell, csv_text, interval, markdown

FILE = "audit.csv"


class Line(NamedTuple):
    """A number of an audit.

    Attributes:
        section: its table.
        row: of the table.
        measure: its column.
        mean: the number; None where it is not known.
        low: lower end of its 95 % interval; None where it has none.
        high: upper end.
        n: samples it is of.
    """

    section: str
    row: str
    measure: str
    mean: float | None
    low: float | None
    high: float | None
    n: int


def line(section: str, row: str, measure: str, known: Estimate) -> Line:
    """Return an estimate as a line."""
    values = finite(known)
    return Line(section, row, measure, values["mean"], values["low"], values["high"], known.n)


def plain(section: str, row: str, measure: str, value: float | None, n: int) -> Line:
    """Return a number without an interval as a line."""
    return Line(section, row, measure, value, None, None, n)


def lines_csv(lines: Sequence[Line]) -> str:
    """Write lines without rounding."""
    rows: list[dict[str, Cell]] = [one._asdict() for one in lines]
    return csv_text(rows, Line._fields)


def read_lines(run: Path) -> list[Line]:
    """Read the lines of a run's audit; none where it was not audited."""
    path = run / FILE
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    numbers = ("mean", "low", "high")
    return [
        Line(
            row["section"],
            row["row"],
            row["measure"],
            *(float(row[name]) if row[name] else None for name in numbers),
            n=int(row["n"]),
        )
        for row in rows
    ]


class Table(NamedTuple):
    """A table's heads, and its rows by head."""

    heads: list[str]
    rows: list[dict[str, str]]


def cells(lines: Sequence[Line], section: str) -> Table:
    """Return a section's table; a cell says its n where that is not the row's."""
    rows: dict[str, dict[str, str]] = {}
    most: dict[str, int] = {}
    own = [one for one in lines if one.section == section]
    for one in own:
        most[one.row] = max(most.get(one.row, 0), one.n)
    for one in own:
        row = rows.setdefault(one.row, {"": one.row, "n": str(most[one.row])})
        text = interval({"mean": one.mean, "low": one.low, "high": one.high})
        row[one.measure] = text if one.n in (0, most[one.row]) else f"{text} (n = {one.n})"
    heads = dict.fromkeys(head for row in rows.values() for head in row)
    return Table(list(heads), list(rows.values()))


def section_table(lines: Sequence[Line], section: str) -> str:
    """Write a section's table for reading."""
    heads, rows = cells(lines, section)
    return markdown(rows, heads)
