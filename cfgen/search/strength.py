"""How strong an edit may be: scaled until the image has a given similarity to the factual."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.metrics import ssim_on_device
from cfgen.search.turns import take_turns
from cfgen.spaces import EVERYWHERE, Encoded, Region, Space, lengths, spread
from cfgen.types import ALL, Codes, Going, Images, Labels, Rows

LONGEST = 4.0
"""Longest change of a code that is tried, in lengths of the code itself."""
FIRST = 0.25
"""First one tried, likewise."""
CLOSE = 0.97
"""Share of the dissimilarity allowed from which on a strength is great enough."""
_AIM = (1 + CLOSE) / 2
_SLOPES = (0.5, 4.0)
_TRIES = 16


class Strength(NamedTuple):
    """How strong an edit may be, and what it took to find out.

    Attributes:
        strength: factor of each image's edit.
        tries: how many strengths were tried; each costs a decode.
    """

    strength: Float[Tensor, " batch"]
    tries: Labels


@torch.no_grad()
def strength_at_ssim(
    edit: Codes,
    factual: Images,
    space: Space,
    encoded: Encoded,
    budget: float,
    *,
    region: Region = EVERYWHERE,
    width: int = ALL,
) -> Strength:
    """Return the greatest strength of each image's edit that keeps an SSIM to the factual.

    The strength s is sought at which the dissimilarity d(s) = 1 - SSIM(x, x'(z0 + s * edit)) is
    the one allowed, 1 - budget, or at most 3 % less. For small edits d is a power of s, so that
    log d over log s is nearly a line: secants of that line, kept within the strengths that are
    known to be too weak and too strong, take three or four tries.

    Args:
        edit: changes of the codes, of any length.
        factual: images in [0, 1].
        space: where the edit is.
        encoded: the images in it.
        budget: SSIM to keep, in (0, 1).
        region: where and how far an image may change.
        width: images that are decoded at once.
    """
    unit = lengths(encoded.codes) / lengths(edit)
    low, high, tries = torch.zeros_like(unit), LONGEST * unit, torch.zeros(len(unit)).long()
    now, slope = FIRST * unit, torch.full_like(unit, 2.0)
    before = torch.full((2, len(unit)), torch.nan).to(unit)

    def try_strength(rows: Rows) -> Going:
        change = edit[rows] * spread(now[rows], edit)
        there, unchanged = space.take(rows), factual[rows]
        seen = there.decode(space.project(encoded.codes[rows] + change), encoded.residual[rows])
        seen = region.take(rows).confine(seen, unchanged)
        lost = (1 - ssim_on_device(unchanged, seen)) / (1 - budget)
        tries[rows] += 1
        low[rows] = torch.where(lost <= 1, now[rows], low[rows])
        high[rows] = torch.where(lost <= 1, high[rows], now[rows])
        point = torch.stack([now[rows], lost.clamp(min=1e-6)]).log()
        across, up = point - before[:, rows]
        slope[rows] = (up / across).nan_to_num(2.0).clamp(*_SLOPES)
        longest = LONGEST * unit[rows]
        going = (lost > 1) | ((lost < CLOSE) & (now[rows] < longest))
        wanted = (point[0] + (math.log(_AIM) - point[1]) / slope[rows]).exp()
        now[rows] = _between(wanted, low[rows], high[rows], longest)
        before[:, rows] = point
        return rows[going.cpu() & (tries[rows] < _TRIES)]

    take_turns(torch.arange(len(unit)), width, try_strength)
    return Strength(low, tries)


def _between(wanted: Tensor, low: Tensor, high: Tensor, longest: Tensor) -> Tensor:
    """Return the wanted strengths; the middle, where they are not between the known ones."""
    inside = (wanted > low) & (wanted < high)
    untried = (wanted >= high) & (high == longest)
    return torch.where(inside, wanted, torch.where(untried, longest, (low + high) / 2))
