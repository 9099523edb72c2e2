"""MedMNIST archives (.npz), and PneumoniaMNIST by download when its name is given."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.request
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from tqdm import tqdm

from cfgen.data.pixels import MIN_SIDE, UnreadableImage
from cfgen.data.samples import Sample, Source, agree_on_classes
from cfgen.types import Image

PNEUMONIA_CLASSES = ("NORMAL", "PNEUMONIA")
SPLITS = ("train", "val", "test")

_RECORD = "https://zenodo.org/records/10519652/files/{file}?download=1"
# As published with MedMNIST v3 (Yang et al. 2023, doi:10.1038/s41597-022-01721-8).
_MD5 = {
    28: "28209eda62fecd6e6a2d98b1501bb15f",
    64: "8f4eceb4ccffa70c672198ea285246c6",
    128: "05b46931834c231683c68f40c47b2971",
    224: "d6a3c71de1b945ea11211b03746c1fe1",
}
_NAME = re.compile(r"pneumoniamnist(?::(\d+))?")

Stack = UInt8[np.ndarray, "n height width"]


def open_archive(path: Path, classes: Sequence[str] | None = None) -> Source:
    """Open a MedMNIST archive of grey images.

    An image is called "test/00012.png" by its split and place. Archives know no patients.

    Args:
        path: the .npz file, with {train,val,test}_images (uint8) and _labels.
        classes: the classes of PneumoniaMNIST (a file called pneumoniamnist*) are NORMAL and
            PNEUMONIA, and both must be among these; for any other archive these name its labels
            0, 1, ... in order, and without them the names are class-0, class-1, ...

    Raises:
        ValueError: if the file is no such archive, or not one of grey images with one label each.
    """
    try:
        # NumPy forgets to close a broken file that it opened by itself.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files if name in _members()}
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"expected a MedMNIST archive, got {path} ({error}); download it again"
        ) from error
    stacks: dict[str, Stack] = {}
    labels: dict[str, list[int]] = {}
    for split in SPLITS:
        stacks[split], labels[split] = _checked(path, split, arrays)
    names = _class_names(path, max(max(found, default=0) for found in labels.values()) + 1, classes)
    reader = _Archive(stacks)
    samples = [
        Sample(f"{split}/{row:05d}.png", names[label], split)
        for split in sorted(SPLITS)
        for row, label in enumerate(labels[split])
    ]
    if not path.name.startswith("pneumoniamnist"):
        return Source(str(path), names, samples, reader.load, reader.content)
    known = agree_on_classes(str(path), names, classes or names)
    return Source(str(path), known, samples, reader.load, reader.content)


@dataclass(frozen=True)
class _Archive:
    stacks: dict[str, Stack] = field(repr=False)

    def pixels(self, sample: Sample) -> UInt8[np.ndarray, "height width"]:
        split, _, name = sample.path.partition("/")
        return self.stacks[split][int(name.removesuffix(".png"))]

    def load(self, sample: Sample) -> Image:
        pixels = self.pixels(sample)
        if pixels.min() == pixels.max():
            raise UnreadableImage(
                f"expected an image, got the single value {pixels.min()} in {sample.path}; "
                "leave it out"
            )
        return torch.from_numpy(pixels.astype(np.float32) / 255)[None]

    def content(self, sample: Sample) -> bytes:
        return self.pixels(sample).tobytes()


def _members() -> set[str]:
    return {f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels")}


def _checked(path: Path, split: str, arrays: dict[str, np.ndarray]) -> tuple[Stack, list[int]]:
    for name in (f"{split}_images", f"{split}_labels"):
        if name not in arrays:
            raise ValueError(f"expected {name} in {path}, got none; give a MedMNIST archive")
    images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    grey = images.ndim == 3 and images.dtype == np.uint8 and min(images.shape[1:]) >= MIN_SIDE
    if not grey:
        kind = "colour images" if images.ndim == 4 and images.shape[-1] == 3 else "images"
        raise ValueError(
            f"expected grey uint8 images (n, height, width) of {MIN_SIDE} pixels or more, "
            f"got {kind} {images.dtype} {images.shape} in {split} of {path}; give a grey 2D archive"
        )
    one_each = labels.size == len(labels) == len(images) and labels.dtype.kind in "ui"
    if not one_each or (labels.size and labels.min() < 0):
        raise ValueError(
            f"expected one label an image in {path}, got labels {labels.dtype} {labels.shape} for "
            f"{len(images)} images in {split}; give an archive with one label each"
        )
    return images, [int(label) for label in labels.ravel()]


def _class_names(path: Path, count: int, classes: Sequence[str] | None) -> tuple[str, ...]:
    if path.name.startswith("pneumoniamnist"):
        names = PNEUMONIA_CLASSES
    elif classes is None:
        names = tuple(f"class-{label}" for label in range(count))
    else:
        names = tuple(classes)
    if len(names) < count or len(names) < 2:
        raise ValueError(
            f"expected labels of {len(names)} classes, two or more, in {path}, got {count}; "
            "give a name for each"
        )
    return names


def pneumoniamnist(name: str) -> Path | None:
    """Return where the archive of a name like "pneumoniamnist:128" is, downloaded if it is not.

    It is kept in the folder `CFGEN_CACHE`, or else in ~/.cache/cfgen.

    Args:
        name: "pneumoniamnist" (28 pixels) or with a size of 28, 64, 128 or 224 behind a colon.

    Returns:
        The archive's path; None if this is not such a name.

    Raises:
        ValueError: if there is no such size, or if the download fails.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    size = int(match[1] or 28)
    if size not in _MD5:
        raise ValueError(
            f"expected a size among {', '.join(map(str, _MD5))}, got {name}; "
            "give pneumoniamnist:128"
        )
    file = "pneumoniamnist.npz" if size == 28 else f"pneumoniamnist_{size}.npz"
    folder = Path(os.environ.get("CFGEN_CACHE") or Path.home() / ".cache" / "cfgen")
    path = folder / file
    if not path.is_file():
        _download(_RECORD.format(file=file), path, _MD5[size])
    return path


def _download(url: str, path: Path, md5: str) -> None:
    by_hand = f"download {url} by hand and save it as {path}"
    temporary = path.with_suffix(f".{os.getpid()}.part")
    digest = hashlib.md5(usedforsecurity=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(url, timeout=30) as answer,  # noqa: S310 - a fixed https address
            temporary.open("wb") as file,
        ):
            total = int(answer.headers.get("Content-Length") or 0) or None
            with tqdm(total=total, unit="B", unit_scale=True, desc=path.name) as progress:
                while block := answer.read(1 << 20):
                    file.write(block)
                    digest.update(block)
                    progress.update(len(block))
        if digest.hexdigest() != md5:
            raise ValueError(f"expected the md5 {md5} of {url}, got another; {by_hand}")
        temporary.replace(path)
    except OSError as error:
        raise ValueError(f"expected to download {url}, got {error}; {by_hand}") from error
    finally:
        with suppress(OSError):  # what went wrong is said above
            temporary.unlink(missing_ok=True)
