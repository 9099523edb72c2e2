"""Opens whatever a user calls data: a folder, a table, an archive, the phantom, one image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cfgen.data import phantom
from cfgen.data.archives import open_archive, pneumoniamnist
from cfgen.data.files import SUFFIXES, file_of, load_file
from cfgen.data.folders import LAYOUT, open_folder
from cfgen.data.samples import Sample, Source, agree_on_classes
from cfgen.data.tables import open_table
from cfgen.types import Image

_PHANTOM = re.compile(r"phantom(?::(.+))?")


def open_source(data: str, classes: Sequence[str] | None = None, *, size: int = 128) -> Source:
    """Open a data set.

    Args:
        data: a folder tree (SPLIT/CLASS/* or CLASS/*), a .csv table, a MedMNIST .npz archive or its
            name ("pneumoniamnist:128", downloaded once), "phantom" (or "phantom:0.9", with a
            planted shortcut of that strength), or a single image file.
        classes: names of all classes, such as a bundle's; without them, those that occur.
        size: height and width in pixels at which phantoms are drawn; files have their own.

    Raises:
        ValueError: if the data is none of these, or is not as expected inside.
    """
    if match := _PHANTOM.fullmatch(data):
        return _open_phantom(data, match[1], classes, size)
    path = pneumoniamnist(data) or Path(data).expanduser()
    suffix = path.suffix.lower()
    if path.is_dir():
        return open_folder(path, classes)
    if path.is_file() and suffix == ".csv":
        return open_table(path, classes)
    if path.is_file() and suffix == ".npz":
        return open_archive(path, classes)
    if path.is_file() and suffix in SUFFIXES:
        return _open_image(path, classes)
    what = f"a file with the suffix {suffix!r}" if path.is_file() else "nothing there"
    raise ValueError(
        f"expected a folder ({LAYOUT}), a .csv table, a .npz archive, an image file "
        f"({' '.join(sorted(SUFFIXES))}), pneumoniamnist:SIZE or phantom, got {data!r}, {what}; "
        "check the path"
    )


def _open_phantom(
    data: str, strength: str | None, classes: Sequence[str] | None, size: int
) -> Source:
    try:
        shortcut = float(strength or 0)
    except ValueError:
        shortcut = -1.0
    if not 0 <= shortcut <= 1:
        raise ValueError(
            f"expected a shortcut's strength in [0, 1], got {data!r}; give phantom:0.9 or phantom"
        )
    return Source(
        name=data,
        classes=agree_on_classes(data, phantom.CLASSES, classes),
        samples=sorted(phantom.samples(shortcut=shortcut), key=lambda sample: sample.path),
        load=partial(_draw, size),
    )


def _draw(size: int, sample: Sample) -> Image:
    return phantom.of_path(sample.path, size).image


def _open_image(path: Path, classes: Sequence[str] | None) -> Source:
    return Source(
        name=str(path),
        classes=tuple(classes or ()),
        samples=[Sample(path.name, label=None, split="all")],
        load=partial(load_file, path.parent),
        content=partial(file_of, path.parent),
    )
