"""Everything that the pages on one image are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from cfgen import metrics
from cfgen.explanation import Explanation
from cfgen.metrics.zones import Mask
from cfgen.models.bundle import Bundle
from cfgen.types import Image, Outcome
from evaluation.explain.response import Response, respond


@dataclass(frozen=True)
class Case:
    """One image explained.

    Attributes:
        name: of the file.
        bundle: its name.
        method: of the search.
        command: that makes all this again.
        draws: what was found, one a draw.
        layers: change of every layer's activations in the classifier, largest first.
        response: of the models to strengths of the change.
        lungs: their mask on the factual; None where the bundle has no segmenter or finds none, or
            the image is so strange that no outline could be trusted.
    """

    name: str
    bundle: str
    method: str
    command: str
    draws: tuple[Explanation, ...]
    layers: list[metrics.LayerChange]
    response: Response
    lungs: Mask | None

    @property
    def found(self) -> Explanation:
        """The first draw, which the pages are of."""
        return self.draws[0]

    @property
    def change(self) -> Image:
        """Counterfactual minus factual."""
        return self.found.counterfactual - self.found.factual

    @property
    def limit(self) -> float:
        """End of the scale of changes: the largest absolute one, or what can be drawn if none."""
        return float(self.change.abs().max()) or 1e-3

    @property
    def strange(self) -> bool:
        """Whether the image is known to be unlike those that the bundle was trained on."""
        return _strange(self.found)

    def leading_layers(self, most: int) -> list[metrics.LayerChange]:
        """The layers that change most over what they are, which a layer at rest cannot."""
        known = [layer for layer in self.layers if not math.isnan(layer.relative)]
        return sorted(known, key=lambda layer: layer.relative, reverse=True)[:most]

    @property
    def already(self) -> bool:
        """Whether the target was there from the start."""
        return self.found.outcome == Outcome.ALREADY


def _strange(found: Explanation) -> bool:
    return found.familiarity is not None and not found.familiarity.familiar


def make_case(
    name: str, models: Bundle, method: str, command: str, draws: tuple[Explanation, ...]
) -> Case:
    """Measure what the pages show beside what was found."""
    first = draws[0]
    layers = metrics.activation_change(
        models.classifier, first.factual[None], first.counterfactual[None]
    )
    lungs = None
    if models.has("segmenter") and not _strange(first):
        with torch.inference_mode():
            lungs = models.segmenter.lungs(first.factual[None])[0]
    return Case(
        name=name,
        bundle=models.path.name,
        method=method,
        command=command,
        draws=draws,
        layers=layers,
        response=respond(first, models),
        lungs=lungs if lungs is not None and lungs.any() else None,
    )
