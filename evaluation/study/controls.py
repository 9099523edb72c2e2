"""The method against a rival at the same similarity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from cfgen.metrics import Estimate, estimate
from evaluation.definitions import describe
from evaluation.measured import Measured, difference, judged_by, pairs
from evaluation.runs import Row
from evaluation.summary import CORRECT, finite, group_of
from evaluation.tables import interval, markdown, number

LEVELS = (0.90, 0.93, 0.95)
"""SSIM at which two families of runs are compared."""


class Blend(NamedTuple):
    """A point between two runs of a family, where the mean SSIM is a given one.

    Attributes:
        lower: the run with the lower SSIM.
        upper: the run with the higher.
        share: of the upper one.
    """

    lower: Measured
    upper: Measured
    share: float

    def rows(self, target: str, metrics: Sequence[str]) -> dict[object, Row]:
        """Return each sample's measures, interpolated; by id."""
        found = {}
        for below, above in pairs(self.lower, self.upper, target):
            values = {name: self._between(below[name], above[name]) for name in metrics}
            found[below["id"]] = {**below, **values}
        return found

    def _between(self, below: object, above: object) -> float | None:
        if below is None or above is None:
            return None
        return (1 - self.share) * float(str(below)) + self.share * float(str(above))


def blend_at(family: Sequence[Measured], level: float, target: str) -> Blend | None:
    """Return where a family of runs has a mean SSIM; None where it never does."""
    known = [(run.mean("ssim", CORRECT, target), run) for run in family]
    ordered = sorted(
        ((mean, run) for mean, run in known if mean is not None), key=lambda one: one[0]
    )
    for (low, lower), (high, upper) in pairwise(ordered):
        if low <= level <= high:
            return Blend(lower, upper, (level - low) / (high - low) if high > low else 0.0)
    return None


def matched(families: Mapping[str, Sequence[Measured]], targets: Sequence[str]) -> str:
    """Compare two families of runs at the same mean SSIM, a row a level, target and measure.

    Each sample's measures are interpolated linearly between the two runs of its family whose mean
    SSIM encloses the level, and then compared sample by sample.

    Args:
        families: two, by name.
        targets: names of classes.
    """
    lines = [
        line
        for level in LEVELS
        for target in targets
        for line in _matched_at(families, level, target)
    ]
    return markdown(lines, tuple(lines[0])) if lines else ""


def _matched_at(
    families: Mapping[str, Sequence[Measured]], level: float, target: str
) -> Iterator[dict[str, str]]:
    blends = [blend_at(family, level, target) for family in families.values()]
    if not any(blends):
        return
    metrics = [name for name in judged_by(next(iter(families.values()))[0]) if name != "ssim"]
    places = [blend.rows(target, metrics) if blend else {} for blend in blends]
    first, second = places
    names = tuple(families)
    for metric in metrics:
        label, decimals, _ = describe(metric)
        line = {"SSIM": number(level), "target": target, "": label}
        for name, rows in zip(names, places, strict=True):
            line[name] = interval(finite(_mean(list(rows.values()), metric)), decimals)
        both = [(row, second[identity]) for identity, row in first.items() if identity in second]
        line[f"{names[0]} minus {names[1]}"] = interval(finite(difference(both, metric)), decimals)
        yield line


def _mean(rows: Sequence[Row], metric: str) -> Estimate:
    values = [None if row[metric] is None else float(str(row[metric])) for row in rows]
    return estimate(values, [str(group_of(row)) for row in rows])
