"""Make the statistics by which a bundle tells images like its training images from others.

`cfgen train familiarity --config RECIPE.yaml --data DIR` reads training and validation images.
"""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.data.samples import Sample
from cfgen.digests import digest_of
from cfgen.familiarity import FOLDER, SHARE, STATISTICS, FamiliarityModel, Traits, traits
from cfgen.types import Images
from train.card import Reading, add_readings
from train.command import parse_recipe
from train.data import ImageSet
from train.familiarity_card import write_card
from train.measure import mean_of, read_off
from train.preparation import prepare
from train.recipe import Recipe
from train.strangers import altered, strangers

_LEAST = 1e-3
_FALSE = "validation images, by the limit of the other half"


def fit(train: Traits, val: Float[Tensor, "held_out traits"]) -> FamiliarityModel:
    """Make a model of the training images' traits, and its limit of the validation images'.

    The covariance is that of the standardised traits, shrunk towards its mean variance by as much
    as the images leave it unsure (Ledoit and Wolf 2004).

    Raises:
        ValueError: there are fewer than two training images or no validation image.
    """
    if len(train) < 2 or not len(val):
        raise ValueError(
            f"expected two training images or more and validation images, got {len(train)} and "
            f"{len(val)}; give more"
        )
    mean = train.double().mean(0)
    scale = train.double().std(0, correction=0).clamp(min=_LEAST)
    factor = torch.linalg.cholesky(shrunk_covariance((train.double() - mean) / scale))
    whitening = torch.linalg.inv(factor) / scale
    rows, columns = torch.tril_indices(len(mean), len(mean))
    distances = ((val.double() - mean) @ whitening.T).square().mean(1).sqrt()
    return FamiliarityModel(
        mean=mean.float(),
        whitening=whitening[rows, columns].float(),
        limit=float(np.quantile(distances.numpy(), SHARE)),
        calibration={"training images": len(train), "validation images": len(val)},
    )


def shrunk_covariance(
    centred: Float[Tensor, "batch traits"],
) -> Float[Tensor, "traits traits"]:
    """Covariance S shrunk towards a multiple of the identity: (1 - b) S + b mean(diag S) I.

    b = min(1, mean_k |x_k x_k' - S|^2 / (n |S - mean(diag S) I|^2)), which minimises the expected
    squared error (Ledoit and Wolf 2004, lemma 3.2 to 3.4).
    """
    count, width = centred.shape
    covariance = centred.T @ centred / count
    level = covariance.trace() / width
    target = level * torch.eye(width, dtype=centred.dtype)
    unsure = centred.square().sum(1).square().mean() - covariance.square().sum()
    share = unsure / count / (covariance - target).square().sum().clamp(min=1e-12)
    share = share.clamp(0, 1)
    return (1 - share) * covariance + share * target


def train_familiarity(recipe: Recipe) -> None:
    """Make the statistics of a bundle, measure what they notice, and save them with their card."""
    _source, train, val = prepare(recipe)
    of_train, of_val = _traits(train.images), _traits(val.images)
    model = fit(of_train, of_val)
    folder = recipe.bundle / FOLDER
    model.save(folder)
    name = digest_of(folder / STATISTICS).hex()[:12]
    readings = _readings(model, val, of_val, name)
    add_readings(recipe.bundle, readings)
    write_card(recipe, model, name)
    for reading in readings:
        sys.stdout.write(f"{FOLDER} {reading.split} {reading.text()}\n")
    sys.stdout.write(f"saved {folder}\n")


def _traits(images: Float[Tensor, "images 1 height width"]) -> Traits:
    return torch.cat([traits(batch.float()) for batch in images.split(64)])


def _readings(model: FamiliarityModel, val: ImageSet, of_val: Traits, name: str) -> list[Reading]:
    """Share of images beyond the limit: of validation images, changed ones and others."""
    beyond = {_FALSE: _crossed(model, val, of_val)}
    beyond |= {kind: _beyond(model, images) for kind, images in altered(val.images).items()}
    statistics = {kind: mean_of(flags) for kind, flags in beyond.items()}
    found = read_off(FOLDER, name, "val", statistics, val.samples)
    for kind, images in strangers(val.images.shape[-1]).items():
        samples = [Sample(f"{kind}-{k}", None, None) for k in range(len(images))]
        flags = {kind: mean_of(_beyond(model, images))}
        found += read_off(FOLDER, name, "other", flags, samples)
    return found


def _beyond(model: FamiliarityModel, images: Images) -> Float[Tensor, " images"]:
    batches = [model.distance(batch.float()) for batch in images.split(64)]
    return (torch.cat(batches) > model.limit).double()


def _crossed(model: FamiliarityModel, val: ImageSet, of_val: Traits) -> Float[Tensor, " images"]:
    """Which validation images are beyond a limit chosen on the other half of the patients."""
    distances = model.of_traits(of_val)
    names = [sample.patient or sample.path for sample in val.samples]
    first = torch.tensor([hashlib.sha256(name.encode()).digest()[0] % 2 == 0 for name in names])
    beyond = torch.zeros(len(names), dtype=torch.double)
    for half in (first, ~first):
        if (~half).any():
            limit = float(np.quantile(distances[~half].numpy(), SHARE))
            beyond[half] = (distances[half] > limit).double()
    return beyond


def main(arguments: list[str] | None = None) -> None:
    """Make the statistics of the recipe's bundle."""
    train_familiarity(parse_recipe(arguments))


if __name__ == "__main__":
    main()
