"""A run on disk: what a search found, in a folder that can be read while and after it grows.

`config.yaml` says what was asked, `shards/*.safetensors` hold the images (one file a batch),
`samples.csv` one row a sample, `skipped.csv` the files that could not be read. A shard is
written before its rows, so an interrupted search leaves at most a shard without rows; resuming
removes it and searches its images again.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from jaxtyping import Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from cfgen.types import Images
from evaluation.tables import csv_text
from evaluation.writing import PARTIAL, append_to_file, make_folder, write_file

SAMPLE_COLUMNS = (
    "id",
    "path",
    "label",
    "source",
    "target",
    "outcome",
    "p_target_factual",
    "p_target",
    "steps",
    "evaluations",
    "prior_passes",
    "decodes",
    "seconds",
    "patient",
    "subgroup",
    "draw",
)
SKIPPED_COLUMNS = ("path", "reason")

Value = str | float | int | None
Row = dict[str, Value]

_INTEGERS = {"id", "steps", "evaluations", "prior_passes", "decodes", "draw"}
_FLOATS = {"p_target_factual", "p_target", "seconds"}
_CONFIG = "config.yaml"
_SAMPLES = "samples.csv"
_SKIPPED = "skipped.csv"


@dataclass(frozen=True)
class Run:
    """A finished run, read by `read_run`.

    Attributes:
        path: the run's folder.
        config: what was asked of the search, as in `config.yaml`.
        samples: one row a sample, in the order they were found, with typed values; a value that
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


