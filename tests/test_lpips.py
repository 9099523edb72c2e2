"""LPIPS by weights from a file, beside torchmetrics' own, which has the authors' code."""

from importlib import resources

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torchmetrics.functional.image.lpips import _LPIPS

from cfgen import metrics
from cfgen.models.alexnet import load_alexnet
from tests.published import alexnet_state

HEADS = resources.files("torchmetrics") / "functional/image/lpips_models/alex.pth"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save(alexnet_state(), path)
    return path


@pytest.fixture(scope="module")
def theirs(weights):
    """torchmetrics' LPIPS with the same weights, and the heads that it ships."""
    network = _LPIPS(net="alex", pnet_rand=True)
    own = {name.split(".", 1)[-1]: name for name in network.net.state_dict()}
    state = torch.load(weights, weights_only=True)
    network.net.load_state_dict({own[key]: state[f"features.{key}"] for key in own})
    return network


@pytest.fixture(scope="module")
def pair(phantoms):
    noise = torch.randn(phantoms.shape, generator=torch.Generator().manual_seed(1))
    return phantoms, (phantoms + 0.1 * noise).clamp(0, 1)


def ours(path, factual, image):
    network = load_alexnet(path)
    return metrics.lpips(network(factual), network(image), list(network.heads))


def test_it_agrees_with_torchmetrics(weights, theirs, pair):
    found = ours(weights, *pair)
    expected = theirs(*(images.repeat(1, 3, 1, 1) for images in pair), normalize=True).flatten()
    assert (expected > 0.01).all()
    assert found.numpy() == pytest.approx(expected.numpy(), rel=1e-4)


def test_it_agrees_with_its_formula(weights, pair):
    """In NumPy, place by place, from the features of the layers and the heads as they are."""
    network = load_alexnet(weights)
    expected = np.zeros(len(pair[0]))
    stored = torch.load(HEADS, weights_only=True, map_location="cpu")
    for place, both in enumerate(zip(*map(network, pair), strict=True)):
        head = stored[f"lin{place}.model.1.weight"].double().numpy().ravel()
        y, z = (features.double().numpy() for features in both)
        for i, row, column in np.ndindex(len(y), *y.shape[2:]):
            u, v = y[i, :, row, column], z[i, :, row, column]
            apart = u / max(np.linalg.norm(u), 1e-10) - v / max(np.linalg.norm(v), 1e-10)
            expected[i] += head @ apart**2 / y[0, 0].size
    assert ours(weights, *pair).numpy() == pytest.approx(expected, rel=1e-4)


def test_the_state_of_a_whole_lpips_is_read_with_its_own_heads(theirs, pair, tmp_path):
    before = {name: weight.clone() for name, weight in theirs.state_dict().items()}
    heads = {name: 2 * weight for name, weight in before.items() if name.startswith("lin")}
    found = []
    for name, state in {"as.pth": before, "doubled.pth": {**before, **heads}}.items():
        torch.save(state, tmp_path / name)
        found.append(ours(tmp_path / name, *pair))
    expected = theirs(*(images.repeat(1, 3, 1, 1) for images in pair), normalize=True).flatten()
    assert found[0].numpy() == pytest.approx(expected.numpy(), rel=1e-4)
    assert found[1].numpy() == pytest.approx(2 * found[0].numpy(), rel=1e-5)


def test_safetensors_and_the_keys_of_a_parallel_network_will_do(weights, pair, tmp_path):
    state = {f"module.{name}": weight.contiguous() for name, weight in alexnet_state().items()}
    save_file(state, tmp_path / "alexnet.safetensors")
    same = ours(tmp_path / "alexnet.safetensors", *pair)
    assert torch.equal(same, ours(weights, *pair))


def test_images_alike_are_at_0_and_noise_is_further_the_more_there_is(weights, pair):
    factual, image = pair
    half = factual + (image - factual) / 4
    assert ours(weights, factual, factual).abs().max() == 0
    assert (ours(weights, factual, half) < ours(weights, factual, image)).all()
    assert torch.allclose(ours(weights, factual, image), ours(weights, image, factual))
    alone = torch.cat([ours(weights, factual[[i]], image[[i]]) for i in range(len(factual))])
    assert alone.numpy() == pytest.approx(ours(weights, factual, image).numpy(), rel=1e-5)


def test_another_file_is_refused_by_name(weights, tmp_path):
    other = tmp_path / "vgg.pth"
    with torch.device("meta"):
        network = torchvision.models.vgg11(weights=None).features
    state = network.to_empty(device="cpu").state_dict()
    torch.save({f"features.{name}": weight for name, weight in state.items()}, other)
    for path in (other, HEADS):
        with pytest.raises(ValueError, match=rf"AlexNet in {path}, .*; do name alexnet-owt-7be5b"):
            load_alexnet(path)
    with pytest.raises(ValueError, match=r"file of weights in .*none\.pth, got none"):
        load_alexnet(tmp_path / "none.pth")
    (tmp_path / "page.pth").write_text("<html>404</html>")
    with pytest.raises(ValueError, match=r"state dict in .*page\.pth"):
        load_alexnet(tmp_path / "page.pth")


def test_small_images_and_other_layers_are_refused(weights):
    network = load_alexnet(weights)
    assert [one.shape[1] for one in network(torch.zeros(1, 1, 31, 31))] == [64, 192, 384, 256, 256]
    with pytest.raises(ValueError, match="at least 31 pixels a side for LPIPS, got 30"):
        network(torch.zeros(1, 1, 30, 64))
    with pytest.raises(ValueError, match="as many heads as layers, got 1, 1 and 2"):
        metrics.lpips(*[[torch.zeros(1, 2, 1, 1)]] * 2, [torch.ones(2)] * 2)
