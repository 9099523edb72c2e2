"""Pairs of images in arrays: an .npz or .safetensors file, or two .npy files."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open

from cfgen.digests import digest_of
from cfgen.types import Image
from evaluation.pairs.folder import COLUMNS, SIDES, Pair, Pairs, both, checked


class _Stack(NamedTuple):
    """Images one after the other, in memory or on disk, and how one is read."""

    shape: tuple[int, ...]
    read: Callable[[int], Shaped[np.ndarray, ...]]


def open_arrays(paths: Sequence[Path], classes: Sequence[str]) -> Pairs:
    """Open arrays `factual` and `counterfactual`, (n, h, w) or (n, 1, h, w), floats in [0, 1].

    Beside them a file may hold one value a pair of `name`, `target`, `label`, `patient` and
    `subgroup`: texts, or numbers, which for target and label are places among the classes. Without
    names pairs are called by their place, 00000 and on. An .npz is held in memory; the images of
    the others stay on disk until they are asked for.

    Args:
        paths: one .npz or .safetensors file, or two .npy files, the factuals' first.
        classes: the bundle's.

    Raises:
        ValueError: a file cannot be read, an array is missing, or they do not fit each other.
    """
    stacks, columns = _open(paths)
    where = ", ".join(str(path) for path in paths)
    for side in SIDES:
        shape = stacks[side].shape
        if len(shape) not in (3, 4) or (len(shape) == 4 and shape[1] != 1):
            raise ValueError(
                f"expected {side} as grey images, (n, h, w) or (n, 1, h, w), got {shape} in "
                f"{where}; average the channels, or move them to the front."
            )
    counts = {side: stacks[side].shape[0] for side in SIDES} | {
        name: len(column) for name, column in columns.items()
    }
    if len(set(counts.values())) != 1 or not counts["factual"]:
        listed = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise ValueError(f"expected one of each a pair, got {listed} in {where}; save them again.")
    texts = {name: _texts(column, name, classes, where) for name, column in columns.items()}
    names = texts.pop("name", [f"{place:05d}" for place in range(counts["factual"])])
    if len(set(names)) != len(names):
        raise ValueError(f"expected names that differ, got some twice in {where}; correct them.")
    pairs = [
        Pair(str(name), partial(_load, stacks, place, f"{where}, pair {name}"), **known)
        for place, (name, known) in enumerate(zip(names, _rows(texts, len(names)), strict=True))
    ]
    return Pairs(pairs, hashlib.sha256(b"".join(map(digest_of, paths))).hexdigest())


def _rows(texts: Mapping[str, Sequence[str | None]], count: int) -> list[dict[str, str | None]]:
    return [{name: column[place] for name, column in texts.items()} for place in range(count)]


def _load(stacks: Mapping[str, _Stack], place: int, name: str) -> tuple[Image, Image]:
    factual, image = (checked(stacks[side].read(place), name) for side in SIDES)
    return both(factual, image, name)


def _open(paths: Sequence[Path]) -> tuple[dict[str, _Stack], dict[str, np.ndarray]]:
    suffixes = [path.suffix.lower() for path in paths]
    try:
        if suffixes == [".npy", ".npy"]:
            arrays = [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]
            return _parted(dict(zip(SIDES, arrays, strict=True)))
        if suffixes == [".npz"]:
            return _parted(_read_npz(paths[0]))
        if suffixes == [".safetensors"]:
            return _read_safetensors(paths[0])
    except (
        ValueError,
        OSError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        SafetensorError,
    ) as error:
        raise ValueError(
            f"expected arrays {' and '.join(SIDES)} in {', '.join(map(str, paths))}, got what "
            f"cannot be read ({error}); save them again."
        ) from error
    raise ValueError(
        "expected a folder of pairs, an .npz or .safetensors file, or two .npy files, got "
        f"{', '.join(map(str, paths)) or 'none'}; check the path."
    )


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if name in (*SIDES, *COLUMNS)}


def _parted(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, _Stack], dict[str, np.ndarray]]:
    _require(list(arrays))
    stacks = {side: _Stack(arrays[side].shape, arrays[side].__getitem__) for side in SIDES}
    return stacks, {name: arrays[name] for name in COLUMNS if name in arrays}


def _read_safetensors(path: Path) -> tuple[dict[str, _Stack], dict[str, np.ndarray]]:
    with safe_open(path, framework="pt") as file:
        held = set(file.keys())
        _require(sorted(held))
        columns = {name: file.get_tensor(name).numpy() for name in COLUMNS if name in held}
    return {side: _on_disk(path, side) for side in SIDES}, columns


def _on_disk(path: Path, name: str) -> _Stack:
    # The slice keeps the file open for as long as it is there itself.
    stored = safe_open(path, framework="pt").get_slice(name)

    def read(place: int) -> Shaped[np.ndarray, ...]:
        tensor = stored[place]
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy()

    return _Stack(tuple(stored.get_shape()), read)


def _require(names: Sequence[str]) -> None:
    missing = [side for side in SIDES if side not in names]
    if missing:
        raise ValueError(f"no {' and no '.join(missing)}, only {', '.join(names) or 'nothing'}")


def _texts(column: np.ndarray, name: str, classes: Sequence[str], where: str) -> list[str | None]:
    """Values as texts; a number of a target or label that is no class stays one, to be refused."""
    if column.dtype.kind not in "iuU" or column.size != len(column):
        raise ValueError(
            f"expected one text or whole number a pair for {name}, got {column.dtype} "
            f"{column.shape} in {where}; save it so."
        )
    values = column.ravel().tolist()
    if column.dtype.kind != "U" and name in ("target", "label"):
        within = range(len(classes))
        values = [classes[value] if value in within else value for value in values]
    return [None if value == "" else str(value) for value in values]
