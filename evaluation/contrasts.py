"""Paired differences between evaluated runs, and how much of a change a classifier decides."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from cfgen.metrics import Estimate, estimate, paired_difference
from evaluation.definitions import describe
from evaluation.runs import Row, read_run
from evaluation.summary import attempted, group_of, target_of
from evaluation.tables import interval, markdown

_PAIRED = ("panel_follows", "border_shift", "inside_ratio", "ssim_outside", "ssim")
_CHANGES = (
    "Of all attempted in both runs. *cosine*: of the changes x' - x of the same image. *due to "
    "the classifier*: |x' - x'_alone|^2 / (|x' - x|^2 + |x'_alone - x|^2), with x'_alone the edit "
    "at the same mean similarity, the classifier ignored: 0 where it had no say, about 1 where "
    "the two have nothing in common.\n"
)


def rows_of(folder: Path) -> dict[int, Row]:
    """Read samples and measures of an evaluated run, by id, numbers as numbers."""
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        measured = {
            int(row["id"]): {name: float(text) if text else None for name, text in row.items()}
            for row in csv.DictReader(file)
        }
    return {int(row["id"] or 0): {**measured[int(row["id"] or 0)], **row}
            for row in read_run(folder).samples}  # fmt: skip


def controls_table(method: Path, controls: Sequence[Path]) -> str:
    """The method less each control, image by image, of those classified correctly."""
    ours, lines = rows_of(method), []
    targets = sorted({target_of(row) for row in ours.values()})
    for folder in controls:
        theirs = rows_of(folder)
        common = [i for i in ours if i in theirs and _correct(ours[i])]
        for target in targets:
            chosen = [i for i in common if target_of(ours[i]) == target]
            line = {"control": folder.name, "target": target, "n": str(len(chosen))}
            for metric in _PAIRED:
                found = paired_difference(
                    *([_number(rows[i].get(metric)) for i in chosen] for rows in (ours, theirs)),
                    groups=[group_of(ours[i]) for i in chosen],
                )
                line[describe(metric).label] = interval(asdict(found), describe(metric).decimals)
            lines.append(line)
    head = f"## {method.name} less its controls\n\nPaired differences with 95 % intervals, "
    head += "bootstrap over patients, of those classified correctly.\n\n"
    return head + markdown(lines, tuple(lines[0]))


def faithfulness_table(method: Path, alone: Path, others: Sequence[Path]) -> str:
    """How much of the change the classifier decides, and how alike those of others are."""
    lines = []
    for folder in [alone, *others]:
        cosine = _over_pairs(method, folder, torch.nn.functional.cosine_similarity)
        due = _over_pairs(folder, alone, _due) if folder != alone else None
        found = {"run": folder.name, f"cosine to {method.name}": interval(asdict(cosine), 2)}
        found["due to the classifier"] = "" if due is None else interval(asdict(due), 2)
        lines.append(found)
    own = interval(asdict(_over_pairs(method, alone, _due)), 2)
    columns = tuple(lines[0])
    lines.insert(0, dict(zip(columns, (method.name, "1", own), strict=True)))
    return f"## Faithful to the classifier\n\n{_CHANGES}\n" + markdown(lines, columns)


def frontier_points(folders: Sequence[Path]) -> list[dict[str, str | float]]:
    """Mean similarity and following of each run, by target, of those classified correctly."""
    points = []
    for folder in folders:
        rows = [row for row in rows_of(folder).values() if _correct(row)]
        for target in sorted({target_of(row) for row in rows}):
            some = [row for row in rows if target_of(row) == target]
            point: dict[str, str | float] = {"run": folder.name, "target": target}
            for metric in ("ssim", "panel_follows"):
                known = [_number(row.get(metric)) for row in some]
                point[metric] = estimate(known, [group_of(row) for row in some]).mean
            points.append(point)
    return points


def _correct(row: Row) -> bool:
    return attempted(row) and row["source"] == row["label"]


def _number(value: object) -> float | None:
    return value if isinstance(value, float) else None


def _due(first: Tensor, second: Tensor) -> Tensor:
    """Share of two changes' energy that is not common to them."""
    apart = (first - second).square().sum(1)
    return apart / (first.square().sum(1) + second.square().sum(1)).clamp(min=1e-12)


def _over_pairs(
    first: Path, second: Path, compared: Callable[[Tensor, Tensor], Tensor]
) -> Estimate:
    """Mean over the images of two runs of what is found between their changes."""
    one, other = read_run(first), read_run(second)
    tried = [{row["id"] for row in run.samples if attempted(row)} for run in (one, other)]
    groups = {row["id"]: group_of(row) for row in one.samples}
    changes = {
        i: change.flatten()
        for ids, factual, image in other.images()
        for i, change in zip(ids.tolist(), image.float() - factual.float(), strict=True)
        if i in tried[0] & tried[1]
    }
    values, found = [], []
    for ids, factual, image in one.images():
        for i, change in zip(ids.tolist(), image.float() - factual.float(), strict=True):
            if i in changes:
                values.append(float(compared(change.flatten()[None], changes[i][None])))
                found.append(groups[i])
    return estimate(values, found)
