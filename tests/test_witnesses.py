"""Who of a bundle is asked for evidence: whoever is there."""

import shutil

import pytest
import torch

from cfgen.evidence import FEATURES, gather
from cfgen.goals import make_goal
from cfgen.models.bundle import load_bundle
from cfgen.models.prior import Prior
from cfgen.models.segmenter import Segmenter
from cfgen.witnesses import witnesses_of


@pytest.fixture(scope="module")
def whole(tiny_bundle_path, tmp_path_factory):
    """The tiny bundle with an untrained prior and an untrained segmenter."""
    path = tmp_path_factory.mktemp("whole") / "bundle"
    shutil.copytree(tiny_bundle_path, path)
    channels, side = load_bundle(path).autoencoder.class_means.shape[1:3]
    torch.manual_seed(0)
    sizes = {"channels": channels, "side": side, "widths": [16, 16], "layers": 1}
    Prior(classes=["NORMAL", "OPACITY"], **sizes).save_pretrained(path / "prior")
    Segmenter(side=16, widths=[4, 8]).save_pretrained(path / "segmenter")
    return path


def test_a_whole_bundle_knows_all_the_evidence(whole, phantoms):
    bundle = load_bundle(whole)
    goal = make_goal(bundle.classifier, phantoms)
    image = (phantoms + 0.1 * torch.randn(phantoms.shape)).clamp(0, 1)
    seeds = torch.arange(4)
    found = gather(witnesses_of(bundle), goal, phantoms, image, seeds)
    for name in FEATURES:
        known = getattr(found, name).isfinite()
        able = found.judges_asked > 0 if name.startswith("judges") else torch.ones(4).bool()
        assert torch.equal(known, able), name
    row = torch.tensor([2])
    alone = gather(witnesses_of(bundle), goal.take(row), phantoms[row], image[row], seeds[row])
    for name in ("prior_error", "prior_preference", "outside_lungs"):
        torch.testing.assert_close(
            getattr(alone, name), getattr(found, name)[row], atol=1e-3, rtol=1e-3
        )


def test_a_bundle_of_a_classifier_alone_has_nobody_else_to_ask(tiny_bundle_path, tmp_path):
    for name in ("classifier", "bundle.yaml"):
        source = tiny_bundle_path / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    found = witnesses_of(load_bundle(tmp_path))
    assert found.judges == {}
    assert (found.autoencoder, found.lungs, found.denoising) == (None, None, None)
