"""The loop that this project began with, written out: Adam on the pixels of one image."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml
from torch.optim import Adam

from cfgen.methods import settings_of
from cfgen.methods.settings import Descent
from cfgen.objectives import DISTANCES, prediction_loss
from cfgen.types import Counterfactuals, Goal, Images, Outcome

CONFIG = Path(__file__).parents[1] / "configs" / "origin.yaml"


def origin_settings() -> Descent:
    """Distance, weight and steps of the example run that came with it."""
    settings = settings_of("pixel", yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["settings"])
    assert isinstance(settings, Descent)
    return settings


def origin_loop(goal: Goal, factual: Images, settings: Descent) -> Counterfactuals:
    """Minimise -log p(goal) + weight * distance(x, x') over the pixels of one image.

    It shares no code with `cfgen.search`, so that it stays what it is while these become faster.
    It ends where the goal is reached; the goal of an infinite bar lets it go on to shrink.

    Args:
        goal: what the image is to become.
        factual: one image in [0, 1].
        settings: of the descent.
    """
    distance = DISTANCES[settings.distance]
    pixels = factual.clone().requires_grad_()
    adam = Adam([pixels], lr=settings.step_size)
    log_odds = goal.log_odds(pixels)
    steps = 0
    while steps < settings.steps and not log_odds >= goal.bar:
        adam.zero_grad()
        loss = prediction_loss(log_odds) + settings.weight * distance(factual, pixels)
        loss.sum().backward()
        adam.step()
        with torch.no_grad():
            pixels.clamp_(0, 1)
        log_odds = goal.log_odds(pixels)
        steps += 1
    reached = bool(log_odds >= goal.bar)
    outcome = Outcome.SPENT if not reached else Outcome.REACHED if steps else Outcome.ALREADY
    none = torch.zeros(1, dtype=torch.long)
    return Counterfactuals(
        images=pixels.detach(),
        log_odds=log_odds.detach(),
        outcomes=[outcome],
        steps=none + steps,
        evaluations=none + steps + 1,
        decodes=none,
        prior_passes=none,
    )
