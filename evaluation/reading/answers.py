"""The answers of readers, as the form saves them, checked against the key."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from cfgen.metrics.readers import Answers
from evaluation.reading.key import Key

COLUMNS = ("study", "reader", "item", "answer", "confidence", "finding", "seconds")
REAL, ALTERED = "real", "altered"
CONFIDENCES = ("1", "2", "3", "4", "5")

Answer = Mapping[str, str]
Readers = Mapping[str, Mapping[str, Answer]]
"""Answers by reader and item."""


def read_answers(paths: Iterable[Path], key: Key) -> Readers:
    """Read the answers of readers, one file or several.

    Raises:
        ValueError: a file cannot be read or is of another study, an answer is not one of those
            that can be given, or a reader answered an image twice.
    """
    found: dict[str, dict[str, Answer]] = {}
    for path in paths:
        for line, row in enumerate(_rows(path), start=2):
            _check(path, line, row, key)
            answered = found.setdefault(row["reader"], {})
            if row["item"] in answered:
                raise ValueError(
                    f"expected one answer of {row['reader']} to image {row['item']}, got a second "
                    f"one in {path}, line {line}; leave one of them out."
                )
            answered[row["item"]] = row
    if not found:
        raise ValueError("expected answers, got none; give the CSV files that readers saved.")
    return dict(sorted(found.items()))


def matrix(readers: Readers, items: Sequence[str], value: Mapping[str, float] | None) -> Answers:
    """Return answers as numbers, a row a reader: NaN where there is none.

    Args:
        readers: answers.
        items: the columns.
        value: of each finding; None for how surely an image is called altered, from -5 to 5.
    """
    table = np.full((len(readers), len(items)), np.nan)
    for row, answers in enumerate(readers.values()):
        for column, item in enumerate(items):
            if item in answers:
                answer = answers[item]
                table[row, column] = sureness(answer) if value is None else value[answer["finding"]]
    return table


def readings(key: Key, readers: Readers) -> list[dict[str, str]]:
    """Return every answer beside what its image was, for analyses of one's own."""
    return [_reading(key, answer) for answers in readers.values() for answer in answers.values()]


def _reading(key: Key, answer: Answer) -> dict[str, str]:
    row = key.rows[answer["item"]]
    return {
        "reader": answer["reader"],
        "item": answer["item"],
        "kind": row["kind"],
        "shows": row["finding"],
        "answer": answer["answer"],
        "called_altered": str(int(answer["answer"] == ALTERED)),
        "confidence": answer["confidence"],
        "finding": answer["finding"],
        "seconds": answer["seconds"],
    }


def sureness(answer: Answer) -> float:
    """Return how surely an image is called altered: -5 for surely real, 5 for surely altered."""
    confidence = float(answer["confidence"])
    return confidence if answer["answer"] == ALTERED else -confidence


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"expected a CSV file of answers, got {path} ({error}); give what the form saved."
        ) from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise ValueError(
            f"expected the columns {','.join(COLUMNS)} in {path}, got "
            f"{','.join(reader.fieldnames or ()) or 'none'}; give what the form saved."
        )
    return list(reader)


def _check(path: Path, line: int, row: Mapping[str, str | None], key: Key) -> None:
    if row["study"] != key.study:
        raise ValueError(
            f"expected answers of the study {key.study[:12]}, got {str(row['study'])[:12]!r} in "
            f"{path}, line {line}; score them with their own study's folder."
        )
    for name, options in (
        ("item", tuple(key.rows)),
        ("answer", (REAL, ALTERED)),
        ("confidence", CONFIDENCES),
        ("finding", key.classes),
    ):
        if row[name] not in options:
            shown = ", ".join(options) if len(options) < 20 else f"{options[0]} to {options[-1]}"
            raise ValueError(
                f"expected one of {shown} as {name}, got {row[name]!r} in {path}, line {line}; "
                "correct or remove this line."
            )
    if not row["reader"]:
        raise ValueError(f"expected a reader in {path}, line {line}, got none; name one there.")
