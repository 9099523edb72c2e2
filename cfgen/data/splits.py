"""Splits by patient, never by image: the validation cut, its file, and the check for leaks."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal
from uuid import uuid4

from cfgen.data.samples import Sample, Source


class PatientLeak(ValueError):  # noqa: N818 - says what it is
    """Images of one patient stand on two sides of a split; the message names the patients."""


def cut_validation(samples: Iterable[Sample], fraction: float = 0.1) -> dict[str, str]:
    """Cut validation data from training data, by patient and class.

    The patients of a class, in the order of the sha256 of their names, go to validation as long as
    that brings the share of the class's images in validation nearer to `fraction`. So it misses
    by half the images of one patient at most, unless a class would be left without any in
    validation: then one patient goes there, if there are two. A patient with images of several
    classes belongs to that of the first path. Where the patient is unknown the image is the unit.
    Nothing depends on the order of the samples or on a seed.

    Args:
        samples: the training data.
        fraction: share of each class's images that goes to validation, in (0, 0.5].

    Returns:
        "train" or "val" for every path, sorted by path.

    Raises:
        ValueError: if `fraction` is not in (0, 0.5].

    >>> films = [Sample(f"{n}.png", "NORMAL", "train", patient=f"p{n // 2}") for n in range(20)]
    >>> [path for path, side in cut_validation(films).items() if side == "val"]
    ['14.png', '15.png']
    """
    if not 0 < fraction <= 0.5:
        raise ValueError(f"expected a fraction in (0, 0.5], got {fraction}; give 0.1 for a tenth")
    units: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda sample: sample.path):
        # An unknown patient's image and a patient of that name are two units.
        kind = "image" if sample.patient is None else "patient"
        units[kind, sample.patient or sample.path].append(sample)
    strata: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for unit, images in units.items():
        strata[images[0].label or ""].append(unit)
    validation = {unit for stratum in strata.values() for unit in _take(stratum, units, fraction)}
    sides = {
        sample.path: "val" if unit in validation else "train"
        for unit, images in units.items()
        for sample in images
    }
    return dict(sorted(sides.items()))


def _take(
    stratum: list[tuple[str, str]],
    units: Mapping[tuple[str, str], list[Sample]],
    fraction: float,
) -> list[tuple[str, str]]:
    ordered = sorted(stratum, key=lambda unit: hashlib.sha256(unit[1].encode()).hexdigest())
    missing = fraction * sum(len(units[unit]) for unit in ordered)
    taken = []
    for unit in ordered:
        if abs(missing - len(units[unit])) < abs(missing):
            taken.append(unit)
            missing -= len(units[unit])
    if not taken and len(ordered) > 1:
        taken = [min(ordered, key=lambda unit: len(units[unit]))]
    return taken


def half_of(sample: Sample) -> Literal["a", "b"]:
    """Which of two patient-disjoint halves a sample is in, by a fixed hash.

    'a' where the sha256 of 'half:' and the patient (where unknown: the path) is even, else 'b'.
    The prefix makes it independent of the validation cut, which goes by the patient's hash alone.

    >>> [half_of(Sample(f"{n}.png", None, None, patient="p7")) for n in range(3)]
    ['a', 'a', 'a']
    """
    digest = hashlib.sha256(f"half:{sample.patient or sample.path}".encode()).digest()
    return "b" if digest[-1] % 2 else "a"


def check_leaks(samples: Iterable[Sample], cut: Mapping[str, str] | None = None) -> None:
    """Check that no patient stands in two splits, or on both sides of a cut.

    Args:
        samples: all samples of a source.
        cut: "train" or "val" by path, which overrides the samples' own splits.

    Raises:
        PatientLeak: if one does.
    """
    sides: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        if sample.patient is not None:
            sides[sample.patient].add((cut or {}).get(sample.path, str(sample.split)))
    leaks = sorted(patient for patient, found in sides.items() if len(found) > 1)
    if leaks:
        named = [f"{patient} ({' and '.join(sorted(sides[patient]))})" for patient in leaks[:10]]
        more = f" and {len(leaks) - 10} more" if len(leaks) > 10 else ""
        raise PatientLeak(
            f"expected every patient in one split only, got {', '.join(named)}{more}; move all "
            "images of a patient to one split"
        )


def write_split(path: Path, cut: Mapping[str, str]) -> None:
    """Write a cut as CSV with the columns path and split, whole or not at all.

    Processes that write the same one at the same time do not disturb each other.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.part")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "split"])
        writer.writerows(sorted(cut.items()))
    temporary.replace(path)


def read_split(path: Path) -> dict[str, str]:
    """Read a cut that `write_split` wrote.

    Raises:
        ValueError: if the file is missing or holds anything else.
    """
    if not path.is_file():
        raise ValueError(f"expected the split of a bundle, got no file {path}; train the bundle")
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    if header != ["path", "split"]:
        raise ValueError(f"expected the columns path,split in {path}, got {header}; write it again")
    cut: dict[str, str] = {}
    for line, row in enumerate(rows, start=2):
        if len(row) != 2 or row[0] in cut or row[1] not in ("train", "val"):
            raise ValueError(
                f"expected a new path and train or val, got {row} in line {line} of {path}; "
                "write it again"
            )
        cut[row[0]] = row[1]
    return cut


def samples_of(source: Source, split: str, cut: Path) -> list[Sample]:
    """Return the samples of a split as a bundle sees them.

    Where the bundle was trained on this source, "train" and "val" are the two sides of its cut of
    the training data; everything else is as the source has it.

    Args:
        source: any source.
        split: the name of one of its splits, or "val".
        cut: the bundle's split.csv; it may be missing.

    Raises:
        ValueError: there is no such split, or the cut's file is broken.
    """
    if split not in ("train", "val") or "train" not in source.splits() or not cut.is_file():
        return source.of(split)
    pool, sides = source.of("train"), read_split(cut)
    if any(sample.path not in sides for sample in pool):
        return source.of(split)
    return [sample for sample in pool if sides[sample.path] == split]


def describe(source: Source) -> str:
    """Summarise a source: images by split and class, and patients where they are known."""
    lines = [f"{source.name}: {len(source.samples)} images"]
    for split in source.splits():
        samples = source.of(split)
        labels = [sample.label for sample in samples]
        counts = ", ".join(
            f"{labels.count(name)} {name}" for name in source.classes if name in labels
        )
        patients = {sample.patient for sample in samples}
        known = "patients unknown" if None in patients else f"{len(patients)} patients"
        lines.append(f"  {split}: {counts or f'{len(samples)} without label'} ({known})")
    return "\n".join(lines)
