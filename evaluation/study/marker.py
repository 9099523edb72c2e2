"""Whether a shortcut is revealed where a classifier took it, and left alone where it did not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from cfgen.data import phantom
from cfgen.metrics import Estimate, energy_inside, estimate
from cfgen.models.bundle import find_bundle
from cfgen.types import Images
from evaluation.batches import Batch, batches
from evaluation.measured import Measured
from evaluation.study.making import Setting
from evaluation.summary import attempted, finite, group_of, target_of
from evaluation.tables import interval, markdown
from evaluation.verdicts.fit import marker_place

DATA = "phantom:0.9"
"""Phantoms of which nearly every one with an opacity has a marker, and hardly any other has."""
HEADS = ("classifier", "marker to be", "n", "share of the change on it", "its share of the area")


class OnMarker(NamedTuple):
    """How much of a run's changes lies where the marker is, or would be.

    Attributes:
        name: of the run.
        task: 'removed' (a marked phantom to NORMAL) or 'added' (an unmarked one to OPACITY).
        share: of the squared change; where there is no marker yet, in the two corners that one
            may be drawn in.
        area: of the pixels, which is the share that would lie there by chance.
    """

    name: str
    task: str
    share: Estimate
    area: Estimate


def on_marked(setting: Setting, marker: str) -> Setting:
    """Return the same setting on marked phantoms, with the judges of the bundle that saw no marker.

    Args:
        setting: of the clean bundle.
        marker: the bundle whose classifier learned the marker.
    """
    judges = setting.judges or find_bundle(setting.bundle) / "judges"
    return replace(setting, bundle=marker, data=DATA, judges=judges if judges.is_dir() else None)


def change_of(batch: Batch) -> Images:
    """Return counterfactual minus factual."""
    return batch.image - batch.factual


def on_marker(measured: Measured, maps: Callable[[Batch], Images] = change_of) -> list[OnMarker]:
    """Measure how much of the changes lies on the marker, where one is to be added or removed.

    Args:
        measured: a run over phantoms.
        maps: what is measured, such as saliency in place of the change.
    """
    found: dict[str, list[tuple[float, float, str]]] = {"removed": [], "added": []}
    for batch in batches(measured.run, 64, "cpu"):
        size = batch.image.shape[-1]
        drawn = [phantom.of_path(str(row["path"]), size) for row in batch.rows]
        places = torch.stack([marker_place(one.marker) for one in drawn])
        shares = energy_inside(maps(batch), places).tolist()
        areas = places.float().flatten(1).mean(1).tolist()
        for row, one, share, area in zip(batch.rows, drawn, shares, areas, strict=True):
            task = _task(target_of(row), bool(one.marker.any()))
            if task and attempted(row):
                found[task].append((share, area, str(group_of(row))))
    return [_summed(measured.name, task, values) for task, values in found.items()]


def marker_table(found: Sequence[OnMarker]) -> str:
    """Write shares for reading, a row a classifier and task."""
    rows = [
        {
            "classifier": one.name,
            "marker to be": one.task,
            "n": str(one.share.n),
            "share of the change on it": interval(finite(one.share)),
            "its share of the area": interval(finite(one.area), 3),
        }
        for one in found
    ]
    return markdown(rows, HEADS)


def _task(target: str, marked: bool) -> str | None:
    normal, opacity = phantom.CLASSES
    if target == normal and marked:
        return "removed"
    return "added" if target == opacity and not marked else None


def _summed(name: str, task: str, values: Sequence[tuple[float, float, str]]) -> OnMarker:
    shares, areas, groups = ([value[k] for value in values] for k in range(3))
    return OnMarker(
        name,
        task,
        estimate([float(share) for share in shares], groups),
        estimate([float(area) for area in areas], groups),
    )
