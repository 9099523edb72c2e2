"""What a reader study says: told apart or not, the finding named or not, agreed or not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cfgen.metrics.readers import (
    Answers,
    Places,
    cohen_kappa,
    crossed_interval,
    fleiss_kappa,
    mean_auc,
    shuffled_auc_p,
)
from evaluation.reading.answers import Readers, matrix
from evaluation.reading.items import COUNTERFACTUAL, FACTUAL, UNRELATED
from evaluation.reading.key import Key

EVERYONE = "all readers"
_KINDS = {
    COUNTERFACTUAL: "counterfactuals",
    UNRELATED: "unrelated real images",
    FACTUAL: "factuals of other cases",
}


class Score(NamedTuple):
    """A number of a study.

    Attributes:
        measure: what it is.
        subset: of which images.
        reader: whose; or `EVERYONE`, the mean over the readers.
        value: the number; NaN where it cannot be had.
        low: lower end of its 95 % interval.
        high: upper end.
        images: how many images were answered.
        p: of the test against chance or no difference; NaN where there is none.
    """

    measure: str
    subset: str
    reader: str
    value: float
    low: float
    high: float
    images: int
    p: float = math.nan


class _Images(NamedTuple):
    """The images of a comparison.

    Attributes:
        subset: what they are called.
        names: their numbers in the form.
        altered: which are counterfactuals.
    """

    subset: str
    names: Sequence[str]
    altered: np.ndarray


def scores_of(key: Key, readers: Readers) -> list[Score]:
    """Score the answers of readers.

    Args:
        key: of the study.
        readers: their answers.
    """
    each = {name: {name: answers} for name, answers in readers.items()} if len(readers) > 1 else {}
    groups: dict[str, Readers] = {EVERYONE: readers, **each}
    return [
        *_told_apart(key, groups),
        *_findings(key, groups),
        *_agreement(key, readers),
    ]


def _told_apart(key: Key, groups: Mapping[str, Readers]) -> Iterator[Score]:
    everything = _images(key, "all", lambda row: True)
    targets = sorted({row["target"] for row in key.rows.values()})
    same = [
        _images(key, f"showing {name}", lambda row, name=name: row["finding"] == name)
        for name in targets
    ]
    for place, images in enumerate([everything, *same]):
        for name, readers in groups.items():
            if place and name != EVERYONE:
                continue
            sure = _table(readers, images, None)
            called = np.where(np.isnan(sure), np.nan, (sure > 0).astype(float))
            yield _area("told apart: AUC", images, name, sure)
            yield _area("told apart: accuracy", images, name, called)
            if not place:
                yield _share("altered ones called altered", images, name, called, images.altered)
                yield _share("real ones called real", images, name, 1 - called, ~images.altered)


def _findings(key: Key, groups: Mapping[str, Readers]) -> Iterator[Score]:
    aims = {row["finding"] for row in key.rows.values() if row["kind"] == COUNTERFACTUAL}
    sets = [
        _images(key, words, lambda row, kind=kind: row["kind"] == kind)
        for kind, words in _KINDS.items()
    ]
    # Where the run has both directions, factuals of the one show what the other aims at.
    both = _images(
        key, "counterfactuals less real images of their targets", lambda row: row["finding"] in aims
    )
    for name, readers in groups.items():
        for images in sets:
            everything = np.ones(len(images.names), dtype=bool)
            if everything.any():
                named = _named(key, readers, images)
                yield _share("finding named", images, name, named, everything)
        if not both.altered.all():
            # Of answers 0 and 1 the area is a half plus half of the difference of their means.
            area = _area("finding named", both, name, _named(key, readers, both))
            value, low, high = (2 * one - 1 for one in (area.value, area.low, area.high))
            yield area._replace(value=value, low=low, high=high)


def _agreement(key: Key, readers: Readers) -> Iterator[Score]:
    if len(readers) < 2:
        return
    images = _images(key, "answered by all", lambda row: True)
    codes = {name: float(place) for place, name in enumerate(key.classes)}
    sure = _table(readers, images, None)
    called = np.where(np.isnan(sure), np.nan, (sure > 0).astype(float))
    findings = _table(readers, images, codes)
    kind = "Cohen's kappa" if len(readers) == 2 else "Fleiss' kappa"
    for measure, answers in ((f"real or altered: {kind}", called), (f"finding: {kind}", findings)):
        whole = answers[:, np.isfinite(answers).all(0)].astype(int)
        places = np.arange(whole.shape[1])
        # Readers are not drawn: one drawn twice would agree with itself.
        low, high = crossed_interval(lambda _, drawn: _kappa(whole[:, drawn]), 1, [places])  # noqa: B023
        value = _kappa(whole)
        yield Score(measure, images.subset, EVERYONE, value, low, high, len(places))


def _kappa(named: np.ndarray) -> float:
    return cohen_kappa(*named) if len(named) == 2 else fleiss_kappa(named)


def _images(key: Key, subset: str, wanted: Callable[[Mapping[str, str]], bool]) -> _Images:
    rows = {item: row for item, row in key.rows.items() if wanted(row)}
    altered = np.array([row["kind"] == COUNTERFACTUAL for row in rows.values()], dtype=bool)
    return _Images(subset, list(rows), altered)


def _table(readers: Readers, images: _Images, codes: Mapping[str, float] | None) -> Answers:
    return matrix(readers, images.names, codes)


def _named(key: Key, readers: Readers, images: _Images) -> Answers:
    """Whether each reader named the finding that each image is to show."""
    table = _table(readers, images, {name: float(place) for place, name in enumerate(key.classes)})
    wanted = np.array([key.classes.index(key.rows[item]["finding"]) for item in images.names])
    return np.where(np.isnan(table), np.nan, (table == wanted).astype(float))


def _area(measure: str, images: _Images, name: str, answers: Answers) -> Score:
    """An area under the curve over all images, its interval and its p against chance."""
    altered = images.altered
    strata = [np.flatnonzero(altered), np.flatnonzero(~altered)]
    low, high = crossed_interval(
        lambda rows, drawn: mean_auc(answers[np.ix_(rows, drawn)], altered[drawn]),
        len(answers),
        strata,
    )
    p = shuffled_auc_p(answers, altered)
    return Score(
        measure, images.subset, name, mean_auc(answers, altered), low, high, _answered(answers), p
    )


def _share(measure: str, images: _Images, name: str, answers: Answers, which: np.ndarray) -> Score:
    """A share of the answers to some images, mean over the readers, and its interval."""
    some = answers[:, which]
    places: Places = np.arange(some.shape[1])
    low, high = crossed_interval(
        lambda rows, drawn: _mean(some[np.ix_(rows, drawn)]), len(some), [places]
    )
    return Score(measure, images.subset, name, _mean(some), low, high, _answered(some))


def _mean(answers: Answers) -> float:
    """Mean over the readers of each one's mean over the images that they answered."""
    counts = np.isfinite(answers).sum(1)
    sums = np.where(np.isfinite(answers), answers, 0).sum(1)
    known = counts > 0
    return float((sums[known] / counts[known]).mean()) if known.any() else math.nan


def _answered(answers: Answers) -> int:
    return int(np.isfinite(answers).any(0).sum())
