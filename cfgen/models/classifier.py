"""A classifier or judge: a network with its normalisation, calibration and decision threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from jaxtyping import Float
from torch import Tensor, nn

from cfgen.models.networks import build_network
from cfgen.models.saving import load_model
from cfgen.models.segmenter import Segmenter
from cfgen.models.views import (
    BORDER_MARGIN,
    LUNGS_MARGIN,
    View,
    border_view,
    lung_box,
    lungs_view,
    random_crop,
)
from cfgen.types import Images, Labels, Logits


class Classifier(ModelMixin, ConfigMixin):
    """Maps images in [0, 1] to calibrated class logits.

    logits = network(see(images)) / temperature, where see(x) = (x - mean) / std for a network that
    sees the whole image. Normalisation is part of the model, so
    that nobody who searches on [0, 1] can get it wrong. softmax(logits) is calibrated on the
    validation split (temperature scaling: Guo et al. 2017); the class decided for is the one whose
    probability exceeds its threshold by the largest factor. With two classes and thresholds
    (1 - t, t) that is 'the second class, if its probability is at least t'.

    Args:
        architecture: see `build_network`.
        classes: names, in the order of the logits.
        size: height and width of the images it was trained on.
        mean: of the training images.
        std: of the training images.
        widths: channels a stage, for the compact residual network.
        temperature: divides the logits.
        thresholds: one a class, positive; equal ones decide for the most probable class.
        view: 'whole'; 'lungs', cropped to these and equalised (`cfgen.models.views.lungs_view`);
            'border', all but a box around them (`cfgen.models.views.border_view`).
        segmenter_config: that of the segmenter inside, for a view that needs one. It is
            frozen, and saved with the classifier.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        architecture: str = "compact-resnet",
        classes: Sequence[str] = ("NORMAL", "PNEUMONIA"),
        size: int = 128,
        mean: float = 0.5,
        std: float = 0.25,
        widths: Sequence[int] | None = None,
        temperature: float = 1.0,
        thresholds: Sequence[float] | None = None,
        view: View = "whole",
        segmenter_config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = build_network(architecture, len(classes), size, widths)
        self.view: View = view
        self.segmenter = None
        if view != "whole":
            self.segmenter = Segmenter(**(segmenter_config or {})).eval().requires_grad_(False)
        self._set(classes, mean, std, temperature, thresholds)

    def _set(
        self,
        classes: Sequence[str],
        mean: float,
        std: float,
        temperature: float,
        thresholds: Sequence[float] | None,
    ) -> None:
        self.classes = tuple(classes)
        self.mean, self.std, self.temperature = mean, std, temperature
        self.thresholds = tuple(thresholds or [1 / len(classes)] * len(classes))
        if len(self.thresholds) != len(self.classes) or min(self.thresholds) <= 0:
            raise ValueError(
                f"expected a positive threshold for each of {', '.join(self.classes)}, got "
                f"{self.thresholds}; do give one a class"
            )

    def forward(self, images: Images) -> Logits:
        """Calibrated logits of images in [0, 1]."""
        return self.network(self.see(images)) / self.temperature

    def see(self, images: Images) -> Images:
        """What the network is given; in training mode crops to the lungs are moved at random.

        Where the lungs are is taken as known: no gradient passes through the segmenter.
        """
        if self.segmenter is None:
            return (images - self.mean) / self.std
        with torch.no_grad():
            lungs = self.segmenter(images).float()
        if self.view == "border":
            shown = border_view(images, lung_box(lungs, BORDER_MARGIN), self.mean)
            return (shown - self.mean) / self.std
        boxes = lung_box(lungs, LUNGS_MARGIN)
        return lungs_view(images, lungs, random_crop(boxes) if self.training else boxes)

    def train(self, mode: bool = True) -> Classifier:
        """Set the mode of all but the segmenter, which stays in evaluation mode."""
        super().train(mode)
        if self.segmenter is not None:
            self.segmenter.eval()
        return self

    def calibrate(self, temperature: float, thresholds: Sequence[float]) -> None:
        """Set the temperature and thresholds chosen on validation; they are saved with it."""
        self._set(self.classes, self.mean, self.std, temperature, thresholds)
        self.register_to_config(temperature=temperature, thresholds=list(thresholds))

    def decide(self, logits: Logits) -> Labels:
        """Index of the class decided for, from calibrated logits."""
        thresholds = torch.tensor(self.thresholds, device=logits.device)
        return (logits.log_softmax(1) - thresholds.log()).argmax(1)

    def predict(self, images: Images) -> Labels:
        """Index of the class decided for."""
        return self.decide(self(images))

    def features(self, images: Images) -> Float[Tensor, "batch features"]:
        """What the network's last dense layer is given.

        Raises:
            ValueError: the network has no dense layer.
        """
        dense = self._dense()
        if not dense:
            raise ValueError("expected a network that ends in nn.Linear, got one without any")
        seen: list[Tensor] = []
        handle = dense[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            self(images)
        finally:
            handle.remove()
        return seen[0].flatten(1)

    @property
    def has_features(self) -> bool:
        """Whether there is a dense layer: a program has none that can be looked into."""
        return bool(self._dense())

    def _dense(self) -> list[nn.Linear]:
        return [module for module in self.network.modules() if isinstance(module, nn.Linear)]


def load_classifier(path: Path) -> Classifier:
    """Load a saved classifier or judge, frozen and in evaluation mode.

    Raises:
        ValueError: the folder is missing, or is not a saved classifier.
    """
    return cast("Classifier", load_model(Classifier, path))


def import_classifier(name: str, classes: Sequence[str], size: int) -> Classifier:
    """Wrap a user's own network, given as `package.module:function`.

    The function takes no arguments and returns a module from (batch, 1, h, w) images in [0, 1] to
    (batch, classes) logits, taken as they are: temperature 1, most probable class decided for.

    Args:
        name: of the function.
        classes: names, in the order of the logits.
        size: height and width of the images it will be given.

    Raises:
        ValueError: no such function, or it does not return such a module.
    """
    network = import_network(name)
    _check_logits(name, network, len(classes), size)
    return wrap_network(network, classes, size)


def import_network(name: str) -> nn.Module:
    """Call `package.module:function`; return its network, on the CPU and in evaluation mode.

    Raises:
        ValueError: no such function, or it does not return a module.
    """
    module_name, _, function = name.partition(":")
    try:
        make = getattr(import_module(module_name), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"expected --classifier package.module:function, importable from here, got {name!r} "
            f"({error}); do check the spelling and PYTHONPATH"
        ) from error
    try:
        network = make()
    except TypeError as error:
        raise ValueError(
            f"expected {name} to be a function without arguments, got {error}; do wrap yours in one"
        ) from error
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"expected {name} to return a torch.nn.Module, got {type(network)}; do return one"
        )
    return network.cpu().eval()


def wrap_network(network: nn.Module, classes: Sequence[str], size: int) -> Classifier:
    """Make a frozen classifier of a network from [0, 1] images to logits, taken as they are."""
    classifier = Classifier(classes=list(classes), size=size, widths=[1])
    classifier.network = network
    classifier._set(classes, mean=0.0, std=1.0, temperature=1.0, thresholds=None)
    return classifier.eval().requires_grad_(False)


def _check_logits(name: str, network: nn.Module, classes: int, size: int) -> None:
    """Try a network on one image: a single logit, or three channels, would fail obscurely later."""
    try:
        with torch.inference_mode():
            shape = tuple(network(torch.zeros(1, 1, size, size)).shape)
    except RuntimeError as error:
        raise ValueError(
            f"expected {name} to take (batch, 1, {size}, {size}) images, got {error}; do wrap the "
            "network in a module that makes of these what it needs"
        ) from error
    if shape != (1, classes):
        raise ValueError(
            f"expected {name} to give (1, {classes}) logits for one image, got {shape}; do return "
            "one logit a class, in the order of the bundle's classes"
        )
