"""A blinded reader study of a run: makes it, and scores what readers answered."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from evaluation.reading.answers import read_answers, readings
from evaluation.reading.form import write_form
from evaluation.reading.items import choose_items, kinds_of
from evaluation.reading.key import KEY, read_key, write_key
from evaluation.reading.scores import Score, scores_of
from evaluation.reading.words import to_markdown
from evaluation.runs import read_run
from evaluation.tables import csv_text
from evaluation.writing import make_folder, write_file

SCORES = Path("scores")


def reading(
    run: Path,
    out: Path | None = None,
    score: Sequence[Path] = (),
    count: int = 60,
    seed: int = 0,
) -> str:
    """Make a reader study of a run, or score the answers of one.

    `cfgen reading RUN --out DIR` writes DIR/form/reading.html, one page for the readers that works
    offline, and DIR/key, which stays with whoever leads the study. `cfgen reading DIR --score
    ANSWERS.csv ...` reads what the form saved and writes DIR/scores.

    Args:
        run: the run's folder; with answers to score, the study's.
        out: folder of the study to make.
        score: files of answers, one or more a reader.
        count: how many images to show at most: half of them counterfactuals.
        seed: of the order of the images.

    Returns:
        Where the form is and how to go on, or the scores.

    Raises:
        ValueError: neither or both of `out` and `score` are given, the study is there already, the
            run has too few images, or the answers are not of this study.
    """
    if (out is None) != bool(score):
        raise ValueError(
            "expected either --out, to make a study of a run, or --score, to score the answers of "
            f"one, got {'both' if score else 'neither'}; give one of them."
        )
    return _scored(run, score) if out is None else _made(run, out, count, seed)


def _made(run: Path, out: Path, count: int, seed: int) -> str:
    if (out / KEY).exists():
        raise ValueError(
            f"expected a folder without a study, got {out}, whose answers would be lost with its "
            "key; name another with --out."
        )
    found = read_run(run)
    items = choose_items(found, count, seed)
    classes = [str(name) for name in found.config["classes"]]
    about = {"run": str(run), "method": found.config.get("method"), "seed": seed}
    about["kinds"] = kinds_of(items)
    study = write_key(out, items, classes, about)
    form = write_form(out, [item.image for item in items], classes, study)
    kinds = ", ".join(f"{n} {kind}" for kind, n in about["kinds"].items())
    return (
        f"{form}: {len(items)} images ({kinds}), no patient twice\n"
        f"Give readers this one page, each with a code of their own. Keep {out / KEY.parent} from "
        f"them.\nThen: cfgen reading {out} --score ANSWERS.csv ..."
    )


def _scored(folder: Path, paths: Sequence[Path]) -> str:
    key = read_key(folder)
    readers = read_answers(paths, key)
    scores = scores_of(key, readers)
    text = to_markdown(key, scores, list(readers))
    answers = readings(key, readers)
    make_folder(folder / SCORES)
    rows = [_finite(one) for one in scores]
    known = {"study": key.study, "readers": {name: len(got) for name, got in readers.items()}}
    contents = {
        "scores.md": text,
        "scores.csv": csv_text(rows, Score._fields),
        "scores.json": json.dumps({**known, "scores": rows}, indent=2, allow_nan=False) + "\n",
        "readings.csv": csv_text(answers, tuple(answers[0])),
    }
    for name, content in contents.items():
        write_file(folder / SCORES / name, content)
    return text


def _finite(one: Score) -> dict[str, str | float | int | None]:
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in one._asdict().items()
    }
