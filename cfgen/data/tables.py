"""Data sets described by a CSV table: the way CheXpert, NIH and MIMIC come."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from cfgen.data.files import file_of, load_file
from cfgen.data.samples import Sample, Source, agree_on_classes

_NEEDED = ("path", "label")
_OPTIONAL = ("patient", "split", "subgroup")

Row = dict[str, str]


def open_table(table: Path, classes: Sequence[str] | None = None) -> Source:
    """Open a CSV table with the columns path and label, and optionally patient, split, subgroup.

    The header may be in capitals; other columns are passed over. Paths are relative to the table's
    folder or absolute. Without the column split everything is in the split "all". Patients are
    compared across splits.

    Args:
        table: the file, in UTF-8.
        classes: names of all classes; without them, the labels that occur.

    Raises:
        ValueError: if a column or a value is missing, if a path comes twice, if a label is not
            among the classes, or if the table is empty or no CSV; the message names the line.
    """
    samples: dict[str, Sample] = {}
    for line, row in _rows(table):
        sample = _sample(table, line, row)
        if sample.path in samples:
            raise _wrong(table, line, f"the path {sample.path} once", "it again", "remove one")
        samples[sample.path] = sample
    if not samples:
        raise ValueError(f"expected rows below the header of {table}, got none; add some")
    labels = [str(sample.label) for sample in samples.values()]
    return Source(
        name=str(table),
        classes=agree_on_classes(str(table), labels, classes),
        samples=[samples[path] for path in sorted(samples)],
        load=partial(load_file, table.parent),
        content=partial(file_of, table.parent),
    )


def _rows(table: Path) -> list[tuple[int, Row]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip().lower() for name in next(reader, [])]
            _check_header(table, header)
            rows = []
            for values in reader:
                if not values:
                    continue
                if len(values) != len(header):
                    raise _wrong(
                        table,
                        reader.line_num,
                        f"{len(header)} values",
                        f"{len(values)}",
                        "quote values that hold a comma",
                    )
                stripped = [value.strip() for value in values]
                rows.append((reader.line_num, dict(zip(header, stripped, strict=True))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"expected a CSV table in UTF-8, got {table} ({error}); export it again"
        ) from error
    return rows


def _check_header(table: Path, header: list[str]) -> None:
    for name in _NEEDED:
        if name not in header:
            raise ValueError(
                f"expected the columns {' and '.join(_NEEDED)} in the header of {table}, got "
                f"{', '.join(header) or 'an empty file'}; add the column {name}"
            )
    repeated = [name for name in (*_NEEDED, *_OPTIONAL) if header.count(name) > 1]
    if repeated:
        raise ValueError(
            f"expected each column of {table} once, got {repeated[0]} twice; rename one of them"
        )


def _sample(table: Path, line: int, row: Row) -> Sample:
    for name in (*_NEEDED, "split"):
        if row.get(name) == "":
            raise _wrong(table, line, f"a {name}", "none", "fill it in or remove the line")
    path = PurePosixPath(row["path"].replace("\\", "/"))
    folder = PurePosixPath(table.parent.absolute().as_posix())
    if path.is_relative_to(folder):
        path = path.relative_to(folder)
    return Sample(
        path=str(path),
        label=row["label"],
        split=row.get("split", "all"),
        patient=row.get("patient") or None,
        subgroup=row.get("subgroup") or None,
    )


def _wrong(table: Path, line: int, expected: str, got: str, remedy: str) -> ValueError:
    return ValueError(f"expected {expected}, got {got} in line {line} of {table}; {remedy}")
