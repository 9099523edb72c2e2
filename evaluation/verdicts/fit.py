"""Fits the verdict model on phantoms: their true verdicts, the regression, its threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize
from torch import Tensor

from cfgen import metrics
from cfgen.evidence import FEATURES
from cfgen.types import Images
from cfgen.verdict import Table, Verdict, VerdictModel

RISK = 0.1
"""Share of wrong verdicts among those decided, at most."""
FOLDS = 5
PENALTY = 1.0
NEVER = 2.0
"""A probability that none reaches: the threshold of a model that is never sure enough."""
_CORNERS = ((0.72, 1.0), (-1.0, -0.65))
"""Where a phantom's marker may lie, in the film's coordinates: |x| and y, from -1 to 1."""

_SIGNS: dict[Verdict, dict[str, int]] = {
    Verdict.SEMANTIC: {
        "judges": 1, "survives": 1, "high": -1, "outside": -1, "prior_error": -1,
        "prior_preference": 1,
    },
    Verdict.SPECIFIC: {"judges": -1, "survives": 1, "high": -1, "prior_error": -1},
    Verdict.ADVERSARIAL: {
        "judges": -1, "survives": -1, "high": 1, "prior_error": 1, "prior_preference": -1,
    },
    Verdict.UNCERTAIN: {"": 0},
}  # fmt: skip
"""Which way evidence may speak, by the beginning of its name: 1 for a verdict, -1 against it.

