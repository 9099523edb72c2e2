"""Makes the runs of a study, each once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from cfgen.digests import digest_of
from cfgen.models.bundle import find_bundle, find_judges, model_hash
from cfgen.verdict import FILE
from evaluation.measured import Measured, read_measured
from evaluation.plausibility import evaluate
from evaluation.runs import Run, read_run
from evaluation.search import search
from evaluation.study.plan import Planned
from evaluation.writing import write_file

STAMP = "evaluated.json"
"""What a run of a study was evaluated with: where it is that still, it is not evaluated again."""


@dataclass(frozen=True)
class Setting:
    """What all runs of a study have in common.

    Attributes:
        bundle: as `cfgen search` takes it.
        data: likewise.
        split: likewise.
        limit: likewise.
        judges: a folder of judges to ask instead of the bundle's, as `cfgen evaluate` takes it.
        batch_size: images that are searched at once.
        out: the folder in which each run has its own.
    """

    bundle: str
    data: str
    split: str
    limit: int | None
    judges: Path | None
    batch_size: int
    out: Path


def make_run(planned: Planned, setting: Setting) -> Measured:
    """Search and evaluate a row of the study, as far as that is not done yet.

    Raises:
        ValueError: the folder holds a run of another configuration, or what is asked for is not
            to be had.
    """
    path = setting.out / planned.name
    search(
        setting.bundle,
        setting.data,
        path,
        split=setting.split,
        method=planned.method,
        settings=dict(planned.settings),
        classifier=planned.classifier,
        limit=setting.limit,
        batch_size=setting.batch_size,
    )
    stamp = _stamp(read_run(path), setting.judges)
    if _read_stamp(path) != stamp:
        evaluate(path, setting.judges, setting.batch_size)
        write_file(path / STAMP, json.dumps(stamp, indent=2) + "\n")
    return read_measured(path)


def _stamp(run: Run, judges: Path | None) -> dict:
    asked = {} if judges is None else find_judges(judges)
    verdict = find_bundle(run.config["bundle"]) / FILE
    return {
        "samples": len(run.samples),
        "verdict": digest_of(verdict).hex() if verdict.is_file() else None,
        "judges": {name: model_hash(one) for name, one in asked.items()},
        "cfgen": version("cfgen"),
    }


def _read_stamp(path: Path) -> dict | None:
    try:
        return json.loads((path / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
