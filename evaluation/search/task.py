"""What a search asks of every image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cfgen.data.files import read_image
from cfgen.data.preprocessing import Preprocessing
from cfgen.goals import make_goal
from cfgen.methods import Settings
from cfgen.methods import search as search_batch
from cfgen.models.bundle import Bundle
from cfgen.spaces import Region
from cfgen.types import ALL, Counterfactuals, Goal, Images, Limits, Seeds

LEAST = 3
"""Evaluations that any method can do with: of the factual, of a gradient, and of what is found."""


@dataclass(frozen=True)
class Task:
    """What is asked of every image.

    Attributes:
        models: whose classifier is explained.
        method: see `cfgen.methods.METHODS`.
        settings: of the method.
        target: see `cfgen.goals.make_goal`.
        confidence: calibrated probability of the target to reach.
        region: where and how far an image may change.
        evaluations: of the classifier that an image may cost at most; None for no bound.
    """

    models: Bundle
    method: str
    settings: Settings
    target: str | None
    confidence: float
    region: Region
    evaluations: int | None = None

    def search(
        self, factual: Images, seeds: Seeds, width: int = ALL
    ) -> tuple[Goal, Counterfactuals]:
        """Search images, at most `width` of them at a time; return what was asked of them, too."""
        goal = make_goal(self.models.classifier, factual, self.target, self.confidence, width)
        limits = Limits(width, self.evaluations or ALL)
        how = (self.method, self.settings, self.region, seeds, limits)
        return goal, search_batch(self.models, goal, factual, *how)

    def rehearse(self) -> None:
        """Search a blank image for one step, so that what is wrong is said before a run is made."""
        size = self.models.size
        blank = torch.full((1, 1, size, size), 0.5, device=self.models.device)
        replace(self, settings=replace(self.settings, steps=1)).search(blank, torch.zeros(1).long())


def region_of(path: Path | None, bound: float, prepare: Preprocessing, device: str) -> Region:
    """Return where and how far an image may change.

    Args:
        path: an image file, bright where change is allowed; None for everywhere.
        bound: greatest change of any pixel.
        prepare: how a file becomes an image.
        device: where the mask goes.

    Raises:
        ValueError: the bound is not in (0, 1], or there is no such image.
    """
    if not 0 < bound <= 1:
        raise ValueError(f"expected a bound in (0, 1], got {bound}; give 1 for none")
    if path is None:
        return Region(bound=bound)
    # Masks come with 1, 255 or 65535 for 'allowed': the brightest value is what counts.
    mask = replace(prepare, intensity="minmax")(read_image(path), str(path)) > 0.5
    return Region(mask.float()[None].to(device), bound)
