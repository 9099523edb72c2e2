"""Pairs of images that any tool made: a folder of files, or arrays; read one pair at a time."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from cfgen.data.files import SUFFIXES, read_image
from cfgen.data.pixels import UnreadableImage, check_values, refuse
from cfgen.digests import digest_of
from cfgen.types import Image

SIDES = ("factual", "counterfactual")
TABLE = "pairs.csv"
COLUMNS = ("name", "target", "label", "patient", "subgroup")
LAYOUT = "DIR/{factual,counterfactual}/NAME.png"

_NEAR = 1e-5
"""How far a value may be out of [0, 1] by rounding."""


@dataclass(frozen=True)
class Pair:
    """A factual and its counterfactual, and what is known of them.

    Attributes:
        name: what the sample is called; with the path of an image in a data set it is that image.
        load: reads factual and counterfactual, (1, h, w) in [0, 1]; raises `UnreadableImage`.
        target: name of the class, where it was given.
        label: name of the true class.
        patient: whose image it is.
        subgroup: whatever else tells images apart.
    """

    name: str
    load: Callable[[], tuple[Image, Image]]
    target: str | None = None
    label: str | None = None
    patient: str | None = None
    subgroup: str | None = None


@dataclass(frozen=True)
class Pairs:
    """All pairs, in a fixed order, and a hash of the files they come from."""

    pairs: Sequence[Pair]
    hash: str


def open_folder(root: Path) -> Pairs:
    """Open DIR/{factual,counterfactual}/NAME.(png|jpeg|tiff|dcm|npy), with an optional pairs.csv.

    Names may have folders in them. A file is found by its name without the suffix, so that both
    sides may differ in it; a sample is called as the table calls it, else as its factual.
    What has no partner, or no row in a table that is there, is a pair that cannot be loaded.

    Raises:
        ValueError: a side is missing or empty, two files of a side have one name, or the table
            is not one.
    """
    for side in SIDES:
        if not (root / side).is_dir():
            raise ValueError(
                f"expected pairs as {LAYOUT}, got {root} without the folder {side}; make it, or "
                "give an .npz or .safetensors file, or two .npy files."
            )
    files = {side: _files(root / side) for side in SIDES}
    if not any(files.values()):
        raise ValueError(f"expected pairs as {LAYOUT}, got no images in {root}; put them there.")
    rows = _table(root / TABLE)
    named = [] if rows is None else list(rows)
    stems = sorted({*files["factual"], *files["counterfactual"], *named})
    pairs = [_pair(root, stem, files, rows) for stem in stems]
    every = sorted(file for side in SIDES for file in files[side].values())
    digest = hashlib.sha256()
    for file in [*every, *([root / TABLE] if rows is not None else [])]:
        digest.update(f"{file.relative_to(root).as_posix()}\0".encode())
        digest.update(digest_of(file))
    return Pairs(pairs, digest.hexdigest())


def checked(grey: Shaped[np.ndarray, ...], where: Path | str) -> Image:
    """Return an array as an image.

    Args:
        grey: (h, w) or (1, h, w), floating point in [0, 1].
        where: what an error is to call it.

    Raises:
        UnreadableImage: it has another shape, is in colour, no floating point, smaller than 8
            pixels, not finite, out of [0, 1] or of one value only.
    """
    path = Path(where)
    grey = grey[0] if grey.ndim == 3 and len(grey) == 1 else grey
    if grey.ndim != 2:
        raise refuse(path, f"values of shape {grey.shape}", "save it as grey, (h, w)")
    if grey.dtype.kind != "f":
        raise refuse(path, f"{grey.dtype} values", "save floating point in [0, 1]")
    values = check_values(grey.astype(np.float32), path)
    low, high = float(values.min()), float(values.max())
    if low < -_NEAR or high > 1 + _NEAR:
        raise refuse(path, f"values from {low:.3g} to {high:.3g}", "rescale both images to [0, 1]")
    return torch.from_numpy(values.clip(0, 1))[None]


def both(
    factual: Float[Tensor, "1 height width"], image: Float[Tensor, "1 rows columns"], name: str
) -> tuple[Image, Image]:
    """Return a pair whose images have one size.

    Raises:
        UnreadableImage: they have two.
    """
    if factual.shape != image.shape:
        sizes = [" x ".join(map(str, one.shape[1:])) for one in (factual, image)]
        raise UnreadableImage(
            f"expected a pair of one size, got a factual of {sizes[0]} and a counterfactual of "
            f"{sizes[1]} in {name}; save the factual as the other tool saw it"
        )
    return factual, image


def _files(folder: Path) -> dict[str, Path]:
    """Images of a side by their name without the suffix; hidden ones are passed over."""
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if hidden or file.suffix.lower() not in {*SUFFIXES, ".npy"} or not file.is_file():
            continue
        stem = _stem(name.as_posix())
        if stem in found:
            raise ValueError(
                f"expected one image called {stem} in {folder}, got {found[stem].name} and "
                f"{file.name}; rename or remove one."
            )
        found[stem] = file
    return found


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    image = path.suffix.lower() in {*SUFFIXES, ".npy"}
    return str(path.with_suffix("") if image else path)


def _pair(
    root: Path,
    stem: str,
    files: dict[str, dict[str, Path]],
    rows: dict[str, dict[str, str]] | None,
) -> Pair:
    there = [files[side].get(stem) for side in SIDES]
    name = stem
    if there[0] is not None:
        name = there[0].relative_to(root / "factual").as_posix()
    for side, file in zip(SIDES, there, strict=True):
        if file is None:
            return Pair(name, partial(_refused, f"no {side} of {name}", root / side))
    if rows is None:
        return Pair(name, partial(_load, *there, name))
    if stem not in rows:
        return Pair(name, partial(_refused, f"no row for {name}", root / TABLE))
    known = {column: text or None for column, text in rows[stem].items() if column != "name"}
    return Pair(rows[stem]["name"], partial(_load, *there, name), **known)


def _refused(what: str, where: Path) -> tuple[Image, Image]:
    raise UnreadableImage(f"expected a whole pair, got {what} in {where}; add it, or remove it")


def _load(factual: Path, image: Path, name: str) -> tuple[Image, Image]:
    return both(_read(factual), _read(image), name)


def _read(path: Path) -> Image:
    if path.suffix.lower() != ".npy":
        return read_image(path)
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise refuse(path, f"no array ({error})", "save it again by numpy.save") from error
    return checked(array, path)


def _table(path: Path) -> dict[str, dict[str, str]] | None:
    """Rows of pairs.csv by the name without its suffix; None where there is no table."""
    if not path.is_file():
        return None
    rows: dict[str, dict[str, str]] = {}
    for line, row in enumerate(_lines(path), start=2):
        stem = _stem(row["name"])
        if not stem or stem in rows:
            got = f"{row['name']!r} again" if stem else "none"
            raise ValueError(
                f"expected a name of its own in line {line} of {path}, got {got}; correct it."
            )
        rows[stem] = row
    return rows


def _lines(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = [name.strip().lower() for name in reader.fieldnames or []]
            if "name" not in header or len(set(header)) != len(header):
                raise ValueError(
                    f"expected the column name, and of {', '.join(COLUMNS[1:])} what is known, "
                    f"in {path}, got {', '.join(header) or 'an empty file'}; correct the header."
                )
            reader.fieldnames = header
            for row in reader:
                yield {name: (row[name] or "").strip() for name in COLUMNS if name in header}
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"expected a CSV table in UTF-8, got {path} ({error}); export it again."
        ) from error
