"""FID by weights from a file, beside torch-fidelity's extractor and torchmetrics' distance."""

import sys

import pytest
import torch

from cfgen import metrics
from cfgen.models.inception import load_inception
from tests.published import alexnet_state, inception_state

fidelity = pytest.importorskip("torch_fidelity", reason="pip install 'cfgen[fid]'")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(inception_state(), path)
    yield path
    path.unlink()


def in_colours(images):
    return (images * 255).round().byte().repeat(1, 3, 1, 1)


def test_features_are_those_of_torch_fidelity(weights, phantoms):
    network = load_inception(weights)
    theirs = fidelity.FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=weights
    ).eval()
    found = network(phantoms)
    assert found.std(0).mean() > 0.01
    assert torch.equal(found, theirs(in_colours(phantoms))[0])
    many = network(torch.cat([phantoms] * 5))
    assert many.numpy() == pytest.approx(found.repeat(5, 1).numpy(), rel=1e-4, abs=1e-4)


def test_the_frechet_distance_in_them_is_torchmetrics_fid(weights, phantoms):
    from torchmetrics.image.fid import FrechetInceptionDistance

    theirs = FrechetInceptionDistance(
        feature=2048, feature_extractor_weights_path=str(weights), antialias=False
    ).set_dtype(torch.float64)
    noise = torch.rand(phantoms.shape, generator=torch.Generator().manual_seed(1))
    changed = (phantoms + 0.2 * noise).clamp(0, 1)
    theirs.update(in_colours(phantoms), real=True)
    theirs.update(in_colours(changed), real=False)
    network = load_inception(weights)
    found = metrics.frechet_distance(network(changed), network(phantoms))
    assert found == pytest.approx(float(theirs.compute()), rel=1e-3)


def test_another_file_is_refused_by_name(tmp_path):
    torch.save(alexnet_state(), tmp_path / "alexnet.pth")
    with pytest.raises(ValueError, match=r"Inception in .*alexnet\.pth, .*; do name pt_inception"):
        load_inception(tmp_path / "alexnet.pth")
    with pytest.raises(ValueError, match=r"file of weights in .*none\.pth, got none"):
        load_inception(tmp_path / "none.pth")


def test_no_code_of_a_file_is_run(tmp_path):
    class Code:
        def __reduce__(self):
            return print, ("run",)

    torch.save({"fc.weight": Code()}, tmp_path / "code.pth")
    with pytest.raises(ValueError, match="without running code from it"):
        load_inception(tmp_path / "code.pth")


def test_without_torch_fidelity_it_says_what_to_do(tmp_path, monkeypatch):
    torch.save(alexnet_state(), tmp_path / "any.pth")
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(ValueError, match=r"pip install 'cfgen\[fid\]'"):
        load_inception(tmp_path / "any.pth")
