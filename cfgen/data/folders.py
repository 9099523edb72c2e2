"""Data sets that are folders of images: SPLIT/CLASS/* or CLASS/*."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from cfgen.data.files import SUFFIXES, file_of, load_file
from cfgen.data.patients import read_name
from cfgen.data.samples import Sample, Source, agree_on_classes

LAYOUT = "SPLIT/CLASS/image or CLASS/image"


def open_folder(root: Path, classes: Sequence[str] | None = None) -> Source:
    """Open a tree of class folders, with or without a folder for each split above them.

    Hidden files and files that are no images by their suffix are passed over. Names of the Kermany
    X-rays tell patient and cause; where the folder's name is not among `classes` but the cause
    in capitals is, the cause is the label ("BACTERIA", "VIRUS").

    Args:
        root: the folder above the splits or classes. Without splits the split is called "all".
        classes: names of all classes; without them, the names of the folders.

    Raises:
        ValueError: if there are no images, if they do not all stand at the same depth, or if
            their classes are not those expected.
    """
    files = sorted(_images(root, levels=4), key=str)
    if not files:
        raise ValueError(
            f"expected images as {LAYOUT} in {root}, got none; give another folder, or images with "
            f"a suffix among {' '.join(sorted(SUFFIXES))}"
        )
    depths = {len(file.parts) for file in files}
    if depths not in ({2}, {3}):
        odd = min(files, key=lambda file: (len(file.parts) in (2, 3), len(file.parts)))
        raise ValueError(
            f"expected every image of {root} as {LAYOUT}, all alike, got {odd}; move it, or "
            "describe the images in a CSV table with the columns path and label"
        )
    samples = [_sample(file, classes) for file in files]
    labels = [str(sample.label) for sample in samples]
    return Source(
        name=str(root),
        classes=agree_on_classes(str(root), labels, classes),
        samples=samples,
        load=partial(load_file, root),
        content=partial(file_of, root),
    )


def _images(folder: Path, levels: int) -> Iterator[PurePosixPath]:
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.suffix.lower() in SUFFIXES and entry.is_file():
            yield PurePosixPath(entry.name)
        elif levels > 1 and entry.is_dir():
            for inner in _images(entry, levels - 1):
                yield PurePosixPath(entry.name) / inner


def _sample(file: PurePosixPath, classes: Sequence[str] | None) -> Sample:
    naming = read_name(file.name)
    split = file.parts[0] if len(file.parts) == 3 else "all"
    label = file.parent.name
    if classes is not None and label not in classes and naming.cause is not None:
        cause = naming.cause.upper()
        label = cause if cause in classes else label
    patient = None if naming.patient is None else f"{split}/{naming.patient}"
    return Sample(str(file), label, split, patient, naming.cause)
