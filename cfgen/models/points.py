"""Operating points: the probability of a finding from which on a network decides for it."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from cfgen.models.description import Description
from cfgen.types import LogOdds


def point_of(described: Description, points: Tensor | None, names: tuple[str, ...]) -> float:
    """Return the operating point of the finding that a description names, one half without any.

    Args:
        described: what names the finding.
        points: one an output of the network; NaN where it has none.
        names: of the outputs.

    Raises:
        ValueError: this finding has none, though others have.
    """
    if points is None:
        return 0.5
    point = float(points[names.index(described.pathology or "")])
    if not 0 < point < 1:
        raise ValueError(
            f"expected an operating point in (0, 1) of {described.pathology} in "
            f"{described.weights}, got {point}; do choose another pathology in {described.path}"
        )
    return point


def scaled_odds(odds: LogOdds, point: float) -> LogOdds:
    """Return log-odds of a probability scaled so that its operating point becomes one half.

    p / (2 t) below the point t, 1 - (1 - p) / (2 (1 - t)) above, as torchxrayvision scales its
    outputs (Cohen et al. 2022); from log-odds and to log-odds, so that none is too sure to have a
    gradient.

    Args:
        odds: log-odds of p.
        point: t, in (0, 1).

    >>> scaled = scaled_odds(torch.tensor([0.1, 0.2, 0.6]).logit(), 0.2).sigmoid()
    >>> [round(p, 3) for p in scaled.tolist()]
    [0.25, 0.5, 0.75]
    """
    if point == 0.5:
        return odds
    below = logsigmoid(odds) - math.log(2 * point)
    above = logsigmoid(-odds) - math.log(2 * (1 - point))
    # The branch not taken is kept at its end, for its gradient would be NaN times zero.
    end = math.log(0.5)
    low, high = below.clamp(max=end), above.clamp(max=end)
    low, high = low - torch.log1p(-low.exp()), torch.log1p(-high.exp()) - high
    return torch.where(below < end, low, high)
