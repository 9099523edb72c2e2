"""A run that was evaluated, and what two of them have in common."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cfgen.metrics import Estimate, paired_difference, sign_flip_p
from evaluation.runs import Row, Run, read_run
from evaluation.summary import CORRECT, attempted, group_of, target_of


@dataclass(frozen=True)
class Measured:
    """A run that was evaluated.

    Attributes:
        name: of its row.
        run: its images.
        summary: as in summary.json.
        rows: of samples.csv and metrics.csv together, by id.
    """

    name: str
    run: Run
    summary: Mapping
    rows: Mapping[int, Row]

    def metric(self, name: str, subset: str, target: str | None = None) -> Mapping | None:
        """Return the estimate of a metric, of all targets or of one; None where there is none."""
        subsets = self.summary["direction"].get(target, {}) if target else self.summary["subsets"]
        return subsets.get(subset, {}).get("metrics", {}).get(name)

    def mean(self, name: str, subset: str, target: str | None = None) -> float | None:
        """Return the mean of a metric; None where there is none."""
        return (self.metric(name, subset, target) or {}).get("mean")

    def targets(self) -> list[str]:
        """Return the names of the classes that the run's images were to become."""
        return sorted(self.summary["direction"])


def read_measured(path: Path) -> Measured:
    """Read a run that was evaluated.

    Raises:
        ValueError: it is no run.
    """
    run = read_run(path)
    with (path / "metrics.csv").open(newline="", encoding="utf-8") as file:
        measures = {int(row.pop("id")): row for row in csv.DictReader(file)}
    rows: dict[int, Row] = {}
    for sample in run.samples:
        identity = int(sample["id"] or 0)
        known = measures[identity].items()
        rows[identity] = {**sample, **{key: float(text) if text else None for key, text in known}}
    summary = json.loads((path / "summary.json").read_text(encoding="utf-8"))
    return Measured(path.name, run, summary, rows)


def pairs(
    first: Measured, second: Measured, target: str | None = None, subset: str = CORRECT
) -> Iterator[tuple[Row, Row]]:
    """Yield the samples that both runs attempted towards the same target.

    Args:
        first: a run.
        second: a run of the same samples.
        target: name of the only target wanted.
        subset: `ALL` of these, or `CORRECT`, those that both had right before.
    """
    for identity, row in first.rows.items():
        other = second.rows.get(identity)
        if other is None or target_of(row) != target_of(other):
            continue
        if not (attempted(row) and attempted(other)):
            continue
        if subset == CORRECT and not _right(row, other):
            continue
        if target is None or target_of(row) == target:
            yield row, other


def difference(both: Sequence[tuple[Row, Row]], metric: str) -> Estimate:
    """Return a metric's paired difference, first minus second, over patients."""
    first, second = (_side(both, metric, side) for side in (0, 1))
    return paired_difference(first, second, _patients(both))


def difference_p(both: Sequence[tuple[Row, Row]], metric: str) -> float:
    """Return the p-value of a metric's paired difference, by flips of whole patients."""
    first, second = (_side(both, metric, side) for side in (0, 1))
    known = [None if a is None or b is None else a - b for a, b in zip(first, second, strict=True)]
    return sign_flip_p(known, _patients(both))


def judged_by(rows: Measured) -> list[str]:
    """Return the names of the measures that tell of the judges, and of where the change is."""
    names = [f"judge_{judge}_follows" for judge in rows.summary["judges"]]
    names += ["panel_follows", "border_shift", "ssim", "ssim_outside", "inside_ratio"]
    known = next(iter(rows.rows.values()))
    return [name for name in names if name in known]


def _right(*rows: Row) -> bool:
    return all(row["source"] == row["label"] for row in rows)


def _side(both: Sequence[tuple[Row, Row]], metric: str, side: int) -> list[float | None]:
    return [_number(pair[side].get(metric)) for pair in both]


def _patients(both: Sequence[tuple[Row, Row]]) -> list[str]:
    return [str(group_of(row)) for row, _ in both]


def _number(value: object) -> float | None:
    return None if value is None else float(str(value))
