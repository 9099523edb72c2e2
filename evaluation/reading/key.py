"""The sealed key of a study: what each image is, kept apart from the form."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.reading.items import Item
from evaluation.tables import csv_text
from evaluation.writing import make_folder, write_file

KEY, STUDY = Path("key/key.csv"), Path("key/study.json")
COLUMNS = ("item", "kind", "target", "finding", "path", "group")


@dataclass(frozen=True)
class Key:
    """What a study's images are.

    Attributes:
        study: its seal, the sha256 of the key's file, which every answer carries.
        classes: names of the findings that readers choose from.
        rows: what each image is, by its number in the form.
    """

    study: str
    classes: tuple[str, ...]
    rows: Mapping[str, Mapping[str, str]]


def number_of(place: int) -> str:
    """Return what an image is called in the form.

    >>> number_of(7)
    '007'
    """
    return f"{place:03d}"


def write_key(folder: Path, items: Sequence[Item], classes: Sequence[str], about: Mapping) -> str:
    """Write the key of a study; return its seal.

    Args:
        folder: of the study.
        items: in the order in which they are shown.
        classes: names of the findings.
        about: what the study was made from.

    Raises:
        ValueError: the folder cannot be written.
    """
    rows = [
        {"item": number_of(place), **{name: getattr(item, name) for name in COLUMNS[1:]}}
        for place, item in enumerate(items, start=1)
    ]
    text = csv_text(rows, COLUMNS)
    seal = hashlib.sha256(text.encode()).hexdigest()
    make_folder((folder / KEY).parent)
    write_file(folder / KEY, text)
    known = {"study": seal, "classes": list(classes), "items": len(rows), **about}
    write_file(folder / STUDY, json.dumps(known, indent=2) + "\n")
    return seal


def read_key(folder: Path) -> Key:
    """Read the key of a study and check its seal.

    Raises:
        ValueError: there is no study, or its key was changed since the form was made.
    """
    try:
        data = (folder / KEY).read_bytes()
        known = json.loads((folder / STUDY).read_text(encoding="utf-8"))
        study, classes = str(known["study"]), tuple(known["classes"])
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"expected the folder of a reader study with its key, got {folder} ({error}); name "
            "the folder that `cfgen reading RUN --out` made."
        ) from error
    if hashlib.sha256(data).hexdigest() != study:
        raise ValueError(
            f"expected the key as it was sealed, got {folder / KEY}, which was changed since; "
            "restore it."
        )
    rows = {row["item"]: row for row in csv.DictReader(data.decode().splitlines())}
    return Key(study, classes, rows)
