"""Into which kinds do many things fall?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy.random import Generator
from scipy.spatial.distance import cdist

Points = Float[np.ndarray, "points axes"]
Centres = Float[np.ndarray, "centres axes"]
Kinds = Int[np.ndarray, " points"]


def kmeans(points: Points, k: int, restarts: int = 30, seed: int = 0) -> Kinds:
    """Return which of k clusters each point belongs to, by k-means.

    The labels c and centres m that give the least sum_i |x_i - m_(c_i)|^2 of some restarts of
    Lloyd's iterations (Lloyd 1982), each from k-means++ centres (Arthur and Vassilvitskii 2007).
    Clusters are numbered from the largest to the smallest.

    Args:
        points: one row each.
        k: clusters, from 1 to the number of points.
        restarts: of which the best is taken.
        seed: the same points give the same clusters.

    Raises:
        ValueError: k is out of its range.

    >>> kmeans(np.array([[0.0], [0.1], [9.0], [0.2]]), 2).tolist()
    [0, 0, 1, 0]
    """
    if not 1 <= k <= len(points):
        raise ValueError(f"expected 1 to {len(points)} clusters of as many points, got {k}.")
    generator = np.random.default_rng(seed)
    tries = [_lloyd(points, _spread_out(points, k, generator)) for _ in range(restarts)]
    labels, _ = min(tries, key=lambda one: one[1])
    order = np.argsort(-np.bincount(labels, minlength=k), kind="stable")
    return np.argsort(order)[labels]


def silhouette(points: Points, labels: Kinds) -> float:
    """Return how well points fit their own clusters and no other, in [-1, 1]; higher is better.

    mean_i (b_i - a_i) / max(a_i, b_i), with a_i the mean distance of a point to the others of its
    cluster and b_i the least mean distance to those of another; 0 for a point alone in its cluster
    (Rousseeuw 1987). Below 0.25 there is no substantial structure (Kaufman and Rousseeuw 1990).
    NaN for a single cluster.

    >>> round(silhouette(np.array([[0.0], [1.0], [9.0], [10.0]]), np.array([0, 0, 1, 1])), 3)
    0.889
    """
    member = np.unique(labels)[:, None] == labels
    if len(member) < 2:
        return float("nan")
    sizes = member.sum(1)
    totals = cdist(points, points) @ member.T
    own = member.argmax(0)
    each = np.arange(len(labels))
    inside = totals[each, own] / np.maximum(sizes[own] - 1, 1)
    others = np.where(member.T, np.inf, totals / sizes).min(1)
    widths = (others - inside) / np.maximum(np.maximum(inside, others), 1e-300)
    return float(np.where(sizes[own] > 1, widths, 0).mean())


def _spread_out(points: Points, k: int, generator: Generator) -> Centres:
    """Draw centres among the points, each by its squared distance to those drawn before."""
    centres = points[generator.integers(len(points), size=1)]
    for _ in range(k - 1):
        away = cdist(points, centres, "sqeuclidean").min(1)
        chance = away / away.sum() if away.any() else None
        centres = np.vstack([centres, points[generator.choice(len(points), p=chance)]])
    return centres


def _lloyd(points: Points, centres: Centres) -> tuple[Kinds, float]:
    """Move centres to the means of what is nearest to them until nothing moves."""
    labels = np.full(len(points), -1)
    while True:
        distances = cdist(points, centres, "sqeuclidean")
        nearest = distances.argmin(1)
        if (nearest == labels).all():
            return labels, float(distances.min(1).sum())
        labels = nearest
        # A centre that has lost all its points stays where it is.
        there = np.unique(labels)
        centres = centres.copy()
        centres[there] = [points[labels == one].mean(0) for one in there]
