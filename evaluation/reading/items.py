"""Which images readers are shown: counterfactuals, factuals and unrelated real ones, blinded."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import NamedTuple

from cfgen.data.pixels import UnreadableImage
from cfgen.models.bundle import load_bundle
from cfgen.types import Image, Outcome
from evaluation.gallery import images_of
from evaluation.measures.real import real_images
from evaluation.runs import Row, Run
from evaluation.summary import attempted, group_of, target_of

COUNTERFACTUAL, FACTUAL, UNRELATED = "counterfactual", "factual", "unrelated"
TURNS = (COUNTERFACTUAL, FACTUAL, COUNTERFACTUAL, UNRELATED)
"""Kinds in the order in which they are filled: half of a set is altered."""
_SPARE = 1000
"""Real images of a class that are looked at outside the run, at most."""


@dataclass(frozen=True)
class Item:
    """An image that readers are shown, and what it is.

    Attributes:
        kind: a counterfactual, the factual of a case, or an unrelated real image.
        target: the class that the case was to become, or that the unrelated image shows.
        finding: the class that is shown: a counterfactual's target, a real image's label.
        path: of the sample.
        group: whose image it is: the patient, where known.
        image: as the model sees it.
    """

    kind: str
    target: str
    finding: str
    path: str
    group: str
    image: Image


def choose_items(run: Run, count: int, seed: int) -> list[Item]:
    """Choose the images of a study and shuffle them.

    Cases are those whose counterfactual was reached and whose factual the model had right, in the
    order of the run, which is that of hashed file names. No patient is shown twice, in whatever
    kind, so no reader can hold a counterfactual against its factual. For each target half of the
    images are counterfactuals, a quarter factuals of other cases, and a quarter real images of the
    target class: other factuals of the run or, where these run out, images of its data.

    Args:
        run: searched on labelled images, towards named classes.
        count: how many images at most.
        seed: of the order.

    Raises:
        ValueError: fewer than two images of either kind can be had.
    """
    picks = list(_Choice(run).fill(count))
    altered = sum(pick.kind == COUNTERFACTUAL for pick in picks)
    if min(altered, len(picks) - altered) < 2:
        raise ValueError(
            f"expected two counterfactuals and two real images of different patients or more, got "
            f"{altered} and {len(picks) - altered} from {run.path}; search more images whose "
            "labels are known, towards named classes."
        )
    stored = [int(pick.row["id"] or 0) for pick in picks if pick.image is None]
    factuals, images = images_of(run, stored)
    pairs = dict(zip(stored, zip(factuals, images, strict=True), strict=True))
    items = [_item(pick, *pairs.get(int(pick.row["id"] or 0), (None, None))) for pick in picks]
    random.Random(seed).shuffle(items)  # noqa: S311 - an order, not a secret
    return items


class _Pick(NamedTuple):
    """An image that was chosen: of the run, or one of its data with its image."""

    kind: str
    target: str
    row: Row
    image: Image | None = None


class _Choice:
    """Where the next images of a study come from, and whose were taken already."""

    def __init__(self, run: Run) -> None:
        classes = run.config.get("classes") or []
        rows = [row for row in run.samples if row["label"] in classes]
        self.cases = {
            target: [row for row in rows if target_of(row) == target and _is_case(row)]
            for target in sorted({target_of(row) for row in rows} & set(classes))
        }
        self.real = {name: [row for row in rows if row["label"] == name] for name in self.cases}
        self.spare = {name: _spare(run, name) for name in self.cases}
        self.groups: set[str] = set()

    def fill(self, count: int) -> Iterator[_Pick]:
        """Yield picks, the targets in turn, until there are enough or no target has more."""
        going, given = list(self.cases), 0
        for kind in cycle(TURNS):
            for target in tuple(going):
                pick = self.take(kind, target) if given < count else None
                if pick is None:
                    going.remove(target)
                    continue
                self.groups.add(_group(pick.row))
                given += 1
                yield pick
            if not going:
                return

    def take(self, kind: str, target: str) -> _Pick | None:
        """Return the next image whose patient was not shown yet; None where there is none."""
        rows = self.real[target] if kind == UNRELATED else self.cases[target]
        picks: Iterator[_Pick] = (_Pick(kind, target, row) for row in rows)
        fresh = next((pick for pick in picks if _group(pick.row) not in self.groups), None)
        if fresh is not None or kind != UNRELATED:
            return fresh
        return next((p for p in self.spare[target] if _group(p.row) not in self.groups), None)


def _group(row: Row) -> str:
    return str(group_of(row))


def _is_case(row: Row) -> bool:
    return attempted(row) and row["outcome"] == Outcome.REACHED and row["source"] == row["label"]


def _spare(run: Run, target: str) -> Iterator[_Pick]:
    """Yield real images of a class from the run's data, where these still are."""
    searched = {row["path"] for row in run.samples}
    try:
        bundle = load_bundle(run.config["bundle"], run.config.get("classifier"))
        real = real_images(run, bundle, _SPARE)
    except (ValueError, KeyError, OSError):
        return
    for sample in real.samples.get(target, ()):
        if sample.path not in searched:
            with contextlib.suppress(UnreadableImage):
                row: Row = {"id": None, "path": sample.path, "patient": sample.patient}
                yield _Pick(UNRELATED, target, {**row, "label": target}, real.read(sample))


def _item(pick: _Pick, factual: Image | None, image: Image | None) -> Item:
    altered = pick.kind == COUNTERFACTUAL
    shown = pick.image if pick.image is not None else image if altered else factual
    assert shown is not None
    finding = pick.target if altered else str(pick.row["label"])
    return Item(pick.kind, pick.target, finding, str(pick.row["path"]), _group(pick.row), shown)


def kinds_of(items: Sequence[Item]) -> dict[str, int]:
    """Return how many images there are of each kind."""
    return {kind: sum(item.kind == kind for item in items) for kind in dict.fromkeys(TURNS)}
