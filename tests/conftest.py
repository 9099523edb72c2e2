"""What the tests share: tiny models with real formats, and the real X-rays where there are any."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from cfgen.data.phantom import draw
from cfgen.models.autoencoder import Autoencoder
from cfgen.models.bundle import Bundle, load_bundle
from cfgen.models.classifier import Classifier
from cfgen.models.prior import Prior
from cfgen.models.segmenter import Segmenter
from tests.server import Server

CLASSES = ["NORMAL", "OPACITY"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, by name, what needs X-rays that are not there."""
    if os.environ.get("CFGEN_XRAYS"):
        return
    for item in items:
        if item.get_closest_marker("xrays"):
            item.add_marker(pytest.mark.skip(reason="set CFGEN_XRAYS to the folder of X-rays"))


@pytest.fixture(scope="session")
def xrays() -> Path:
    """Folder of real X-rays, split/CLASS/*.jpeg."""
    return Path(os.environ["CFGEN_XRAYS"])


@pytest.fixture(scope="session")
def tiny_bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of untrained tiny models for phantoms of 64 pixels, with some contrast in them."""
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    torch.manual_seed(0)
    for part in ("classifier", "judges/second"):
        classifier = Classifier(classes=CLASSES, size=64, widths=[8, 16])
        with torch.no_grad():
            classifier.network.head[-1].weight.mul_(20)
        classifier.save_pretrained(path / part)
    autoencoder = Autoencoder(size=64, classes=CLASSES, widths=[16, 32], latent_channels=4)
    means = torch.randn(2, *autoencoder.class_means.shape[1:])
    autoencoder.set_statistics(means, torch.tensor(0.5))
    autoencoder.save_pretrained(path / "autoencoder")
    prior = Prior(classes=CLASSES, channels=4, side=8, widths=[8, 16], layers=1)
    prior.save_pretrained(path / "prior")
    Segmenter(side=16, widths=[4, 8]).save_pretrained(path / "segmenter")
    preprocessing = {
        "size": 64, "aspect": "pad", "interpolation": "bilinear", "intensity": "full",
    }  # fmt: skip
    described = {"classes": CLASSES, "size": 64, "preprocessing": preprocessing}
    (path / "bundle.yaml").write_text(yaml.safe_dump(described))
    return path


@pytest.fixture
def tiny_bundle(tiny_bundle_path: Path) -> Bundle:
    """The tiny bundle, opened."""
    return load_bundle(tiny_bundle_path)


@pytest.fixture
def bundle(tiny_bundle: Bundle) -> Bundle:
    """The tiny bundle, its classifier sharpened so that searches are short."""
    tiny_bundle.classifier.calibrate(0.03, [0.5, 0.5])
    return tiny_bundle


@pytest.fixture(scope="session")
def phantoms() -> torch.Tensor:
    """Four phantoms of 64 pixels."""
    return torch.stack([draw(seed, 64).image for seed in range(4)])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Begins real processes of the `cfgen` command."""
    server = Server(tmp_path_factory.mktemp("logs"))
    yield server
    server.close()
