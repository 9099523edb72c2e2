"""Clusters against every partition, and contrasts against theory."""

import math
from itertools import product

import numpy as np
import pytest

from cfgen.metrics import contrast, estimate, kmeans, silhouette


def within(points, labels):
    kinds = {label: points[labels == label] for label in set(labels.tolist())}
    return sum(((some - some.mean(0)) ** 2).sum() for some in kinds.values())


def test_kmeans_finds_the_best_of_all_partitions():
    points = np.random.default_rng(0).normal(size=(8, 2))
    every = [np.array(labels) for labels in product(range(3), repeat=8)]
    best = min(within(points, labels) for labels in every if len(set(labels.tolist())) == 3)
    labels = kmeans(points, 3)
    assert within(points, labels) == pytest.approx(best)
    assert (np.diff(np.bincount(labels)) <= 0).all()
    assert kmeans(points, 3).tolist() == labels.tolist()


def test_kmeans_finds_what_was_planted_and_bears_equal_points():
    generator = np.random.default_rng(1)
    kinds = np.repeat([0, 1, 2], [30, 20, 10])
    points = 5 * np.eye(3)[kinds] + generator.normal(0, 0.3, (60, 3))
    assert kmeans(points, 3).tolist() == kinds.tolist()
    assert set(kmeans(np.ones((4, 2)), 2).tolist()) <= {0, 1}
    assert kmeans(points, 1).tolist() == [0] * 60
    with pytest.raises(ValueError, match="expected 1 to 60 clusters"):
        kmeans(points, 61)


def test_the_silhouette_is_that_of_plain_loops():
    generator = np.random.default_rng(2)
    points, labels = generator.normal(size=(20, 3)), generator.integers(0, 3, 20)
    labels[0] = 7  # alone
    widths = []
    for i in range(20):
        mean = {
            kind: [math.dist(points[i], points[j]) for j in range(20) if labels[j] == kind]
            for kind in set(labels.tolist())
        }
        own = [
            math.dist(points[i], points[j]) for j in range(20) if j != i and labels[j] == labels[i]
        ]
        others = [np.mean(away) for kind, away in mean.items() if kind != labels[i]]
        a, b = np.mean(own) if own else 0, min(others)
        widths.append((b - a) / max(a, b) if own else 0)
    assert silhouette(points, labels) == pytest.approx(np.mean(widths))
    assert math.isnan(silhouette(points, np.zeros(20, dtype=int)))


def test_a_contrast_has_the_width_of_two_independent_means():
    generator = np.random.default_rng(3)
    values, members = generator.normal(size=900), np.arange(900) < 300
    values[members] += 1
    found = contrast(values.tolist(), members.tolist())
    assert found.mean == pytest.approx(values[:300].mean() - values[300:].mean())
    width = 2 * 1.96 * math.sqrt(1 / 300 + 1 / 600)
    assert found.high - found.low == pytest.approx(width, rel=0.12)
    assert found.n == 300
    assert contrast(values.tolist(), members.tolist()) == found


def test_a_contrast_within_patients_cancels_what_the_patients_are():
    """Each patient has an image on either side: as exact as the paired difference."""
    generator = np.random.default_rng(4)
    patient = generator.normal(0, 10, 50)
    values = np.concatenate([patient + 1, patient + generator.normal(0, 0.1, 50)])
    members, groups = [True] * 50 + [False] * 50, [*range(50), *range(50)]
    found = contrast(values.tolist(), members, groups)
    paired = estimate((values[:50] - values[50:]).tolist())
    assert (found.low, found.high) == pytest.approx((paired.low, paired.high), abs=0.02)


def test_a_contrast_of_an_empty_side_is_unknown():
    assert math.isnan(contrast([1.0, 2.0], [True, True]).mean)
    alone = contrast([1.0, 2.0, 3.0, math.nan, None], [True, False, False, True, True])
    assert (alone.mean, alone.n) == (-1.5, 1)
    assert math.isnan(alone.low)
    with pytest.raises(ValueError, match="each of 1 values, got 2 and 1"):
        contrast([1.0], [True, False])
