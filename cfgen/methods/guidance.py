"""The methods that begin with an edit, and search where how much of it is to be seen."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from cfgen.edits import (
    Ascent,
    Denoising,
    Edit,
    class_mean,
    delta_denoising,
    opposite,
    paired_residual,
    propose,
    random_smooth,
)
from cfgen.methods.settings import EditName, Guided
from cfgen.models.bundle import Bundle
from cfgen.objectives import DISTANCES
from cfgen.search import refine, strength_at_ssim
from cfgen.spaces import EditSpace, LatentSpace, Region, encode, spread
from cfgen.types import Counterfactuals, Goal, Images, Limits, Seeds, portions

PAIRED = Denoising(draws=1)
ASCENT = Ascent()


class Proposal(NamedTuple):
    """An edit, and what it costs.

    Attributes:
        edit: of the codes.
        passes: forward passes of the prior, for each image.
    """

    edit: Edit
    passes: int


def proposal_of(bundle: Bundle, name: EditName) -> Proposal:
    """Make an edit of a bundle by its name; to add one, add a branch here.

    Raises:
        ValueError: the bundle has no prior, which the edit needs.
    """
    if name == "class-mean":
        return Proposal(class_mean(bundle.autoencoder.class_means), 0)
    if name == "random":
        return Proposal(random_smooth(), 0)
    if name == "paired-residual":
        return Proposal(paired_residual(bundle.prior, PAIRED), PAIRED.passes)
    towards = Proposal(delta_denoising(bundle.prior, ASCENT), ASCENT.passes)
    return towards._replace(edit=opposite(towards.edit)) if name == "opposite" else towards


def guided(
    bundle: Bundle,
    goal: Goal,
    factual: Images,
    settings: Guided,
    region: Region,
    seeds: Seeds,
    limits: Limits,
) -> Counterfactuals:
    """Edit, scale to an SSIM budget, and search where how much of the edit is to be seen.

    The edit says what may change, the classifier where: the search moves strengths of the edit
    only (`cfgen.spaces.EditSpace`), so that what flips the classifier is always a piece of what
    the prior holds for the difference of the classes. It starts with the edit in the lungs, where
    a finding is to be expected, and can go on everywhere.
    """
    space = LatentSpace(bundle.autoencoder, residual=settings.decoding == "residual")
    encoded = encode(space, factual, limits.width)
    proposal = proposal_of(bundle, settings.edit)
    edit = propose(proposal.edit, encoded.codes, goal, seeds, limits.width)
    with torch.no_grad():
        some = portions(len(factual), limits.width)
        start = torch.cat([_start(bundle, factual[rows], settings) for rows in some])
        proposed = edit * interpolate(start, edit.shape[-2:], mode="bilinear", align_corners=False)
    strength, tries = strength_at_ssim(
        proposed,
        factual,
        space,
        encoded,
        settings.budget,
        region=region,
        width=limits.width,
    )
    scaled = edit * spread(strength, edit)
    found = refine(
        goal,
        factual,
        EditSpace(space, encoded, scaled, start, settings.strongest),
        DISTANCES[settings.distance],
        weight=settings.weight,
        step_size=settings.step_size,
        momentum=settings.momentum,
        steps=settings.steps,
        region=region,
        limits=limits,
    )
    return replace(
        found,
        decodes=found.decodes + encoded.decodes + tries * space.decodes,
        prior_passes=found.prior_passes + proposal.passes,
    )


def _start(
    bundle: Bundle, factual: Images, settings: Guided
) -> Float[Tensor, "batch 1 rows columns"]:
    """Strengths of 1 in the lungs, `outside` elsewhere, with a soft seam between them."""
    size = (settings.grid, settings.grid)
    if not bundle.has("segmenter"):
        everywhere = torch.ones(len(factual), 1, *size, device=factual.device)
        return everywhere.clamp(max=settings.strongest)
    masks = bundle.segmenter.lungs(factual)
    lungs = adaptive_avg_pool2d(masks.float(), size)
    strengths = settings.outside + (1 - settings.outside) * (1.5 * lungs).clamp(max=1)
    # Where no lung is seen, no place is likelier than another.
    strengths[~masks.flatten(1).any(1)] = 1.0
    return strengths.clamp(max=settings.strongest)
