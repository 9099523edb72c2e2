"""Writing a run: begun or taken up, added to a pool at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from jaxtyping import Int
from torch import Tensor

from cfgen.types import ALL, Images, portions
from evaluation.runs.cells import cells_of
from evaluation.runs.config import is_run, plain, require_same
from evaluation.runs.format import (
    CONFIG,
    SAMPLE_COLUMNS,
    SAMPLES,
    SHARDS,
    SKIPPED,
    SKIPPED_COLUMNS,
    Value,
    table_of,
    tables_of,
)
from evaluation.runs.shards import save_shard, shard_ids, shards_of
from evaluation.tables import csv_text
from evaluation.writing import PARTIAL, append_to_file, make_folder, write_file, write_rows


def create_run(path: Path, config: Mapping) -> set[int]:
    """Make a run's folder, or take up the one that is there where it was asked the same.

    Args:
        path: the folder; made with its parents where it is missing.
        config: everything that determines the run. Values that are neither numbers, texts,
            lists nor mappings are stored as text.

    Returns:
        The ids that are finished already: none for a new run.

    Raises:
        ValueError: the folder holds a run of another configuration, or something else, or it
            cannot be written.
    """
    begin_run(path, config)
    return tidy_run(path)


def begin_run(path: Path, config: Mapping) -> None:
    """Make a run's folder, or see that the one that is there was asked the same.

    Raises:
        ValueError: as `create_run`.
    """
    asked = plain(config)
    if is_run(path):
        require_same(path, asked)
        make_folder(path / SHARDS)
        return
    _require_empty(path)
    make_folder(path / SHARDS)
    write_file(table_of(path, SAMPLES), csv_text([], SAMPLE_COLUMNS))
    write_file(path / CONFIG, yaml.safe_dump(asked, sort_keys=False, allow_unicode=True))


def begin_part(path: Path, rank: int) -> None:
    """Make the table that a further process appends its rows to.

    Raises:
        ValueError: the disk is full or cannot be written.
    """
    write_file(table_of(path, SAMPLES, rank), csv_text([], SAMPLE_COLUMNS))


def tidy_run(path: Path) -> set[int]:
    """Remove what an interruption left half done; return the ids that are whole.

    Raises:
        ValueError: the disk is full or cannot be written, or a table is none of a run's.
    """
    for leftover in [*path.glob(f"*{PARTIAL}"), *(path / SHARDS).glob(f"*{PARTIAL}")]:
        leftover.unlink()
    tables = tables_of(path, SAMPLES)
    listed = {int(cells[0]) for cells in _cells(tables)}
    whole: set[int] = set()
    for shard in sorted(shards_of(path)):
        try:
            ids = set(shard_ids(shard))
        except ValueError:
            ids = set()
        if ids and ids <= listed and not ids & whole:
            whole |= ids
        else:
            shard.unlink()
    write_rows(table_of(path, SAMPLES), SAMPLE_COLUMNS, _once(_cells(tables), whole))
    for table in [*tables_of(path, SAMPLES)[1:], *tables_of(path, SKIPPED)[1:]]:
        table.unlink()
    return whole


def write_shards(
    run_path: Path,
    rows: Sequence[Mapping[str, Value]],
    ids: Int[Tensor, " n"],
    factual: Images,
    image: Images,
    rank: int = 0,
    size: int = ALL,
) -> None:
    """Add images to a run: a shard for each batch of them first, then all their rows.

    Args:
        run_path: a folder made by `create_run`.
        rows: one row an image, with the keys of `SAMPLE_COLUMNS`; a missing key is 'not known'.
        ids: the rows' ids.
        factual: the images before.
        image: the images after.
        rank: of the process that adds them, which has a table of its own.
        size: of the batches.

    Raises:
        ValueError: the rows do not fit the images, or the disk is full or cannot be written.
    """
    listed = [int(i) for i in ids.tolist()]
    if listed != [row.get("id") for row in rows] or not len(listed) == len(factual) == len(image):
        raise ValueError(
            f"expected one row an image with the id of that image, got {len(rows)} rows, "
            f"{len(listed)} ids, {len(factual)} factuals and {len(image)} images; pass them "
            "in the same order."
        )
    unknown = sorted({key for row in rows for key in row} - set(SAMPLE_COLUMNS))
    if unknown:
        raise ValueError(
            f"expected the columns {', '.join(SAMPLE_COLUMNS)}, got also {', '.join(unknown)}; "
            "leave them out."
        )
    for some in portions(len(ids), size):
        save_shard(run_path, ids[some].tolist(), factual[some], image[some])
    append_to_file(table_of(run_path, SAMPLES, rank), csv_text(rows, SAMPLE_COLUMNS, header=False))


def write_skipped(run_path: Path, rows: Sequence[Mapping[str, Value]], rank: int = 0) -> None:
    """Write the list of the files that could not be read, replacing an earlier list.

    Args:
        run_path: a folder made by `create_run`.
        rows: `path` and `reason` of each file.
        rank: of the process that met them, which has a list of its own.

    Raises:
        ValueError: the disk is full or cannot be written.
    """
    write_file(table_of(run_path, SKIPPED, rank), csv_text(rows, SKIPPED_COLUMNS))


def _cells(tables: Sequence[Path]) -> Iterator[list[str]]:
    return (
        cells
        for table in tables
        for cells in cells_of(table, SAMPLE_COLUMNS)
        if cells[0].isdecimal()
    )


def _once(rows: Iterator[list[str]], wanted: set[int]) -> Iterator[list[str]]:
    """Yield the wanted rows, each the first time it comes."""
    left = set(wanted)
    for cells in rows:
        if int(cells[0]) in left:
            left.remove(int(cells[0]))
            yield cells


def _require_empty(path: Path) -> None:
    """Refuse what is there, but for the folder of a run that ended before its configuration."""
    if path.exists() and not path.is_dir():
        raise ValueError(f"expected a folder, got the file {path}; name another with --out.")
    if not path.is_dir():
        return
    own = {table_of(path, SAMPLES).name, SHARDS}
    strange = [item for item in path.iterdir() if item.name not in own and item.suffix != PARTIAL]
    if strange or any(path.glob(f"{SHARDS}/*")):
        raise ValueError(
            f"expected an empty folder or a run, got {path}, which holds something else; name "
            "another with --out."
        )
