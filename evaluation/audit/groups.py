"""What an audit reads off a run's rows: subgroups, confusion, robustness, the shortcut check."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from cfgen.metrics import contrast, energy_inside, estimate
from cfgen.models.bundle import load_bundle
from evaluation.audit.lines import Line, line, plain
from evaluation.batches import batches
from evaluation.measured import Measured
from evaluation.runs import Row, Run
from evaluation.study.marker import on_marker
from evaluation.summary import attempted, group_of, target_of

CONFUSION, ROBUSTNESS, SUBGROUPS, SHORTCUT = (
    "Where counterfactuals arrive",
    "Distance to the boundary",
    "Subgroups",
    "Shortcut check",
)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_DIFFER = {
    "valid": "valid",
    "effort": "L2 of the valid",
    "evaluations": "evaluations",
    "panel_follows": "panel follows",
    "energy_in_lungs": "change in the lungs",
    "upper": "change in the upper half",
    "left": "change in the left half",
}


def seen_in(measured: Measured) -> list[Row]:
    """Return what was attempted with what only the images tell.

    `arrived` is the class that the run's classifier decides for, `upper` and `left` the shares of
    the squared change in these halves of the image, `effort` the L2 of a valid counterfactual.
    """
    config = measured.run.config
    classifier = load_bundle(config["bundle"], config.get("classifier")).classifier
    found = []
    for batch in batches(measured.run, 64, "cpu"):
        change = batch.image - batch.factual
        height, width = change.shape[-2:]
        upper, left = (torch.zeros_like(change, dtype=torch.bool) for _ in range(2))
        upper[..., : height // 2, :], left[..., : width // 2] = True, True
        with torch.inference_mode():
            arrived = classifier.predict(batch.image).tolist()
        shares = [energy_inside(change, half).tolist() for half in (upper, left)]
        for row, where, above, aside in zip(batch.rows, arrived, *shares, strict=True):
            if attempted(row):
                known = measured.rows[int(row["id"] or 0)]
                effort = known["l2"] if known["valid"] else None
                places = {"upper": above, "left": aside, "effort": effort}
                found.append({**known, **places, "arrived": classifier.classes[where]})
    return found


def confusion(rows: Sequence[Row]) -> Iterator[Line]:
    """Yield which classes the counterfactuals of each direction arrive at, and how many astray."""
    names = sorted({str(row["arrived"]) for row in rows})
    for direction, some in _by(rows, _direction).items():
        patients = _patients(some)
        for name in names:
            there = [float(row["arrived"] == name) for row in some]
            yield line(CONFUSION, direction, f"arrived at {name}", estimate(there, patients))
        astray = [float(row["arrived"] not in (row["source"], target_of(row))) for row in some]
        yield line(CONFUSION, direction, "at neither", estimate(astray, patients))


def robustness(rows: Sequence[Row]) -> Iterator[Line]:
    """Yield quantiles of the L2 of valid counterfactuals: upper bounds of the least that flips.

    Of the valid ones, and of all attempted with the others as farther than any.
    """
    for direction, some in _by(rows, _direction).items():
        valid = [float(row["effort"]) for row in some if row["effort"] is not None]
        every = [*valid, *[math.inf] * (len(some) - len(valid))]
        for name, lengths in (("of the valid", valid), ("of all attempted", every)):
            for share in QUANTILES if lengths else ():
                # An order statistic: infinities have no mean to interpolate by.
                value = float(np.quantile(lengths, share, method="inverted_cdf"))
                known = value if math.isfinite(value) else None
                row, measure = f"{direction}, {name}", f"{round(100 * share)} % within"
                yield plain(ROBUSTNESS, row, measure, known, len(lengths))


def subgroups(rows: Sequence[Row]) -> Iterator[Line]:
    """Yield each subgroup's means towards each target, and what is more or less than in the rest.

    Nothing where there are fewer than two subgroups.
    """
    known = [row for row in rows if row["subgroup"] is not None]
    names = sorted({str(row["subgroup"]) for row in known})
    for target, some in _by(known, target_of).items():
        patients = _patients(some)
        for name in names if len(names) > 1 else ():
            members = [row["subgroup"] == name for row in some]
            for key, label in _DIFFER.items():
                if key not in some[0]:
                    continue
                values = [_number(row[key]) for row in some]
                own = [v if member else None for v, member in zip(values, members, strict=True)]
                yield line(SUBGROUPS, f"{name}, to {target}", label, estimate(own, patients))
                apart = contrast(values, members, patients)
                yield line(SUBGROUPS, f"{name} minus the rest, to {target}", label, apart)


def shortcut(rows: Sequence[Row], measured: Measured) -> Iterator[Line]:
    """Yield how much of the change is where the finding cannot be."""
    for target, some in _by(rows, target_of).items():
        patients, row = _patients(some), f"to {target}"
        if "energy_in_lungs" in some[0]:
            inside = [_number(one["energy_in_lungs"]) for one in some]
            over = [_number(one["inside_ratio"]) for one in some]
            pairs = list(zip(inside, over, strict=True))
            share = [None if a is None else 1 - a for a in inside]
            area = [1 - a / b if a is not None and b else None for a, b in pairs]
            yield line(SHORTCUT, row, "change outside the lungs", estimate(share, patients))
            yield line(SHORTCUT, row, "their outside's area", estimate(area, patients))
        if "border_shift" in some[0]:
            shift = [_number(one["border_shift"]) for one in some]
            yield line(SHORTCUT, row, "border shift", estimate(shift, patients))
    if is_marked(measured.run):
        for one in on_marker(measured):
            row = f"marker to be {one.task}"
            yield line(SHORTCUT, row, "change on the marker", one.share)
            yield line(SHORTCUT, row, "the marker's area", one.area)


def is_marked(run: Run) -> bool:
    """Return whether a run is of phantoms with markers."""
    name, _, share = str(run.config["data"]).partition(":")
    return name == "phantom" and float(share or 0) > 0


def _by(rows: Sequence[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return dict(sorted(found.items()))


def _direction(row: Row) -> str:
    return f"{row['source']} → {target_of(row)}"


def _patients(rows: Sequence[Row]) -> list[str]:
    return [str(group_of(row)) for row in rows]


def _number(value: object) -> float | None:
    return None if value is None else float(str(value))
