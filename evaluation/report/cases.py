"""The cases of a run as its page tells of them: sample, measures, verdict and how it ended."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import PurePosixPath
from typing import NamedTuple, TypeVar

from cfgen.types import Outcome
from evaluation.runs import Row, Run
from evaluation.summary import target_of
from evaluation.verdicts.giving import read_verdicts

Measures = dict[str, float | None]

_One = TypeVar("_One")
_FOLLOWS = re.compile(r"judge_(.+)_follows")


class Result(StrEnum):
    """How a case ended, told by those who had no part in the search where they were asked."""

    FOLLOWED = "judges follow"
    PARTLY = "few judges follow"
    ALONE = "no judge follows"
    UNJUDGED = "no judge could tell"
    REACHED = "reached, not measured"
    MISSED = "not reached"
    ALREADY = "already there"


RESULTS = {
    Result.FOLLOWED: "at least half of the judges that read the factual right decide for the "
    "target, too",
    Result.PARTLY: "fewer than half of the judges that read the factual right decide for the "
    "target, too",
    Result.ALONE: "only this model changes its mind: noise, or specific to it",
    Result.UNJUDGED: "reached, but no judge was asked, or none read the factual right",
    Result.REACHED: "the search says so; not evaluated yet",
    Result.MISSED: "the search ended without a counterfactual that convinces the model",
    Result.ALREADY: "the model saw the target in the factual; nothing was searched",
}
"""What each result means."""


class Case(NamedTuple):
    """One sample of a run.

    Attributes:
        id: of the sample.
        sample: its row of samples.csv.
        measures: its row of metrics.csv; empty where the run was not evaluated.
        verdict: its row of verdicts.csv; empty where there is none.
    """

    id: int
    sample: Row
    measures: Measures
    verdict: Mapping[str, str]

    @property
    def name(self) -> str:
        """Name of the sample's file, without its folders."""
        return PurePosixPath(str(self.sample["path"])).name

    @property
    def direction(self) -> str:
        """Predicted class and target."""
        return f"{self.sample['source']} → {target_of(self.sample)}"

    @property
    def result(self) -> Result:
        """How the case ended."""
        if self.sample["outcome"] == Outcome.ALREADY:
            return Result.ALREADY
        if not self.measures:
            reached = self.sample["outcome"] == Outcome.REACHED
            return Result.REACHED if reached else Result.MISSED
        if not self.measures.get("valid"):
            return Result.MISSED
        return _judged([self.measures[f"judge_{name}_follows"] for name in judges_of([self])])


def _judged(follows: Sequence[float | None]) -> Result:
    known = [value for value in follows if value is not None]
    if not known:
        return Result.UNJUDGED
    if not any(known):
        return Result.ALONE
    return Result.FOLLOWED if 2 * sum(known) >= len(known) else Result.PARTLY


def read_cases(run: Run) -> list[Case]:
    """Read the cases of a run, in the order of its samples.

    Raises:
        ValueError: the measures are of other samples than the run's.
    """
    measures, verdicts = _read_measures(run), read_verdicts(run)
    return [
        Case(i, row, measures.get(i, {}), verdicts.get(i, {}))
        for row in run.samples
        for i in [int(row["id"] or 0)]
    ]


def judges_of(cases: Sequence[Case]) -> list[str]:
    """Return the names of the judges that were asked of all cases."""
    names = (_FOLLOWS.fullmatch(key) for key in cases[0].measures)
    return sorted(match[1] for match in names if match)


def spread(cases: Sequence[_One], limit: int) -> list[_One]:
    """Choose `limit` cases at most, evenly spaced, so that a run sorted by class shows them all.

    >>> spread(list("abcdef"), 3)
    ['a', 'c', 'e']
    """
    count = min(limit, len(cases))
    return [cases[k * len(cases) // count] for k in range(count)]


def _read_measures(run: Run) -> dict[int, Measures]:
    path = run.path / "metrics.csv"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = {int(row.pop("id")): row for row in csv.DictReader(file)}
    if rows.keys() != {row["id"] for row in run.samples}:
        raise ValueError(
            f"expected in {path} the measures of the run's {len(run.samples)} samples, got "
            f"{len(rows)} rows of other ids; run `cfgen evaluate {run.path}` again."
        )
    return {i: {key: _value(text) for key, text in row.items()} for i, row in rows.items()}


def _value(text: str) -> float | None:
    """Return a measure as a number; None where it is empty, no number or not finite."""
    try:
        value = {"true": 1.0, "false": 0.0}.get(text.lower())
        value = float(text) if value is None else value
    except ValueError:
        return None
    return value if math.isfinite(value) else None
