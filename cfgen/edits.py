"""Changes of a code that are proposed before any classifier is asked.

An edit maps (codes, goal, seeds) to a change of the codes, which a search may add, scale or search
along. What it draws at random comes from each image's own seed, so that an image's edit does not
depend on its batch.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from cfgen.types import ALL, Codes, Goal, Labels, Seeds, portions

Edit = Callable[[Codes, Goal, Seeds], Codes]


@runtime_checkable
class Denoiser(Protocol):
    """A generative prior, as the edits need it; see `cfgen.models.prior.Prior`."""

    steps: int

    def noised(self, code: Codes, noise: Codes, step: Labels) -> Codes:
        """Noise codes to the noise level of a step."""
        ...

    def denoise(self, noisy: Codes, step: Labels, label: Labels) -> Codes:
        """Estimate the clean code under a label."""
        ...

    def renoise(self, noisy: Codes, clean: Codes, step: Labels, to: Labels) -> Codes:
        """Move noised codes to another noise level, deterministically."""
        ...

    @property
    def no_class(self) -> int:
        """The label that stands for no class in particular."""
        ...


@torch.no_grad()
def propose(edit: Edit, codes: Codes, goal: Goal, seeds: Seeds, width: int = ALL) -> Codes:
    """Edit codes, at most `width` at a time."""
    some = portions(len(codes), width)
    return torch.cat([edit(codes[rows], goal.take(rows), seeds[rows]) for rows in some])


def class_mean(means: Float[Tensor, "classes ..."]) -> Edit:
    """Edit by the difference of the mean codes of two classes: m_target - m_source.

    It knows nothing of the image, so it is the control that any method has to beat. Without a
    target, the mean of the other classes' means stands in for it.

    Args:
        means: mean code of every class, over training images.
    """

    def edit(codes: Codes, goal: Goal, _seeds: Seeds) -> Codes:
        source = means[_source(goal)]
        if goal.target is not None:
            return (means[goal.target] - source).expand_as(codes)
        return ((means.sum(0) - source) / (len(means) - 1) - source).expand_as(codes)

    return edit


def random_smooth(side: int = 4) -> Edit:
    """Edit by noise that varies slowly over the code: the control for 'any change will do'.

    Standard normal values on a grid of `side` x `side` places, interpolated (bicubic).
    """

    def edit(codes: Codes, _goal: Goal, seeds: Seeds) -> Codes:
        coarse = noise_like(codes[..., :side, :side], seeds)[0]
        return interpolate(coarse, codes.shape[-2:], mode="bicubic", align_corners=False)

    return edit


def opposite(edit: Edit) -> Edit:
    """Edit away from the target by what another edit would do towards it: a control."""

    def reversed_edit(codes: Codes, goal: Goal, seeds: Seeds) -> Codes:
        return -edit(codes, goal, seeds)

    return reversed_edit


class Denoising(NamedTuple):
    """How an edit asks a prior.

    Attributes:
        level: share of the noise levels up to which a code is noised, in (0, 1).
        steps: noise levels visited on the way back.
        guidance: of the class (Ho and Salimans 2021); 1 for none.
        draws: of the noise, to be averaged over.
    """

    level: float = 0.7
    steps: int = 11
    guidance: float = 4.0
    draws: int = 3

    @property
    def passes(self) -> int:
        """Forward passes: with and without the class, as source and as target."""
        return 4 * self.steps * self.draws


class Ascent(NamedTuple):
    """How an edit climbs a prior's class contrast.

    Attributes:
        steps: of the ascent, each at noise of its own.
        draws: of the noise at each step.
        rate: share of the contrast that is added at a step.
        lowest: noise level, as a share of all, above which levels are spread.
        highest: the same, below which.
    """

    steps: int = 4
    draws: int = 2
    rate: float = 1.0
    lowest: float = 0.4
    highest: float = 0.9

    @property
    def passes(self) -> int:
        """Forward passes: as source and as target."""
        return 2 * self.steps * self.draws


def paired_residual(prior: Denoiser, how: Denoising) -> Edit:
    """Edit by what the class alone changes: z_target - z_source, denoised from the same noise.

    The code is noised up to a level and denoised twice by DDIM (Song et al. 2021), once as each
    class; noise and everything the class says nothing of cancel in the difference. The mean over
    several draws of the noise is taken.
    """

    def edit(codes: Codes, goal: Goal, seeds: Seeds) -> Codes:
        top = round(how.level * prior.steps)
        source, target = _source(goal), _target(goal, prior)
        total = torch.zeros_like(codes)
        for noise in noise_like(codes, seeds, how.draws):
            noisy = prior.noised(codes, noise, torch.full_like(source, top))
            pair = torch.cat([noisy, noisy])
            ends = _descend_noise(prior, pair, torch.cat([target, source]), top, how)
            towards, back = ends.chunk(2)
            total += towards - back
        return total / how.draws

    return edit


def delta_denoising(prior: Denoiser, how: Ascent) -> Edit:
    """Edit by climbing the class contrast, x0(z | target) - x0(z | source), at shared noise.

    The delta denoising score of Hertz et al. 2023, between two classes in place of two prompts.
    """
    count = how.steps * how.draws
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    spots = torch.linspace(how.lowest, how.highest, count)[order].split(how.draws)

    def edit(codes: Codes, goal: Goal, seeds: Seeds) -> Codes:
        moved = codes.clone()
        noises = noise_like(codes, seeds, count).split(how.draws)
        for some, there in zip(noises, spots, strict=True):
            moved += how.rate * contrast(prior, moved, goal, some, there)
        return moved - codes

    return edit


def contrast(
    prior: Denoiser,
    codes: Codes,
    goal: Goal,
    noises: Float[Tensor, "draws batch ..."],
    spots: Float[Tensor, " draws"],
) -> Codes:
    """The prior's pull towards the target class: the mean of x0(z | target) - x0(z | source).

    Args:
        prior: whose estimates of the clean code are compared.
        codes: where.
        goal: of the codes.
        noises: the noise of each draw.
        spots: the noise level of each draw, as a share of all.
    """
    source, target = _source(goal), _target(goal, prior)
    total = torch.zeros_like(codes)
    for noise, spot in zip(noises, spots.tolist(), strict=True):
        step = torch.full_like(source, round(spot * prior.steps))
        noisy = prior.noised(codes, noise, step)
        labels = torch.cat([target, source])
        ends = prior.denoise(torch.cat([noisy, noisy]), torch.cat([step, step]), labels)
        towards, back = ends.chunk(2)
        total += towards - back
    return total / len(noises)


def noise_like(codes: Codes, seeds: Seeds, draws: int = 1) -> Float[Tensor, "draws batch ..."]:
    """Standard normal noise in the shape of codes, each image's from its own seed."""
    shape = (draws, *codes.shape[1:])
    each = [
        torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds.tolist()
    ]
    return torch.stack(each, 1).to(codes)


def _descend_noise(prior: Denoiser, noisy: Codes, label: Labels, top: int, how: Denoising) -> Codes:
    """Denoise by DDIM from a level, guided; return the last estimate of the clean codes."""
    clean = noisy
    for level, below in pairwise(_ladder(top, how.steps)):
        step = torch.full_like(label, level)
        plain = prior.denoise(noisy, step, torch.full_like(label, prior.no_class))
        clean = plain + how.guidance * (prior.denoise(noisy, step, label) - plain)
        noisy = prior.renoise(noisy, clean, step, torch.full_like(label, below))
    return clean


def _ladder(top: int, steps: int) -> list[int]:
    """Noise levels from the top down, one more than there are steps between them."""
    return torch.linspace(top, 0, steps + 1).round().long().tolist()


def _source(goal: Goal) -> Labels:
    if goal.source is None:
        raise ValueError("expected a goal with source classes, got none; do give them")
    return goal.source


def _target(goal: Goal, prior: Denoiser) -> Labels:
    """The target class; where any other will do, no class in particular."""
    source = _source(goal)
    return torch.full_like(source, prior.no_class) if goal.target is None else goal.target
