"""Does a group differ from the rest?"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

from cfgen.metrics.statistics import Estimate

_AT_ONCE = 500_000


def contrast(
    values: Sequence[float | None],
    members: Sequence[bool],
    groups: Sequence[Hashable] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Return the mean of the members less the mean of the others, with its 95 % interval.

    The percentile bootstrap (Efron and Tibshirani 1993) over whole patients, both sides from the
    same draw, so that a patient with images on both sides counts on both. Draws that leave a side
    empty are left out, and so are values that are not finite.

    Args:
        values: one a sample.
        members: whether each sample is of the group.
        groups: to which patient each sample belongs; each is its own without.
        draws: how many resamples.
        seed: of the resampling: the same values give the same interval.

    Returns:
        The difference; `n` is that of the members. NaN where a side is empty; no interval for
        fewer than two patients on a side.

    Raises:
        ValueError: not as many members, or groups, as values.

    >>> contrast([3.0, 1.0, 1.0, None], [True, False, False, True]).mean
    2.0
    """
    each = range(len(values)) if groups is None else groups
    if not len(values) == len(members) == len(each):
        raise ValueError(
            f"expected a member and a group for each of {len(values)} values, got {len(members)} "
            f"and {len(each)}; pass one each."
        )
    sums: dict[Hashable, list[float]] = {}
    for value, member, group in zip(values, members, each, strict=True):
        if value is not None and math.isfinite(value):
            side = sums.setdefault(group, [0.0, 0.0, 0.0, 0.0])
            side[0 if member else 2] += value
            side[1 if member else 3] += 1
    table = np.array(list(sums.values())).reshape(-1, 4)
    n, others = table[:, 1].sum(), table[:, 3].sum()
    if not (n and others):
        return Estimate(math.nan, math.nan, math.nan, int(n))
    mean = float(table[:, 0].sum() / n - table[:, 2].sum() / others)
    if min((table[:, 1] > 0).sum(), (table[:, 3] > 0).sum()) < 2:
        return Estimate(mean, math.nan, math.nan, int(n))
    generator = np.random.default_rng(seed)
    step, found = max(1, _AT_ONCE // len(table)), []
    for start in range(0, draws, step):
        size = (min(step, draws - start), len(table))
        drawn = table[generator.integers(len(table), size=size)].sum(1)
        whole = drawn[(drawn[:, 1] > 0) & (drawn[:, 3] > 0)]
        found.append(whole[:, 0] / whole[:, 1] - whole[:, 2] / whole[:, 3])
    low, high = np.percentile(np.concatenate(found), [2.5, 97.5])
    return Estimate(mean, float(low), float(high), int(n))
