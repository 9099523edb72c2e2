"""Reading a run: its rows at once, its images a shard at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Int
from safetensors.torch import load_file
from torch import Tensor

from cfgen.types import Images
from evaluation.runs.cells import rows_of
from evaluation.runs.config import is_run, read_config
from evaluation.runs.format import (
    CONFIG,
    SAMPLE_COLUMNS,
    SAMPLES,
    SKIPPED,
    SKIPPED_COLUMNS,
    Row,
    table_of,
    tables_of,
)
from evaluation.runs.shards import shard_ids, shards_of


@dataclass(frozen=True)
class Run:
    """A finished run, read by `read_run`.

    Attributes:
        path: the run's folder.
        config: what was asked of the search, as in `config.yaml`.
        samples: one row a sample, in the order of the search, with typed values; a value that
            is not known is None.
        skipped: one row a file that could not be read: `path` and `reason`.
        shards: the files of the images, in the order of the samples.
    """

    path: Path
    config: dict
    samples: list[Row]
    skipped: list[Row]
    shards: tuple[Path, ...]

    def images(self) -> Iterator[tuple[Int[Tensor, " n"], Images, Images]]:
        """Yield ids, factuals and counterfactuals, one shard at a time."""
        for shard in self.shards:
            tensors = load_file(shard)
            yield tensors["id"], tensors["factual"], tensors["image"]


def read_run(path: Path) -> Run:
    """Read a run; its images stay on disk until they are asked for.

    Args:
        path: the run's folder.

    Raises:
        ValueError: nothing is there, or it is not a run, or one without samples, or a run whose
            shards and rows do not fit each other.
    """
    if not path.is_dir():
        raise ValueError(f"expected the folder of a run, got {path}, which is none; check it.")
    if not is_run(path):
        raise ValueError(
            f"expected a run, got {path}, which has no {CONFIG}; name a folder that "
            "`cfgen search --out` made, or make one of another tool's pairs with `cfgen adopt`."
        )
    config = read_config(path)
    samples = _rows(path, SAMPLES, SAMPLE_COLUMNS)
    if not samples:
        raise ValueError(
            f"expected a run with samples, got {path} without any; see its "
            f"{table_of(path, SKIPPED).name}, or run the same search again to finish it."
        )
    shards = {shard: shard_ids(shard) for shard in shards_of(path)}
    held = [i for ids in shards.values() for i in ids]
    rank = {_id(row): position for position, row in enumerate(samples)}
    if sorted(held) != sorted(rank) or len(rank) != len(samples):
        raise ValueError(
            f"expected an image for each row of {table_of(path, SAMPLES)}, got {len(samples)} "
            f"rows and {len(held)} images that do not fit them: the search was interrupted or "
            "still runs; run the same search again to finish it."
        )
    ordered = sorted(shards, key=lambda shard: min(rank[i] for i in shards[shard]))
    skipped = _rows(path, SKIPPED, SKIPPED_COLUMNS)
    return Run(path, config, samples, skipped, tuple(ordered))


def _rows(path: Path, name: str, columns: tuple[str, ...]) -> list[Row]:
    return [row for table in tables_of(path, name) for row in rows_of(table, columns)]


def _id(row: Row) -> int:
    return int(row["id"] or 0)
