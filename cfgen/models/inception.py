"""The Inception network in whose features a Frechet distance is an FID, from a file."""

from __future__ import annotations

import io
from importlib import import_module
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cfgen.models.weights import in_short, read_weights
from cfgen.types import Images

PUBLISHED = "6726825d"
"""First digits of the sha256 of pt_inception-2015-12-05-6726825d.pth."""
_LAYER = "2048"
_AT_ONCE = 16
"""Images in memory at once: enlarged to 299 pixels and 64 channels they take 20 MB each."""


class Inception(nn.Module):
    """From grey images in [0, 1] to the 2048 features that FID is measured in."""

    def __init__(self, extractor: nn.Module) -> None:
        """Wrap torch-fidelity's extractor of that layer."""
        super().__init__()
        self.extractor = extractor

    def forward(self, images: Images) -> Float[Tensor, "batch 2048"]:
        """Round to 8 bits, repeat the grey on three channels, enlarge to 299 pixels and extract.

        The enlarging is TensorFlow's of 2015, as torch-fidelity has it, for FID was measured so.
        """
        levels = (images.clamp(0, 1) * 255).round().to(torch.uint8).expand(-1, 3, -1, -1)
        return torch.cat([self.extractor(some)[0] for some in levels.split(_AT_ONCE)])


def load_inception(path: Path) -> Inception:
    """Read FID's Inception from a file; nothing is downloaded.

    Needs `pip install 'cfgen[fid]'`.

    Args:
        path: the weights that pytorch-fid and torch-fidelity publish.

    Raises:
        ValueError: the file is missing, cannot be read, or is of another network (such as
            torchvision's own Inception), or torch-fidelity is not installed.
    """
    state = read_weights(path)
    try:
        library = import_module("torch_fidelity")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"expected the package torch-fidelity, got none ({error}); do pip install "
            "'cfgen[fid]', or leave inception out."
        ) from error
    # The extractor unpickles what it is given, so it is given what was read as plain weights.
    copy = io.BytesIO()
    torch.save(dict(state), copy)
    copy.seek(0)
    try:
        extractor = library.FeatureExtractorInceptionV3(
            "inception-v3-compat", [_LAYER], feature_extractor_weights_path=copy
        )
    except RuntimeError as error:
        raise ValueError(
            f"expected the weights of FID's Inception in {path}, got those of another network "
            f"({in_short(error)}); do name pt_inception-2015-12-05-{PUBLISHED}.pth, which "
            "pytorch-fid publishes (torchvision's Inception is another)"
        ) from error
    return Inception(extractor.eval().requires_grad_(False))
