"""A verdict for every counterfactual: what it is, how sure that is, and why.

The model is a multinomial logistic regression of standardised evidence, so that each piece of
evidence weighs what its weight says. It decides only where it is sure enough; how sure that is
was chosen on phantoms, whose truth is known, and holds for X-rays only as far as these are alike.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from cfgen.evidence import FEATURES, Evidence
from cfgen.models.bundle import find_bundle
from cfgen.reasons import reasons

Table = Float[np.ndarray, "batch features"]

FILE = "verdict.json"
SHIPPED = "phantom-64"
"""The bundle whose verdict model stands in where a bundle has none."""
CALIBRATED = "calibrated on phantoms only"
FAR = 3.0
"""Standard deviations from the calibration's mean beyond which evidence weighs no more."""


class Verdict(StrEnum):
    """What a counterfactual is.

    Semantic: what it changes is the finding. Classifier-specific: structured and stable, yet
    only this classifier takes it for the finding; a candidate for a shortcut. Adversarial: noise
    that happens to flip this classifier. Uncertain: the evidence does not say.
    """

    SEMANTIC = "semantic"
    SPECIFIC = "classifier-specific"
    ADVERSARIAL = "adversarial"
    UNCERTAIN = "uncertain"


class Decision(NamedTuple):
    """The verdict on one counterfactual.

    Attributes:
        verdict: what it is.
        probability: of the likeliest class, which is the verdict unless that is 'uncertain'.
        reasons: a sentence of the evidence that weighed most.
    """

    verdict: Verdict
    probability: float
    reasons: str


ALREADY = Decision(Verdict.UNCERTAIN, 0.0, "the target was there from the start")
"""The verdict on an image that needed no change."""


@dataclass(frozen=True)
class VerdictModel:
    """A calibrated decision model, as `BUNDLE/verdict.json` stores it.

    Attributes:
        features: names of the evidence it weighs, of `cfgen.evidence.FEATURES`.
        means: of the features over the calibration; they stand in for what is not known.
        scales: their standard deviations.
        classes: the verdicts it tells apart.
        weights: one row a class, one column a feature.
        biases: one a class.
        threshold: least probability to decide at.
        calibration: how it was chosen and what it reached: for reading.
        seen: the phantoms it was chosen on.
    """

    features: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    classes: tuple[Verdict, ...]
    weights: tuple[tuple[float, ...], ...]
    biases: tuple[float, ...]
    threshold: float
    calibration: dict
    seen: tuple[str, ...]

    def standardise(self, table: Table) -> Float[np.ndarray, "batch weighed"]:
        """Evidence in standard deviations from its mean, within [-3, 3]; 0 where not known.

        Args:
            table: one column a name in `cfgen.evidence.FEATURES`.
        """
        columns = table[:, [FEATURES.index(name) for name in self.features]]
        scaled = (columns - np.array(self.means)) / np.array(self.scales)
        return np.nan_to_num(scaled.clip(-FAR, FAR), nan=0.0)

    def probabilities(self, table: Table) -> Float[np.ndarray, "batch classes"]:
        """Probability of each class: softmax(W e + b) of the standardised evidence e."""
        scores = self.standardise(table) @ np.array(self.weights).T + np.array(self.biases)
        odds = np.exp(scores - scores.max(1, keepdims=True))
        return odds / odds.sum(1, keepdims=True)

    def decide(self, evidence: Evidence) -> list[Decision]:
        """Return the verdict on each counterfactual of a batch, with its reasons."""
        table = table_of(evidence)
        odds, standard = self.probabilities(table), self.standardise(table)
        flips, asked = evidence.flips.tolist(), evidence.judges_asked.tolist()
        return [
            self._decision(table[k], standard[k], odds[k], int(asked[k]))
            if flips[k]
            else Decision(Verdict.UNCERTAIN, 0.0, "the classifier does not decide for the target")
            for k in range(len(table))
        ]

    def _decision(
        self, evidence: np.ndarray, standard: np.ndarray, odds: np.ndarray, judges: int
    ) -> Decision:
        best = int(odds.argmax())
        likeliest = self.classes[best]
        decided = self.decides(odds[None])[0]
        weights = np.array(self.weights)
        rivals = np.delete(weights, best, axis=0).mean(0)
        pull = dict(zip(self.features, (weights[best] - rivals) * standard, strict=True))
        known = dict(zip(FEATURES, evidence.tolist(), strict=True))
        told = reasons(known, judges, pull, either_way=not decided)
        if decided:
            return Decision(likeliest, float(odds[best]), told)
        return Decision(Verdict.UNCERTAIN, float(odds[best]), told)

    def decides(
        self, probabilities: Float[np.ndarray, "batch classes"]
    ) -> Bool[np.ndarray, " batch"]:
        """Whether each image is decided: the likeliest class is one, and likely enough."""
        sure = probabilities.max(1) >= self.threshold
        named = np.array([verdict != Verdict.UNCERTAIN for verdict in self.classes])
        return sure & named[probabilities.argmax(1)]

    def to_json(self) -> str:
        """Write the model as JSON."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"


def table_of(evidence: Evidence) -> Table:
    """Arrange the evidence that is weighed as a table: a row an image, a column a feature."""
    columns = [getattr(evidence, name).double().cpu().numpy() for name in FEATURES]
    return np.stack(columns, 1)


def read_model(path: Path) -> VerdictModel:
    """Read a verdict model.

    Raises:
        ValueError: there is none, or it is not one, or weighs evidence that is not gathered.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        values = {item.name: stored[item.name] for item in fields(VerdictModel)}
        values["classes"] = tuple(Verdict(name) for name in values["classes"])
        values["weights"] = tuple(tuple(map(float, row)) for row in values["weights"])
        for name in ("means", "scales", "biases"):
            values[name] = tuple(map(float, values[name]))
        model = VerdictModel(
            **{**values, "features": tuple(values["features"]), "seen": tuple(values["seen"])}
        )
        _check_shape(model)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"expected a verdict model in {path}, got {error!r}; calibrate one with "
            "`cfgen verdict RUNS --into BUNDLE`"
        ) from error
    return model


def _check_shape(model: VerdictModel) -> None:
    unknown = set(model.features) - set(FEATURES)
    if unknown:
        raise ValueError(f"unknown evidence {', '.join(sorted(unknown))}")
    widths = {len(row) for row in (model.means, model.scales, *model.weights)}
    heights = {len(model.weights), len(model.biases)}
    if widths != {len(model.features)} or heights != {len(model.classes)} or len(model.classes) < 2:
        raise ValueError("weights, means and biases that do not fit features and classes")


def find_model(bundle: Path) -> VerdictModel | None:
    """Return a bundle's verdict model, or the shipped one, calibrated on phantoms; None if none.

    Raises:
        ValueError: the file that is there is no verdict model.
    """
    places = [bundle / FILE]
    with contextlib.suppress(ValueError):
        places.append(find_bundle(SHIPPED) / FILE)
    return next((read_model(place) for place in places if place.is_file()), None)
