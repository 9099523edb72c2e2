"""Starting changes of a code, proposed before any classifier is asked.

An edit maps (codes, goal, generator) to a change of the codes, so that a search may add it, scale
it, or search along it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.types import Codes, Goal

Edit = Callable[[Codes, Goal, torch.Generator | None], Codes]


def class_mean(means: Float[Tensor, "classes ..."]) -> Edit:
    """Edit by the difference of the mean codes of two classes: m_target - m_source.

    It knows nothing of the image, so it is the control that any method has to beat. Without a
    target, the mean of the other classes' means stands in for it.

    Args:
        means: mean code of every class, over training images.
    """

    def edit(codes: Codes, goal: Goal, _generator: torch.Generator | None) -> Codes:
        if goal.source is None:
            raise ValueError("expected a goal with source classes, got none; do give them")
        source = means[goal.source]
        if goal.target is not None:
            return (means[goal.target] - source).expand_as(codes)
        return ((means.sum(0) - source) / (len(means) - 1) - source).expand_as(codes)

    return edit
