"""What readers can tell: separation, its test against chance, and how far readers agree.

Answers stand in arrays of one row a reader and one column an image; NaN is no answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

Answers = Float[np.ndarray, "readers images"]
Places = Int[np.ndarray, " _"]


def mean_auc(answers: Answers, positive: Bool[np.ndarray, " images"]) -> float:
    """Return the area under the ROC curve of each reader, averaged over the readers.

    P(a_i > a_j) + P(a_i = a_j) / 2 for a positive image i and another one j (Hanley and McNeil
    1982), in [0, 1]; 0.5 is chance. Of answers 0 and 1 it is the mean of sensitivity and
    specificity. NaN where no reader answered both kinds.

    >>> mean_auc(np.array([[1.0, 0.0, 1.0, 0.0]]), np.array([True, True, False, False]))
    0.5
    """
    areas = [_auc(row, positive) for row in answers]
    known = [area for area in areas if math.isfinite(area)]
    return float(np.mean(known)) if known else math.nan


def shuffled_auc_p(
    answers: Answers, positive: Bool[np.ndarray, " images"], draws: int = 10_000, seed: int = 0
) -> float:
    """Return the two-sided p-value of `mean_auc` against 0.5, by shuffling what the images are.

    Were the answers blind to the kind of an image, any of its arrangements would be as likely
    (Fisher 1935). The answers of all readers to an image stay together. With b of the draws at
    least as far from 0.5, p = (b + 1) / (draws + 1) (Phipson and Smyth 2010), in (0, 1]. It holds
    for these readers; others are not drawn.

    Args:
        answers: larger where an image is rather held for positive.
        positive: which images are.
        draws: how many arrangements.
        seed: of the draws: the same answers give the same p.

    Returns:
        The p-value; NaN where `mean_auc` is.
    """
    found = mean_auc(answers, positive)
    if not math.isfinite(found):
        return math.nan
    generator = np.random.default_rng(seed)
    shuffled = generator.permuted(np.tile(positive, (draws, 1)), axis=1).astype(float)
    areas = np.stack([_areas(row, shuffled) for row in answers])
    known = np.isfinite(areas)
    means = np.where(known, areas, 0).sum(0) / np.maximum(known.sum(0), 1)
    far = (np.abs(means - 0.5) >= abs(found - 0.5) - 1e-9) & known.any(0)
    return float((far.sum() + 1) / (draws + 1))


def crossed_interval(
    statistic: Callable[[Places, Places], float],
    readers: int,
    strata: Sequence[Places],
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a statistic over readers and images.

    Readers and images are drawn apart, with replacement, for the answers of one reader are not
    independent, nor are those to one image (Owen 2007, the pigeonhole bootstrap; it errs on the
    wide side). Images are drawn within their stratum, so that no kind of them is lost. A single
    reader is not drawn: the interval then speaks of that reader alone.

    Args:
        statistic: of the rows and columns that were drawn.
        readers: how many there are.
        strata: the places of the images, by kind; each with two at least.
        draws: how many resamples.
        seed: of the resampling.

    Returns:
        The 2.5th and 97.5th percentile; NaN where a stratum has fewer than two images.
    """
    if min((len(one) for one in strata), default=0) < 2:
        return math.nan, math.nan
    generator = np.random.default_rng(seed)
    values = np.empty(draws)
    for draw in range(draws):
        rows = np.arange(1) if readers == 1 else generator.integers(readers, size=readers)
        images = [one[generator.integers(len(one), size=len(one))] for one in strata]
        values[draw] = statistic(rows, np.concatenate(images))
    low, high = (
        np.nanpercentile(values, [2.5, 97.5]) if np.isfinite(values).any() else (math.nan,) * 2
    )
    return float(low), float(high)


def cohen_kappa(first: Int[np.ndarray, " images"], second: Int[np.ndarray, " images"]) -> float:
    """Return the agreement of two readers beyond chance (Cohen 1960).

    (p_o - p_e) / (1 - p_e), p_o the share of images they name alike and p_e what their own
    frequencies of each category would give; at most 1, 0 is chance. NaN where both only ever name
    one category, or there is no image.

    Args:
        first: the category that a reader named, by image.
        second: the same of the other.

    >>> cohen_kappa(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))
    0.5
    """
    categories = np.union1d(first, second)
    observed = float((first == second).mean()) if len(first) else math.nan
    expected = sum(float((first == c).mean() * (second == c).mean()) for c in categories)
    return (observed - expected) / (1 - expected) if expected < 1 else math.nan


def fleiss_kappa(named: Int[np.ndarray, "readers images"]) -> float:
    """Return the agreement of several readers beyond chance (Fleiss 1971).

    (P - P_e) / (1 - P_e), P the share of pairs of readers that name an image alike, mean over the
    images, and P_e the sum of the squared shares of the categories in all answers; at most 1, 0 is
    chance. NaN where only one category was named, or for fewer than two readers.

    Args:
        named: the category that each reader named, by image.
    """
    readers, images = named.shape
    if readers < 2 or not images:
        return math.nan
    counts = np.stack([(named == category).sum(0) for category in np.unique(named)])
    alike = (counts * (counts - 1)).sum(0) / (readers * (readers - 1))
    expected = float(((counts.sum(1) / named.size) ** 2).sum())
    return (float(alike.mean()) - expected) / (1 - expected) if expected < 1 else math.nan


def _auc(answers: Float[np.ndarray, " images"], positive: Bool[np.ndarray, " images"]) -> float:
    return float(_areas(answers, positive[None].astype(float))[0])


def _areas(
    answers: Float[np.ndarray, " images"], positive: Float[np.ndarray, "draws images"]
) -> Float[np.ndarray, " draws"]:
    """Area of one reader for each arrangement of what the images are."""
    known = np.isfinite(answers)
    own, kind = answers[known], positive[:, known]
    above = (own[:, None] > own) + 0.5 * (own[:, None] == own)
    pairs = kind.sum(1) * (1 - kind).sum(1)
    wins = ((kind @ above) * (1 - kind)).sum(1)
    return np.where(pairs > 0, wins / np.maximum(pairs, 1), math.nan)
