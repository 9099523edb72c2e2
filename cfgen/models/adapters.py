"""Makes a classifier that cfgen did not train answer like one that it did.

A YAML file beside the weights says what they are (`cfgen.models.description`):

    kind: torchvision
    weights: resnet18.pt
    architecture: resnet18
    classes: [NORMAL, PNEUMONIA]
    mean: [0.485, 0.456, 0.406]
    std: [0.229, 0.224, 0.225]
    size: 224
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from cfgen.digests import digest_of
from cfgen.models.classifier import Classifier, wrap_network
from cfgen.models.description import SUFFIXES, Description, read_description
from cfgen.models.foreign import Foreign, build
from cfgen.models.points import scaled_odds
from cfgen.types import Images, Logits

Outputs = Float[Tensor, "batch outputs"]

_LEAST = 1e-6
"""Probability from which on log-odds grow no further: beyond it float32 has no gradient left."""
_ALIKE = 1e-3
"""How far an image's outputs may differ, alone and in a batch, by rounding."""


class Adapted(nn.Module):
    """A network from elsewhere, as a map from images in [0, 1] to class logits.

    x is resized to the network's size (bilinear, antialiased), repeated to its channels, and
    normalised: (x - mean) / std. Of its outputs y the logits are y or log(y), as they are
    logits or probabilities; where one of several findings is chosen, (0, log-odds of the finding),
    scaled by its operating point where it has one (`cfgen.models.points.scaled_odds`).

    Args:
        foreign: the network.
        described: what it wants and gives.
        places: of the outputs, in the order of the logits.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, foreign: Foreign, described: Description, places: Sequence[int]) -> None:
        super().__init__()
        self.network = foreign.network
        self.given, self.point = foreign.outputs, foreign.point
        self.size, self.places = described.size, list(places)
        self.finding, self.count = None, len(described.classes)
        if described.pathology is not None:
            self.count = len(foreign.pathologies)
            self.finding = foreign.pathologies.index(described.pathology)
        for name in ("mean", "std"):
            values = getattr(described, name)
            values = values * described.channels if len(values) == 1 else values
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def outputs(self, images: Images) -> Outputs:
        """What the network itself gives."""
        side = (self.size, self.size)
        if images.shape[-2:] != side:
            images = functional.interpolate(images, side, mode="bilinear", antialias=True)
        return self.network((images - self.mean) / self.std)

    def forward(self, images: Images) -> Logits:
        """Class logits, in the order asked for."""
        outputs = self.outputs(images)
        if self.finding is not None:
            one = outputs[:, self.finding]
            odds = one if self.given == "logits" else torch.logit(one, eps=_LEAST)
            odds = scaled_odds(odds, self.point)
            outputs = torch.stack([torch.zeros_like(odds), odds], 1)
        elif self.given == "probabilities":
            outputs = outputs.clamp(min=_LEAST).log()
        return outputs[:, self.places]


def is_description(name: str | Path) -> bool:
    """Whether a name is that of a classifier's YAML file."""
    return Path(name).suffix.lower() in SUFFIXES


def load_adapted(path: Path, classes: Sequence[str] | None = None) -> Classifier:
    """Load the classifier that a YAML file describes, frozen and in evaluation mode.

    Its logits are taken as they are: temperature 1, the most probable class is decided for.

    Args:
        path: the YAML file.
        classes: names, in the order wanted; by default the file's own.

    Raises:
        ValueError: the file or its weights are not what they should be, the network does not take
            its images or does not give its classes, or an image's answer depends on its batch.
        ModuleNotFoundError: an optional library is not installed.
    """
    described = read_description(Path(path))
    wanted = tuple(classes or described.classes)
    if set(wanted) != set(described.classes):
        raise ValueError(
            f"expected the classes {', '.join(wanted)} in {path}, got "
            f"{', '.join(described.classes)}; do name them as the bundle does"
        )
    places = [described.classes.index(name) for name in wanted]
    adapted = Adapted(build(described), described, places).eval()
    _try(adapted, described)
    return wrap_network(adapted, wanted, described.size)


def adapted_hash(path: Path) -> str:
    """Sha256 of a classifier's YAML file and of its weights, in hexadecimal.

    Where the weights are no file of one's own, their tensors are taken.
    """
    described = read_description(path)
    digest = hashlib.sha256(path.read_bytes())
    if described.file is not None:
        digest.update(digest_of(described.file))
    else:
        state = build(described).network.state_dict()
        # Cloned, for safetensors refuses tensors that share their memory.
        digest.update(save({name: one.cpu().contiguous().clone() for name, one in state.items()}))
    return digest.hexdigest()


def _try(adapted: Adapted, described: Description) -> None:
    """Ask a network of two images, together and alone: what is wrong would fail obscurely later."""
    ramp = torch.linspace(0, 1, described.size).expand(1, 1, described.size, -1)
    try:
        with torch.no_grad():
            both, alone = adapted.outputs(torch.cat([ramp, 1 - ramp])), adapted.outputs(ramp)
    except Exception as error:  # programs raise whatever their guards do
        raise _wrong(
            described,
            f"a network of batches of any number of ({described.channels}, {described.size}, "
            f"{described.size}) images",
            f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            "check size and channels, and export it with a batch of any size",
        ) from error
    _check_shape(described, both, adapted.count)
    if not both.isfinite().all():
        raise _wrong(described, "finite outputs", "others", "check the weights, mean and std")
    if not torch.allclose(both[:1], alone, rtol=_ALIKE, atol=_ALIKE):
        raise _wrong(
            described,
            "the same outputs for an image alone and in a batch",
            f"a difference of {float((both[:1] - alone).abs().max()):.3g}",
            "save the network in evaluation mode",
        )
    _check_outputs(described, adapted, both)


def _check_shape(described: Description, outputs: object, count: int) -> None:
    shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    if shape != (2, count):
        raise _wrong(
            described,
            f"{count} outputs an image, one a name,",
            f"{shape} for two images",
            "name its classes, or pathologies and pathology for sigmoid outputs; where it returns "
            "more than a tensor, wrap it in a function",
        )


def _check_outputs(described: Description, adapted: Adapted, outputs: Outputs) -> None:
    """Tell logits from probabilities where they give themselves away."""
    shares = bool(((outputs >= -_ALIKE) & (outputs <= 1 + _ALIKE)).all())
    sums = torch.allclose(outputs.sum(1), torch.ones(2), atol=_ALIKE)
    whole = shares and (adapted.finding is not None or sums)
    if adapted.given == "probabilities" and not whole:
        got = f"{float(outputs.min()):.3g} to {float(outputs.max()):.3g}"
        raise _wrong(described, "probabilities", got, "write outputs: logits")
    if adapted.given == "logits" and adapted.finding is None and whole:
        raise _wrong(described, "logits", "probabilities", "write outputs: probabilities")


def _wrong(described: Description, expected: str, got: str, remedy: str) -> ValueError:
    return ValueError(f"expected {expected} from {described.path}, got {got}; do {remedy}")