What is not listed may speak either way. 'Uncertain' is what all else is weighed against.
"""

Mask = Bool[Tensor, "batch 1 height width"]
Odds = Float[np.ndarray, "batch classes"]


def true_verdicts(
    factual: Images, image: Images, truth: Images, opacity: Mask, marker: Mask
) -> list[Verdict]:
    """Return what each counterfactual of a phantom is, for its truth is known.

    Semantic: at least half of the change's energy lies in the opacity's mask and x' is nearer
    (L2) to the true counterfactual than x is. Classifier-specific: at least half lies on the
    marker. Adversarial: less than a fifth lies in either. Uncertain: all else, and no change.

    Args:
        factual: phantoms.
        image: their counterfactuals.
        truth: their true counterfactuals; of several, that which is nearest to the image.
        opacity: where truth and factual differ.
        marker: the marker's place, see `marker_place`.
    """
    change = image - factual
    inside, on_marker, either = (
        metrics.energy_inside(change, mask) for mask in (opacity, marker, opacity | marker)
    )
    nearer = metrics.l2(truth, image) < metrics.l2(truth, factual)
    found = []
    for k in range(len(image)):
        if inside[k] >= 0.5 and nearer[k]:
            found.append(Verdict.SEMANTIC)
        elif on_marker[k] >= 0.5:
            found.append(Verdict.SPECIFIC)
        else:
            found.append(Verdict.ADVERSARIAL if either[k] < 0.2 else Verdict.UNCERTAIN)
    return found


def marker_place(marker: Bool[Tensor, "1 size size"]) -> Bool[Tensor, "1 size size"]:
    """Return where a change is 'on the marker'.

    That is the box around the letter, for what erases it smears over its gaps; where none is
    drawn, the two upper corners that one could be drawn in.
    """
    place = torch.zeros_like(marker)
    if marker.any():
        rows, columns = (marker[0].any(axis).nonzero().flatten() for axis in (1, 0))
        place[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
        return place
    size = marker.shape[-1]
    at = (torch.arange(size, device=marker.device) + 0.5) / size * 2 - 1
    (left, right), (top, bottom) = _CORNERS
    across, down = (at.abs() > left) & (at.abs() < right), (at > top) & (at < bottom)
    return (down[:, None] & across)[None]


class Fit(NamedTuple):
    """A fitted model and what it says of its own calibration samples when it has not seen them.

    Attributes:
        model: fitted to all of them.
        probabilities: of its classes, each from a fit without the sample's group.
    """

    model: VerdictModel
    probabilities: Odds


def fit(table: Table, truths: Sequence[Verdict], groups: Sequence[str], risk: float = RISK) -> Fit:
    """Fit the regression, and choose by cross-validation where it abstains.

    The weights minimise -sum_i log p(truth_i) + |W|^2 / 2 over standardised evidence, each only as
    far as it speaks the way it should (`_SIGNS`): an accident of the runs at hand, such as that
    adversarial changes survive JPEG, would otherwise pass for a reason elsewhere. The threshold
    is the one at which most is decided while (wrong + 1) / (decided + 1) <= risk, by five-fold
    cross-validation over groups; the ones added keep the expected risk of the next sample below
    it (conformal risk control: Angelopoulos et al. 2024). A decision on what is truly uncertain
    is wrong.

    Args:
        table: evidence, one column a name in `cfgen.evidence.FEATURES`; NaN where not known.
        truths: the true verdict of each row.
        groups: of each row; rows of a group, such as the methods' counterfactuals of one phantom,
            are never on two sides of a fold.
        risk: at most.

    Raises:
        ValueError: fewer than two true verdicts, or fewer than five groups.
    """
    classes = tuple(verdict for verdict in Verdict if verdict in truths)
    names = sorted(set(groups))
    if len(classes) < 2 or len(names) < FOLDS:
        raise ValueError(
            f"expected at least 2 true verdicts and {FOLDS} phantoms to calibrate on, got "
            f"{', '.join(classes) or 'none'} on {len(names)}; give runs of several methods and "
            "of classifiers with and without a shortcut"
        )
    label = np.array([classes.index(verdict) for verdict in truths])
    fold = np.array([names.index(group) % FOLDS for group in groups])
    held_out = np.zeros((len(table), len(classes)))
    for k in range(FOLDS):
        inside, outside = fold != k, fold == k
        held_out[outside] = _fit(table[inside], label[inside], classes).probabilities(
            table[outside]
        )
    threshold = _threshold(held_out, label, classes, risk)
    model = replace(_fit(table, label, classes), threshold=threshold, seen=tuple(names))
    return Fit(model, held_out)


def _fit(
    table: Table, label: Int[np.ndarray, " batch"], classes: tuple[Verdict, ...]
) -> VerdictModel:
    known = np.isfinite(table)
    count = known.sum(0).clip(1)
    mean = np.where(known, table, 0).sum(0) / count
    scale = np.sqrt(np.square(np.where(known, table - mean, 0)).sum(0) / count)
    kept = [k for k in range(len(FEATURES)) if scale[k] > 1e-9]
    blank = VerdictModel(
        features=tuple(FEATURES[k] for k in kept),
        means=tuple(mean[kept].tolist()),
        scales=tuple(scale[kept].tolist()),
        classes=classes,
        weights=((0.0,) * len(kept),) * len(classes),
        biases=(0.0,) * len(classes),
        threshold=NEVER,
        calibration={},
        seen=(),
    )
    weights = _regress(blank.standardise(table), label, _bounds(blank))
    return replace(
        blank,
        weights=tuple(tuple(row) for row in weights[:, :-1].tolist()),
        biases=tuple(weights[:, -1].tolist()),
    )


def _bounds(model: VerdictModel) -> list[list[tuple[float, float]]]:
    """Least and greatest weight of each feature, and the bias, for each class."""
    rows = []
    for verdict in model.classes:
        signs = [
            next((sign for start, sign in _SIGNS[verdict].items() if name.startswith(start)), None)
            for name in model.features
        ]
        limits = {None: (-np.inf, np.inf), 0: (0.0, 0.0), 1: (0.0, np.inf), -1: (-np.inf, 0.0)}
        rows.append([*(limits[sign] for sign in signs), limits[None]])
    return rows


def _regress(
    table: Table, label: Int[np.ndarray, " batch"], bounds: list[list[tuple[float, float]]]
) -> Float[np.ndarray, "classes columns"]:
    """Weights, the bias in the last column, of the penalised multinomial logistic regression."""
    classes = len(bounds)
    inputs = np.hstack([table, np.ones((len(table), 1))])
    wanted = np.eye(classes)[label]
    # The penalty of the biases only keeps those of classes that do not occur finite.
    penalty = np.full(inputs.shape[1], PENALTY)
    penalty[-1] = 1e-3

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(classes, -1)
        scores = inputs @ weights.T
        scores -= scores.max(1, keepdims=True)
        log_p = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        value = -(wanted * log_p).sum() + (penalty * weights**2).sum() / 2
        slope = (np.exp(log_p) - wanted).T @ inputs + penalty * weights
        return float(value), slope.ravel()

    start = np.zeros(classes * inputs.shape[1])
    limits = [limit for row in bounds for limit in row]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits)
    return found.x.reshape(classes, -1)


def _threshold(
    probabilities: Odds, label: Int[np.ndarray, " batch"], classes: tuple[Verdict, ...], risk: float
) -> float:
    curve = risk_curve(probabilities, label, classes)
    good = [point for point in curve if (point.wrong + 1) / (point.decided + 1) <= risk]
    return good[-1].threshold if good else NEVER


class RiskPoint(NamedTuple):
    """What a threshold decides, and how much of that is wrong."""

    threshold: float
    decided: int
    wrong: int


def risk_curve(
    probabilities: Odds, label: Int[np.ndarray, " batch"], classes: Sequence[Verdict]
) -> list[RiskPoint]:
    """Return what each threshold decides, from the highest to the lowest.

    A sample whose likeliest class is 'uncertain' is decided at none.
    """
    named = np.array([verdict != Verdict.UNCERTAIN for verdict in classes])
    best, top = probabilities.argmax(1), probabilities.max(1)
    points = []
    for threshold in sorted(set(top[named[best]].tolist()), reverse=True):
        decided = named[best] & (top >= threshold)
        wrong = decided & (best != label)
        points.append(RiskPoint(threshold, int(decided.sum()), int(wrong.sum())))
    return points
