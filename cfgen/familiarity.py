"""Is an image like those that a bundle's models were trained on?

Nothing that a model says of an image that is unlike its training data can be relied on: not a
classifier, nor a judge, nor the prior. So this is asked of pixels alone, before any of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from cfgen.models.bundle import Bundle
from cfgen.types import Images

FOLDER = "familiarity"
CONFIG = "familiarity.json"
STATISTICS = "statistics.safetensors"
SHARE = 0.99
"""Of the validation images that are within the limit."""
_LAYOUT, _CELLS = 16, 4
_LEAST = 1e-3

Traits = Float[Tensor, "batch traits"]


class Familiarity(NamedTuple):
    """How far an image is from a bundle's training images.

    Attributes:
        distance: 1 is usual; see `FamiliarityModel.distance`.
        limit: that 99 of 100 validation images keep.
    """

    distance: float
    limit: float

    @property
    def familiar(self) -> bool:
        """Whether the image keeps the limit."""
        return self.distance <= self.limit


@dataclass(frozen=True)
class FamiliarityModel:
    """Mean and spread of the training images' traits.

    Attributes:
        mean: of every trait.
        whitening: lower triangle of W, with W' W the inverse of the covariance.
        limit: of the distance.
        calibration: how it was made: for reading.
    """

    mean: Float[Tensor, " traits"]
    whitening: Float[Tensor, " triangle"]
    limit: float
    calibration: dict[str, int]

    def distance(self, images: Images) -> Float[Tensor, " batch"]:
        """Distance of each image's traits from those of the training images."""
        return self.of_traits(traits(images.cpu()))

    def of_traits(self, found: Traits) -> Float[Tensor, " batch"]:
        """Mahalanobis distance of traits t from the mean m, over its usual value.

        |W (t - m)| / sqrt(n) for n traits: its mean square over the training images is about 1.
        Source: Lee et al. 2018, who take it of a classifier's features.
        """
        count = len(self.mean)
        rows, columns = torch.tril_indices(count, count)
        whitening = torch.zeros(count, count)
        whitening[rows, columns] = self.whitening
        return ((found - self.mean) @ whitening.T).square().mean(1).sqrt()

    def judge(self, images: Images) -> list[Familiarity]:
        """Say of each image how familiar it is."""
        return [Familiarity(found, self.limit) for found in self.distance(images).tolist()]

    def save(self, path: Path) -> None:
        """Write the model into a folder, which is made where it is missing."""
        path.mkdir(parents=True, exist_ok=True)
        stored = save({"mean": self.mean, "whitening": self.whitening})
        (path / STATISTICS).write_bytes(stored)
        described = {"limit": self.limit, "share": SHARE, **self.calibration}
        (path / CONFIG).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def traits(images: Images) -> Traits:
    """Describe an image by its layout, its texture and its exposure: 290 numbers, no model.

    The image less its mean, over its standard deviation, averaged over 16 x 16 cells; the log
    of the mean squared detail of one and of two octaves in 4 x 4 cells; mean and log standard
    deviation.

    Raises:
        ValueError: an image is smaller than 16 pixels.
    """
    size = images.shape[-1]
    if min(images.shape[-2:]) < _LAYOUT:
        raise ValueError(
            f"expected images of {_LAYOUT} pixels or more, got {tuple(images.shape)}; make a "
            "bundle of larger ones"
        )
    std, mean = torch.std_mean(images, (1, 2, 3), correction=0, keepdim=True)
    standard = (images - mean) / (std + _LEAST)
    found = [adaptive_avg_pool2d(standard, _LAYOUT)]
    for octave in (2, 4):
        coarse = adaptive_avg_pool2d(standard, size // octave)
        smooth = interpolate(coarse, images.shape[-2:], mode="bilinear", align_corners=False)
        detail = adaptive_avg_pool2d((standard - smooth).square(), _CELLS)
        found.append((detail + _LEAST / 10).log())
    found += [mean, (std + _LEAST).log()]
    return torch.cat([part.flatten(1) for part in found], 1)


def load_familiarity(path: Path) -> FamiliarityModel:
    """Load a saved model of familiarity.

    Raises:
        ValueError: the folder holds none.
    """
    try:
        described = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        limit = float(described.pop("limit"))
        described.pop("share")
        stored = load((path / STATISTICS).read_bytes())
        mean, whitening = stored["mean"], stored["whitening"]
        if len(whitening) != len(mean) * (len(mean) + 1) // 2:
            raise ValueError("a whitening that does not fit the mean")
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"expected the statistics of familiar images in {path}, got {error!r}; make them by "
            "`cfgen train familiarity`"
        ) from error
    return FamiliarityModel(mean, whitening, limit, described)


def find_familiarity(bundle: Bundle) -> FamiliarityModel | None:
    """Return a bundle's own model of familiarity; None if it has none.

    It is never borrowed: another bundle, though for the same classes, has other training images.

    Raises:
        ValueError: what is there is none.
    """
    folder = bundle.path / FOLDER
    return load_familiarity(folder) if (folder / CONFIG).is_file() else None
