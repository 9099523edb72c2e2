"""Whose counterfactuals they are: how much of a change is due to the classifier explained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.metrics import Estimate, estimate
from cfgen.types import Images
from evaluation.measured import Measured
from evaluation.runs import Row
from evaluation.summary import attempted, finite, group_of, target_of
from evaluation.tables import interval, markdown

HEADS = ("beside", "n", "cosine of the changes", "energy of the difference")


class Likeness(NamedTuple):
    """How like a run's changes another run's are, over the same images and targets.

    Attributes:
        name: of the other run.
        cosine: mean cosine of the angle between the two changes of an image, in [-1, 1].
        difference: mean of |d - d'|^2 / |d|^2, with d the run's change of an image and d' the
            other's: 0 if they are the same. Where the other is the edit alone, this is the share
            of the change that is due to the classifier.
    """

    name: str
    cosine: Estimate
    difference: Estimate


def likeness(method: Measured, other: Measured) -> Likeness:
    """Compare the changes that two runs made to the same images towards the same targets.

    Left out is what either had not attempted, or did not change.
    """
    cosines: list[float] = []
    shares: list[float] = []
    groups: list[str] = []
    for rows, first, second in _changes(method, other):
        cosines += _cosine(first, second).tolist()
        shares += _relative_energy(first, second).tolist()
        groups += [str(group_of(row)) for row in rows]
    return Likeness(other.name, estimate(cosines, groups), estimate(shares, groups))


def likeness_table(found: Sequence[Likeness]) -> str:
    """Write likenesses for reading, a row a run."""
    rows = [
        {
            "beside": one.name,
            "n": str(one.difference.n),
            "cosine of the changes": interval(finite(one.cosine)),
            "energy of the difference": interval(finite(one.difference)),
        }
        for one in found
    ]
    return markdown(rows, HEADS)


def _changes(first: Measured, second: Measured) -> Iterator[tuple[list[Row], Images, Images]]:
    """Yield the rows and both changes of the images that both runs moved to the same target."""
    others = {
        identity: image - factual
        for ids, factuals, images in second.run.images()
        for identity, factual, image in zip(ids.tolist(), factuals, images, strict=True)
    }
    for ids, factuals, images in first.run.images():
        kept = [
            place
            for place, identity in enumerate(ids.tolist())
            if identity in others and _same(first.rows[identity], second.rows[identity])
        ]
        if kept:
            known = [ids.tolist()[place] for place in kept]
            theirs = torch.stack([others[identity] for identity in known])
            rows = [first.rows[identity] for identity in known]
            yield rows, (images - factuals)[kept], theirs


def _same(row: Row, other: Row) -> bool:
    return attempted(row) and attempted(other) and target_of(row) == target_of(other)


def _cosine(first: Images, second: Images) -> Float[Tensor, " images"]:
    """Cosine of the angle between changes; NaN where either is none."""
    one, two = first.flatten(1).double(), second.flatten(1).double()
    return (one * two).sum(1) / (one.norm(dim=1) * two.norm(dim=1))


def _relative_energy(first: Images, second: Images) -> Float[Tensor, " images"]:
    """|d - d'|^2 / |d|^2; infinite or NaN where d is none, and so left out of a mean."""
    one, two = first.flatten(1).double(), second.flatten(1).double()
    return (one - two).square().sum(1) / one.square().sum(1)
