"""Writing files whole or not at all, with errors that say what to do."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

PARTIAL = ".partial"
"""How the name of a file ends that is not whole yet."""


def write_file(path: Path, content: str | bytes) -> None:
    """Write a whole file or, where that fails, nothing.

    Args:
        path: the file; an earlier one is replaced.
        content: text, stored as UTF-8, or bytes.

    Raises:
        ValueError: the disk is full or cannot be written.
    """
    partial = path.with_name(path.name + PARTIAL)
    data = content.encode() if isinstance(content, str) else content
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else a power cut can leave the name without the content
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise _unwritable(path, error) from error


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a whole CSV table, a row at a time, or, where that fails, nothing.

    Args:
        path: the file; an earlier one, which the rows may be read from, is replaced.
        columns: the header.
        rows: of texts, each as long as the header.

    Raises:
        ValueError: the disk is full or cannot be written.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise _unwritable(path, error) from error


def make_folder(path: Path) -> None:
    """Make a folder and its parents; one that is there already is as good.

    Raises:
        ValueError: a file is in the way, or the place cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def append_to_file(path: Path, content: str) -> None:
    """Append in one piece, so that processes writing into one file do not mix their rows.

    Raises:
        ValueError: the disk is full or cannot be written.
    """
    try:
        with path.open("ab", buffering=0) as file:
            data = content.encode()
            written = file.write(data)
            if written < len(data):
                file.write(data[written:])
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ValueError:
    return ValueError(
        f"expected a place that can be written, got {path} ({error.strerror or error}); free "
        "space there, or name another folder with --out."
    )