def is_run(path: Path) -> bool:
    """Whether a folder holds a run, finished or not."""
    return (path / _CONFIG).is_file()


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
    config = _plain(config)
    if not is_run(path):
        _require_empty(path)
        make_folder(path / "shards")
        write_file(path / _SAMPLES, csv_text([], SAMPLE_COLUMNS))
        write_file(path / _CONFIG, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        return set()
    differences = _differences(_read_config(path), config)
    if differences:
        raise ValueError(
            f"expected the configuration of the run in {path}, got another:\n  "
            + "\n  ".join(differences)
            + "\nname another folder with --out, or remove this one."
        )
    make_folder(path / "shards")
    return _tidy(path)


def write_shard(
    run_path: Path,
    rows: Sequence[Mapping[str, Value]],
    ids: Int[Tensor, " n"],
    factual: Images,
    image: Images,
) -> None:
    """Add a batch to a run: its images first, then its rows.

    Args:
        run_path: a folder made by `create_run`.
        rows: one row an image, with the keys of `SAMPLE_COLUMNS`; a missing key is 'not known'.
        ids: the rows' ids.
        factual: the images before.
        image: the images after.

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
    tensors = {"id": torch.tensor(listed), "factual": factual, "image": image}
    # Cloned, for safetensors refuses a batch whose images are its factuals themselves.
    stored = {
        key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, tensor in tensors.items()
    }
    name = hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]
    write_file(run_path / "shards" / f"{name}.safetensors", save(stored))
    append_to_file(run_path / _SAMPLES, csv_text(rows, SAMPLE_COLUMNS, header=False))


def write_skipped(run_path: Path, rows: Sequence[Mapping[str, Value]]) -> None:
    """Write the list of the files that could not be read, replacing an earlier list.

    Args:
        run_path: a folder made by `create_run`.
        rows: `path` and `reason` of each file.

    Raises:
        ValueError: the disk is full or cannot be written.
    """
    write_file(run_path / _SKIPPED, csv_text(rows, SKIPPED_COLUMNS))


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
            f"expected a run, got {path}, which has no {_CONFIG}; name a folder that "
            "`cfgen search --out` made, or make one of another tool's pairs with `cfgen adopt`."
        )
    config = _read_config(path)
    samples = _read_rows(path / _SAMPLES)
    if not samples:
        raise ValueError(
            f"expected a run with samples, got {path} without any; see its {_SKIPPED}, or run "
            "the same search again to finish it."
        )
    shards = {shard: _shard_ids(shard) for shard in (path / "shards").glob("*.safetensors")}
    held = [i for ids in shards.values() for i in ids]
    rank = {_id(row): position for position, row in enumerate(samples)}
    if sorted(held) != sorted(rank) or len(rank) != len(samples):
        raise ValueError(
            f"expected an image for each row of {path / _SAMPLES}, got {len(samples)} rows and "
            f"{len(held)} images that do not fit them: the search was interrupted or still "
            "runs; run the same search again to finish it."
        )
    ordered = sorted(shards, key=lambda shard: min(rank[i] for i in shards[shard]))
    skipped = _read_rows(path / _SKIPPED, SKIPPED_COLUMNS)
    return Run(path, config, samples, skipped, tuple(ordered))


def _tidy(path: Path) -> set[int]:
    """Remove what an interruption left half done; return the ids that are whole."""
    samples = path / _SAMPLES
    rows = {_id(row): row for row in _read_rows(samples)}
    whole: set[int] = set()
    for leftover in [*path.glob(f"*{PARTIAL}"), *(path / "shards").glob(f"*{PARTIAL}")]:
        leftover.unlink()
    for shard in sorted((path / "shards").glob("*.safetensors")):
        try:
            ids = set(_shard_ids(shard))
        except ValueError:
            ids = set()
        if ids and ids <= rows.keys() and not ids & whole:
            whole |= ids
        else:
            shard.unlink()
    kept = [row for i, row in rows.items() if i in whole]
    write_file(samples, csv_text(kept, SAMPLE_COLUMNS))
    return whole


def _id(row: Row) -> int:
    return int(row["id"] or 0)


def _shard_ids(shard: Path) -> list[int]:
    try:
        with safe_open(shard, framework="pt") as tensors:
            return [int(i) for i in tensors.get_tensor("id").tolist()]
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"expected a shard of images, got {shard}, which cannot be read ({error}); run the "
            "same search again to make it anew."
        ) from error


def _read_config(path: Path) -> dict:
    try:
        config = yaml.safe_load((path / _CONFIG).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ValueError(
            f"expected a configuration, got {path / _CONFIG}, which cannot be read ({error}); "
            "search again into another folder."
        ) from error
    if not isinstance(config, dict):
        raise ValueError(
            f"expected a mapping, got {type(config).__name__} in {path / _CONFIG}; search again "
            "into another folder."
        )
    return config


def _read_rows(path: Path, columns: Sequence[str] = SAMPLE_COLUMNS) -> list[Row]:
    """Read the rows that are whole: an interruption may have cut the last one."""
    if not path.is_file():
        return []
    text = path.read_bytes().decode("utf-8", errors="replace")
    lines = csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    header = next(lines, None)
    if header is not None and tuple(header) != tuple(columns):
        raise ValueError(
            f"expected the columns {', '.join(columns)} in {path}, got {', '.join(header)}; "
            "search again into another folder."
        )
    rows = [line for line in lines if len(line) == len(columns)]
    return [
        {column: _typed(path, column, text) for column, text in zip(columns, row, strict=True)}
        for row in rows
    ]


def lasting(path: str | Path) -> str:
    """Name a path so that the run can be evaluated from any directory."""
    found = Path(path).expanduser()
    return str(found.resolve()) if found.exists() else str(path)


def _typed(path: Path, column: str, text: str) -> Value:
    if text == "":
        return None
    try:
        if column in _INTEGERS:
            return int(text)
        return float(text) if column in _FLOATS else text
    except ValueError as error:
        raise ValueError(
            f"expected a number in column {column} of {path}, got {text!r}; search again into "
            "another folder."
        ) from error


def _plain(config: Mapping) -> dict:
    """Return the configuration as YAML will give it back."""
    return json.loads(json.dumps(dict(config), default=str))


def _flat(value: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    return {
        path: leaf
        for key, inner in value.items()
        for path, leaf in _flat(inner, f"{prefix}.{key}" if prefix else str(key)).items()
    }


def _differences(theirs: dict, ours: dict) -> list[str]:
    left, right = _flat(theirs), _flat(ours)
    return [
        f"{key}: there {left.get(key, 'nothing')!r}, asked {right.get(key, 'nothing')!r}"
        for key in sorted(left.keys() | right.keys())
        if (key in left, left.get(key)) != (key in right, right.get(key))
    ]


def _require_empty(path: Path) -> None:
    """Refuse what is there, but for the folder of a run that ended before its configuration."""
    if path.exists() and not path.is_dir():
        raise ValueError(f"expected a folder, got the file {path}; name another with --out.")
    if not path.is_dir():
        return
    strange = [
        item
        for item in path.iterdir()
        if item.name not in {_SAMPLES, "shards"} and item.suffix != PARTIAL
    ]
    if strange or any(path.glob("shards/*")):
        raise ValueError(
            f"expected an empty folder or a run, got {path}, which holds something else; name "
            "another with --out."
        )
