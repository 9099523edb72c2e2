"""Dose and response: what the models make of the change at strengths from none to beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.explanation import Explanation
from cfgen.goals import OTHER, make_goal
from cfgen.models.bundle import Bundle
from cfgen.models.classifier import Classifier
from cfgen.paths import along
from cfgen.spaces import LatentSpace, PixelSpace, Space
from cfgen.types import Images

STRENGTHS = tuple(k / 8 for k in range(13))
"""0 is the factual, 1 the counterfactual, 1.5 half as much change again."""
SHOWN = slice(None, None, 2)
"""The strengths whose images are shown."""
_NO_CONFIDENCE = 1e-9


class Opinion(NamedTuple):
    """What one model makes of the images.

    Attributes:
        name: of a judge; 'classifier' for the one explained.
        p: probability of the goal at each strength, in [0, 1].
        before: name of the class it decides for on the factual.
        after: the same on the counterfactual.
    """

    name: str
    p: tuple[float, ...]
    before: str
    after: str


class Response(NamedTuple):
    """The images at every one of `STRENGTHS`, and what is made of them.

    Attributes:
        images: in [0, 1].
        opinions: the classifier's, then the judges'.
        threshold: probability of the goal from which the classifier surely decides for it.
        goal: what the probability is of, such as 'NORMAL' or 'not NORMAL'.
    """

    images: Images
    opinions: tuple[Opinion, ...]
    threshold: float
    goal: str


def space_of(bundle: Bundle) -> Space:
    """The space in which images are joined: the autoencoder's, where there is one."""
    return LatentSpace(bundle.autoencoder) if bundle.has("autoencoder") else PixelSpace()


def images_at(found: Explanation, bundle: Bundle, strengths: Sequence[float]) -> Images:
    """Images with the found change at some strengths, see `cfgen.paths.along`."""
    wanted = torch.tensor(strengths, dtype=found.factual.dtype)
    return along(space_of(bundle), found.factual, found.counterfactual, wanted)


def respond(found: Explanation, bundle: Bundle) -> Response:
    """Ask the classifier and every judge of the images at `STRENGTHS`."""
    images = images_at(found, bundle, STRENGTHS)
    goal = make_goal(bundle.classifier, found.factual[None], found.target or OTHER, _NO_CONFIDENCE)
    models = {"classifier": bundle.classifier, **bundle.judges}
    return Response(
        images=images,
        opinions=tuple(_opinion(name, model, found, images) for name, model in models.items()),
        threshold=float(goal.bar.sigmoid()),
        goal=found.target or f"not {found.decided_before}",
    )


def _opinion(name: str, model: Classifier, found: Explanation, images: Images) -> Opinion:
    with torch.inference_mode():
        logits = model(images)
    decided = [model.classes[index] for index in model.decide(logits).tolist()]
    after = decided[STRENGTHS.index(1)]
    return Opinion(name, _chance(model, found, logits.softmax(1)), decided[0], after)


def _chance(
    model: Classifier, found: Explanation, p: Float[Tensor, "strengths classes"]
) -> tuple[float, ...]:
    if found.target is None:
        return tuple((1 - p[:, model.classes.index(found.decided_before)]).tolist())
    return tuple(p[:, model.classes.index(found.target)].tolist())
