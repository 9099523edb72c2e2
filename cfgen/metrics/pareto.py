"""Which of many are not beaten in everything?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float


def pareto_front(gains: Float[np.ndarray, "points axes"]) -> Bool[np.ndarray, " points"]:
    """Return which points no other dominates.

    A point dominates another where it is at least as good on every axis and better on one (Pareto
    1896). Higher is better on every axis: pass a cost with its sign changed. A point with a NaN is
    compared to none and is not on the front; equal points are on it together.

    >>> pareto_front(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.5]])).tolist()
    [True, True, False]
    """
    known = np.asarray(np.isfinite(gains).all(1))
    as_good = np.all(gains[:, None] >= gains[None], axis=2)
    better = np.any(gains[:, None] > gains[None], axis=2)
    beaten = np.any(as_good & better & known[:, None], axis=0)
    return np.asarray(known & ~beaten)
