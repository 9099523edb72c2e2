"""The forms of the networks that a run was begun with, and is gone on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from evaluation.runs.format import FORMS_FILE
from evaluation.writing import write_file


def write_forms(path: Path, forms: Mapping[str, Sequence[str]]) -> None:
    """Write the forms of a run's networks.

    Args:
        path: the run's folder.
        forms: of each network that is asked, see `cfgen.models.forms`.

    Raises:
        ValueError: the disk is full or cannot be written.
    """
    listed = {part: list(names) for part, names in forms.items()}
    write_file(path / FORMS_FILE, yaml.safe_dump(listed, sort_keys=False, default_flow_style=None))


def read_forms(path: Path) -> dict[str, list[str]] | None:
    """Read the forms of a run's networks; None where none were written.

    Raises:
        ValueError: the file cannot be read, or names no forms.
    """
    file = path / FORMS_FILE
    if not file.is_file():
        return None
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise _wrong(file, str(error)) from error
    if not isinstance(found, dict) or not all(map(_known, found.items())):
        raise _wrong(file, repr(found))
    return found


def _known(item: tuple[str, object]) -> bool:
    """Whether a network can have the forms listed."""
    from cfgen.models.forms import FORMS  # here, for who only reads runs need not wait for models

    part, names = item
    return isinstance(names, list) and all(
        name in list(FORMS) and part in FORMS[name].parts for name in names
    )


def _wrong(file: Path, got: str) -> ValueError:
    return ValueError(
        f"expected the forms of a run's networks in {file}, got {got}; search again into another "
        "folder."
    )
