"""Saliency maps and chance, scored on the ground that counterfactuals of phantoms are scored on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool
from torch import Tensor

from cfgen.data import phantom
from cfgen.goals import make_goal
from cfgen.metrics import estimate
from cfgen.models.bundle import load_bundle
from cfgen.saliency import input_gradient, integrated_gradients
from cfgen.types import Images
from evaluation.batches import Batch, batches
from evaluation.measured import Measured
from evaluation.measures.image import on_opacity
from evaluation.summary import attempted, finite, group_of, target_of

SALIENCY: Mapping[str, Callable[..., Images]] = {
    "input gradient": input_gradient,
    "integrated gradients": integrated_gradients,
}
Maps = Callable[[Batch], Images]
Masks = Bool[Tensor, "batch 1 height width"]
Scores = dict[str, Tensor]
Estimates = dict[str, Mapping]


def saliency_maps(measured: Measured, name: str) -> Maps:
    """Return what maps a run's factuals to the saliency of their target's log-odds.

    Args:
        measured: a run; its classifier and its targets are taken.
        name: a key of `SALIENCY`.
    """
    config = measured.run.config
    classifier = load_bundle(config["bundle"], config.get("classifier")).classifier
    method = SALIENCY[name]

    def maps(batch: Batch) -> Images:
        goal = make_goal(classifier, batch.factual, config.get("target"))
        return method(goal.log_odds, batch.factual)

    return maps


def scored_by(maps: Maps) -> Callable[[Batch, Masks], Scores]:
    """Return what scores the maps of a batch against the opacities."""
    return lambda batch, opacity: on_opacity(maps(batch), opacity)


def by_chance(batch: Batch, opacity: Masks) -> Scores:
    """Return what a change spread at random scores on average: the mask's area a decides.

    a for the share of the energy and the pointing game, about a / (2 - a) for the overlap.
    """
    area = opacity.flatten(1).float().mean(1)
    return {
        "energy_in_opacity": area,
        "iou_opacity": area / (2 - area),
        "pointing_opacity": area,
    }


def on_ground(measured: Measured, score: Callable[[Batch, Masks], Scores]) -> dict[str, Estimates]:
    """Score every attempted sample whose true counterfactual is of its target; by target.

    Args:
        measured: a run over phantoms.
        score: from a batch and its opacities to numbers, one a sample, by the measure's name.

    Returns:
        Estimates as a summary holds them, over patients, by target and measure.
    """
    found: dict[str, dict[str, list[float]]] = {}
    patients: dict[str, list[str]] = {}
    for batch in batches(measured.run, 64, "cpu"):
        size = batch.image.shape[-1]
        drawn = [phantom.of_path(str(row["path"]), size) for row in batch.rows]
        scores = score(batch, torch.stack([one.opacity for one in drawn]))
        for place, (row, one) in enumerate(zip(batch.rows, drawn, strict=True)):
            target = target_of(row)
            if not attempted(row) or target != phantom.CLASSES[1 - one.label]:
                continue
            patients.setdefault(target, []).append(str(group_of(row)))
            for name, values in scores.items():
                column = found.setdefault(target, {}).setdefault(name, [])
                column.append(float(values[place]))
    return {
        target: {
            name: finite(estimate(values, patients[target])) for name, values in columns.items()
        }
        for target, columns in found.items()
    }
