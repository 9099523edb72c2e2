"""Networks that cfgen did not train, each kind made as the library it comes from makes it."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cfgen.models.classifier import import_network
from cfgen.models.description import Description, Outputs
from cfgen.models.networks import torchvision_network
from cfgen.models.points import point_of
from cfgen.models.weights import load_weights, read_weights


class Foreign(NamedTuple):
    """A network as it is, in evaluation mode.

    Attributes:
        network: from normalised images to its own outputs.
        outputs: whether these are logits or probabilities.
        pathologies: names of its outputs, where each is a finding of its own.
        point: probability of the finding to explain from which on it is decided for.
    """

    network: nn.Module
    outputs: Outputs
    pathologies: tuple[str, ...]
    point: float = 0.5


def build(described: Description) -> Foreign:
    """Make the network that a description describes, with its weights.

    Raises:
        ValueError: the weights are missing, or do not fit what is described.
        ModuleNotFoundError: an optional library is not installed.
    """
    if described.kind == "torchxrayvision":
        return _from_torchxrayvision(described)
    network = _plain(described)
    return Foreign(network.eval(), described.outputs, described.pathologies)


def _plain(described: Description) -> nn.Module:
    count = len(described.pathologies if described.pathology else described.classes)
    if described.kind == "function":
        return import_network(described.function or "")
    if described.kind == "torchscript":
        return _scripted(_file(described))
    if described.kind == "exported":
        return _exported(_file(described))
    name = described.architecture or ""
    if described.kind == "timm":
        network = _from_timm(name, count, described.channels)
    else:
        network = torchvision_network(name, count, described.channels)
    return load_weights(network, _file(described))


def _file(described: Description) -> Path:
    if described.file is None:
        raise ValueError(
            f"expected a file of weights, got {described.weights!r} in {described.path}, which is "
            "none; do name one relative to that file"
        )
    return described.file


def _scripted(path: Path) -> nn.Module:
    _require_archive(path, "a TorchScript program, as torch.jit.save writes it")
    try:
        with warnings.catch_warnings():
            # Deprecated or not, this is what users have.
            warnings.simplefilter("ignore", category=FutureWarning)
            warnings.simplefilter("ignore", category=DeprecationWarning)
            return torch.jit.load(path, map_location="cpu")
    except RuntimeError as error:
        raise ValueError(
            f"expected a TorchScript program in {path}, got {error}; do save one by "
            "torch.jit.save, or describe it as kind: exported"
        ) from error


class _Exported(nn.Module):
    """Keeps the mode of an exported program: it has none, and refuses to be asked for one."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def train(self, mode: bool = True) -> _Exported:
        self.training = mode
        return self

    def forward(self, images: Tensor) -> Tensor:
        return self.program(images)


def _exported(path: Path) -> nn.Module:
    _require_archive(path, "an exported program, as torch.export.save writes it")
    try:
        return _Exported(torch.export.load(path).module())
    except Exception as error:  # nearly anything, by what is missing in the archive
        raise ValueError(
            f"expected an exported program in {path}, got {type(error).__name__}: {error}; do save "
            "one by torch.export.save, or describe it as kind: torchscript"
        ) from error


def _require_archive(path: Path, expected: str) -> None:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"expected {expected}, got {path}, which is no archive; do save it again")


def _from_timm(name: str, count: int, channels: int) -> nn.Module:
    timm = _library("timm")
    try:
        return timm.create_model(name, pretrained=False, num_classes=count, in_chans=channels)
    except RuntimeError as error:
        raise ValueError(
            f"expected an architecture of timm, got {name!r} ({error}); do timm.list_models() to "
            "see them"
        ) from error


def _from_torchxrayvision(described: Description) -> Foreign:
    """Its own weights by name, downloaded once and unpickled by it, or a file of a fine-tuned one.

    Where it has operating points they are taken from the network, which then gives logits: its
    own scaled probabilities are flat, without a gradient, where it is sure.
    """
    library = _library("torchxrayvision")
    if described.file is None:
        known = sorted(set(library.models.model_urls))
        if described.weights not in known:
            raise ValueError(
                f"expected a file or weights of torchxrayvision ({', '.join(known)}), got "
                f"{described.weights!r} in {described.path}; do name one of these"
            )
        network = library.models.get_model(described.weights)
    else:
        points = read_weights(described.file).get("op_threshs")
        count = len(described.pathologies) or len(library.models.DenseNet.targets)
        network = library.models.DenseNet(num_classes=count, op_threshs=points)
        load_weights(network, described.file)
    _check_resolution(described, getattr(network, "input_resolution", described.size))
    names = _pathologies(described, network.targets)
    point = point_of(described, getattr(network, "op_threshs", None), names)
    network.op_threshs = None
    return Foreign(network.eval(), "logits", names, point)


def _check_resolution(described: Description, own: int) -> None:
    if own != described.size:
        raise ValueError(
            f"expected size: {own} for {described.weights}, got {described.size} in "
            f"{described.path}; do correct it"
        )


def _pathologies(described: Description, own: Sequence[str]) -> tuple[str, ...]:
    names = described.pathologies or tuple(own)
    # Outputs that the weights know nothing of have no name.
    if not described.pathology or described.pathology not in names:
        raise ValueError(
            f"expected a pathology among {', '.join(filter(None, names))}, got "
            f"{described.pathology!r} in {described.path}; do name one that these weights know"
        )
    return names


def _library(name: str) -> ModuleType:
    try:
        # torchxrayvision silences all warnings of the process when it is imported.
        with warnings.catch_warnings():
            return import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"expected {name} for a classifier of that kind, got {error}; do pip install "
            f"'cfgen[{name}]'"
        ) from error
