"""Averages with their intervals, and tests of paired differences."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval.

    Attributes:
        mean: the mean of the finite values; NaN where there is none.
        low: lower end of the interval; NaN where fewer than two groups have a value.
        high: upper end.
        n: how many values are in the mean.
    """

    mean: float
    low: float
    high: float
    n: int


def estimate(values: Sequence[float | None], groups: Sequence[Hashable] | None = None) -> Estimate:
    """Return the mean of the finite values with its interval from `bootstrap_interval`.

    >>> estimate([1.0, None, 3.0]).mean, estimate([1.0, None, 3.0]).n
    (2.0, 2)
    """
    exact = np.array([math.nan if value is None else value for value in values], dtype=float)
    finite = exact[np.isfinite(exact)]
    mean = float(finite.mean()) if finite.size else math.nan
    return Estimate(mean, *bootstrap_interval(values, groups), int(finite.size))


def paired_difference(
    first: Sequence[float | None],
    second: Sequence[float | None],
    groups: Sequence[Hashable] | None = None,
) -> Estimate:
    """Return the mean of first - second over the samples where both are known, with its interval.

    mean_i (a_i - b_i) and its `bootstrap_interval`: the pairs are kept together, so that what
    makes a sample easy or hard for both cancels. An interval without 0 tells the two apart.

    Args:
        first: one value a sample.
        second: of the same samples, in the same order.
        groups: to which patient each sample belongs; each is its own without.

    Raises:
        ValueError: not as many values on one side as on the other, or as groups.

    >>> found = paired_difference([0.5, 1.0, None], [0.25, 0.25, 0.5])
    >>> found.mean, found.n
    (0.5, 2)
    """
    if len(first) != len(second):
        raise ValueError(
            f"expected two values for every sample, got {len(first)} and {len(second)}; pass the "
            "same samples in the same order."
        )
    pairs = zip(first, second, strict=True)
    known = [None if a is None or b is None else a - b for a, b in pairs]
    return estimate(known, groups)


def bootstrap_interval(
    values: Sequence[float | None],
    groups: Sequence[Hashable] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a mean (Efron and Tibshirani 1993).

    Whole groups are drawn with replacement, since the images of one patient are not independent
    (Field and Welsh 2007). Values that are None, NaN or infinite are left out before, and with
    them any group that has no other. Where all values are equal the interval has no width, which
    says little for few of them.

    Args:
        values: one value an image.
        groups: to which patient each image belongs; each image is its own without.
        draws: how many resamples.
        seed: of the resampling: the same values give the same interval.

    Returns:
        The 2.5th and 97.5th percentile of the resampled means; NaN for fewer than two groups,
        which tell nothing of the spread.

    Raises:
        ValueError: not as many groups as values.
    """
    sums, counts = _by_group(values, groups)
    if len(sums) < 2:
        return math.nan, math.nan
    generator = np.random.default_rng(seed)
    means = np.empty(draws)
    step = max(1, _AT_ONCE // len(sums))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        drawn = generator.integers(len(sums), size=(rows, len(sums)))
        means[start : start + rows] = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def sign_flip_p(
    differences: Sequence[float | None],
    groups: Sequence[Hashable] | None = None,
    draws: int = 20_000,
    seed: int = 0,
) -> float:
    """Return the two-sided p-value of a mean paired difference, by sign-flip permutation.

    The share of sign vectors s in {-1, 1}^G with |sum_g s_g D_g| >= |sum_g D_g|, where D_g is the
    sum of a group's differences: were the two of a pair alike, either sign would be as likely
    (Fisher 1935). The signs of a group are flipped together, since the images of one patient are
    not independent (Winkler et al. 2014). All 2^G vectors are counted where these are no more
    than the draws; else b of the drawn ones reach it, and p = (b + 1) / (draws + 1), which is never
    0 (Phipson and Smyth 2010). In (0, 1]; low where the mean is not 0 by chance alone.

    Args:
        differences: one a sample; those that are not finite are left out.
        groups: to which patient each sample belongs; each is its own without.
        draws: how many sign vectors at most.
        seed: of the draws: the same differences give the same p.

    Returns:
        The p-value; NaN where no difference is known.

    Raises:
        ValueError: not as many groups as differences.

    >>> sign_flip_p([1.0, 2.0, 3.0])
    0.25
    """
    sums, _ = _by_group(differences, groups)
    if not sums.size:
        return math.nan
    # Sums of the same numbers in another order differ by rounding.
    bar = abs(sums.sum()) - 1e-9 * np.abs(sums).sum()
    if 2 ** len(sums) <= draws:
        every = np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums))
        return float((np.abs(_signs(every & 1) @ sums) >= bar).mean())
    generator = np.random.default_rng(seed)
    step, reached = max(1, _AT_ONCE // len(sums)), 0
    for start in range(0, draws, step):
        size = (min(step, draws - start), len(sums))
        flips = generator.integers(2, size=size, dtype=np.int8)
        reached += int((np.abs(_signs(flips) @ sums) >= bar).sum())
    return (reached + 1) / (draws + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for how many there are (Holm 1979), in the same order.

    Sorted, p'_(k) = max_(j <= k) min(1, (m - j + 1) p_(j)), with m the number of p-values: among
    all tests with p' <= a, the chance that any is a false alarm is at most a, whatever their
    dependence. NaN stays NaN and counts for none.

    Raises:
        ValueError: a p-value is outside [0, 1].

    >>> holm([0.25, 0.0625, 0.03125, float("nan")])
    [0.25, 0.125, 0.09375, nan]
    """
    known = np.array(p_values, dtype=float)
    if ((known < 0) | (known > 1)).any():
        raise ValueError(f"expected p-values in [0, 1], got {list(p_values)}; pass these.")
    order = np.argsort(known)[: np.isfinite(known).sum()]
    factors = np.arange(len(order), 0, -1)
    known[order] = np.maximum.accumulate(np.minimum(1, factors * known[order]))
    return known.tolist()


def _signs(flips: Int[np.ndarray, "draws groups"]) -> Float[np.ndarray, "draws groups"]:
    return 1.0 - 2.0 * flips


def _by_group(
    values: Sequence[float | None], groups: Sequence[Hashable] | None
) -> tuple[Float[np.ndarray, " groups"], Int[np.ndarray, " groups"]]:
    """Sum and number of the finite values of each group that has any."""
    if groups is not None and len(groups) != len(values):
        raise ValueError(
            f"expected a group for each of {len(values)} values, got {len(groups)}; pass one each."
        )
    totals: dict[Hashable, tuple[float, int]] = {}
    each = range(len(values)) if groups is None else groups
    for value, group in zip(values, each, strict=True):
        if value is not None and math.isfinite(value):
            total, count = totals.get(group, (0.0, 0))
            totals[group] = (total + float(value), count + 1)
    sums = np.array([total for total, _ in totals.values()])
    return sums, np.array([count for _, count in totals.values()], dtype=int)
