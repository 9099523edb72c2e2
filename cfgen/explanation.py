"""The call that explains one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.data.files import read_image
from cfgen.data.preprocessing import preprocessing_of
from cfgen.evidence import Evidence, gather
from cfgen.familiarity import Familiarity, find_familiarity
from cfgen.goals import make_goal
from cfgen.methods import DEFAULT_METHOD, search, settings_of
from cfgen.models.bundle import Bundle, load_bundle
from cfgen.spaces import EVERYWHERE, Region
from cfgen.types import Image, Outcome
from cfgen.verdict import ALREADY, Decision, find_model
from cfgen.witnesses import witnesses_of


@dataclass(frozen=True)
class Explanation:
    """The counterfactual of one image, and what the classifier made of both.

    Attributes:
        factual: the image in [0, 1].
        counterfactual: the image found, in [0, 1].
        outcome: how the search ended.
        target: name of the class that was asked for; None for any but the one decided for.
        classes: names.
        before: calibrated probabilities of the factual, one a class.
        after: the same of the counterfactual.
        decided_before: name of the class that the classifier decides for, by its thresholds.
        decided_after: the same of the counterfactual.
        evidence: on the counterfactual, a batch of one.
        verdict: on the counterfactual; None where no calibrated model is found.
        familiarity: of the factual; None where the bundle has nothing to tell it by.
    """

    factual: Image
    counterfactual: Image
    outcome: Outcome
    target: str | None
    classes: tuple[str, ...]
    before: Float[Tensor, " classes"]
    after: Float[Tensor, " classes"]
    decided_before: str
    decided_after: str
    evidence: Evidence
    verdict: Decision | None
    familiarity: Familiarity | None


def explain(
    image: str | Path | Image,
    bundle: str | Path | Bundle,
    target: str | None = None,
    method: str = DEFAULT_METHOD,
    settings: Mapping[str, int | float | str] | None = None,
    mask: Float[Tensor, "1 height width"] | None = None,
    draw: int = 0,
) -> Explanation:
    """Find the smallest change of one image that changes what the classifier says.

    And gather the evidence on it, and give the verdict: whether it shows a finding, or a trick on
    this classifier; and say whether the image is like those that the bundle was trained on.

    Args:
        image: a file, or an image in [0, 1] of the bundle's size.
        bundle: a bundle, its path, or a shipped one's name.
        target: name of a class; see `cfgen.goals.make_goal`.
        method: a name in `METHODS`.
        settings: of the method, those that are not to be its own.
        mask: 1 where the image may change, 0 where it may not; None for everywhere.
        draw: which of the counterfactuals that a method draws at random; the same one each time.

    Raises:
        ValueError: the image, the bundle, the target or the method is not to be had.
    """
    models = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    if not isinstance(image, Tensor):
        prepare = preprocessing_of(models.preprocessing, models.path / "bundle.yaml")
        image = prepare(read_image(Path(image)), str(image))
    for name, given in {"image": image, "mask": mask}.items():
        if given is not None and given.shape != (1, models.size, models.size):
            raise ValueError(
                f"expected the {name} as (1, {models.size}, {models.size}), got "
                f"{tuple(given.shape)}; do resize it, or give the image as a file"
            )
    factual = image[None].to(models.device)
    goal = make_goal(models.classifier, factual, target)
    region = EVERYWHERE if mask is None else Region(mask[None])
    seed = torch.tensor([draw])
    found = search(models, goal, factual, method, settings_of(method, settings), region, seed)
    with torch.inference_mode():
        logits = models.classifier(torch.cat([factual, found.images]))
    before, after = logits.softmax(1)
    decided = [models.classes[index] for index in models.classifier.decide(logits).tolist()]
    evidence = gather(witnesses_of(models), goal, factual, found.images, seed)
    model = find_model(models.path)
    verdict = None
    if model is not None:
        already = found.outcomes[0] == Outcome.ALREADY
        verdict = ALREADY if already else model.decide(evidence)[0]
    decided_before, decided_after = decided
    usual = find_familiarity(models)
    return Explanation(
        factual=factual[0],
        counterfactual=found.images[0],
        outcome=found.outcomes[0],
        target=None if goal.target is None else models.classes[int(goal.target)],
        classes=models.classes,
        before=before,
        after=after,
        decided_before=decided_before,
        decided_after=decided_after,
        evidence=evidence,
        verdict=verdict,
        familiarity=usual.judge(factual)[0] if usual else None,
    )
