import pytest
import torch
from torch import nn
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.ops import SqueezeExcitation

from cfgen.models.networks import PneumoniaCNN, ResidualBlock, build_network


def parameters(network):
    return sum(values.numel() for values in network.parameters())


def without_weights(*arguments):
    """A network without memory for its weights: its structure is all that is asked for."""
    with torch.device("meta"):
        return build_network(*arguments)


def test_the_plain_network_has_exactly_its_layers():
    layers = [m for m in without_weights("pneumonia-cnn", 2, 224).modules() if not [*m.children()]]
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [type(layer).__name__ for layer in layers] == [
        *["Conv2d", "ReLU", "MaxPool2d"] * 3,
        *["Flatten", "Dropout", "Linear", "ReLU", "Dropout", "Linear"],
    ]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(1, 32), (32, 64), (64, 128)]
    assert {(c.kernel_size, c.stride, c.padding) for c in convolutions} == {
        ((3, 3), (1, 1), (1, 1))
    }
    assert {p.kernel_size for p in layers if isinstance(p, nn.MaxPool2d)} == {2}
    assert [d.p for d in layers if isinstance(d, nn.Dropout)] == [0.5, 0.5]
    dense = [(d.in_features, d.out_features) for d in layers if isinstance(d, nn.Linear)]
    assert dense == [(128 * 28 * 28, 512), (512, 2)]


def test_the_plain_network_has_as_many_parameters_as_its_formula_says():
    convolutions = sum(
        9 * fan_in * fan_out + fan_out for fan_in, fan_out in ((1, 32), (32, 64), (64, 128))
    )
    expected = convolutions + (128 * (224 // 8) ** 2 * 512 + 512) + (512 * 2 + 2)
    assert parameters(without_weights("pneumonia-cnn", 2, 224)) == expected == 51_474_434


def test_the_plain_network_computes_what_it_says():
    torch.manual_seed(0)
    network = PneumoniaCNN(classes=3, size=20).eval()
    images = torch.rand(2, 1, 20, 20)
    weights = list(network.parameters())
    hidden = images
    for kernel, bias in zip(weights[0:6:2], weights[1:6:2], strict=True):
        hidden = torch.conv2d(hidden, kernel, bias, padding=1).relu()
        side = hidden.shape[2] // 2
        cells = hidden[:, :, : 2 * side, : 2 * side].unfold(2, 2, 2).unfold(3, 2, 2)
        hidden = cells.amax((4, 5))
    hidden = (hidden.reshape(2, -1) @ weights[6].T + weights[7]).relu()
    torch.testing.assert_close(network(images), hidden @ weights[8].T + weights[9])


def test_the_compact_network_is_compact():
    assert 1_000_000 < parameters(without_weights("compact-resnet", 2, 128)) < 3_000_000


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("compact-mobilenet", InvertedResidual),
        ("compact-regnet", SqueezeExcitation),
    ],
)
def test_the_other_compact_networks_are_small_and_of_their_family(name, block):
    network = without_weights(name, 3, 128)
    assert 0.6e6 < parameters(network) < 1e6
    assert sum(isinstance(module, block) for module in network.modules()) >= 10
    assert network.eval()(torch.zeros(2, 1, 64, 64, device="meta")).shape == (2, 3)


@pytest.mark.parametrize("size", [32, 65, 128])
def test_the_compact_network_takes_images_of_any_size(size):
    network = build_network("compact-resnet", 4, size, [8, 16]).eval()
    assert network(torch.zeros(2, 1, size, size)).shape == (2, 4)


@pytest.mark.parametrize(("fan_out", "stride"), [(8, 1), (12, 1), (8, 2)])
def test_a_residual_block_adds_to_its_shortcut(fan_out, stride):
    block = ResidualBlock(8, fan_out, stride).eval()
    features = torch.randn(2, 8, 6, 6)
    nn.init.zeros_(block.convolutions[-1].weight)
    kept = features if isinstance(block.shortcut, nn.Identity) else block.shortcut(features)
    assert kept.shape == (2, fan_out, 6 // stride, 6 // stride)
    assert torch.equal(block(features), kept.relu())


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "densenet121",
        "shufflenet_v2_x1_0",
        "mobilenet_v3_small",
        "efficientnet_b0",
        "squeezenet1_1",
        "convnext_tiny",
        "vgg11_bn",
    ],
)
def test_a_torchvision_network_takes_grey_images(name):
    network = without_weights(name, 3, 224)
    first = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
    assert first.in_channels == 1
    assert network.eval()(torch.zeros(2, 1, 224, 224, device="meta")).shape == (2, 3)


def test_a_torchvision_network_keeps_the_rest_of_its_first_layer():
    first = without_weights("resnet18", 2, 224).conv1
    assert (first.kernel_size, first.stride, first.padding) == ((7, 7), (2, 2), (3, 3))
    assert first.bias is None


@pytest.mark.parametrize("name", ["resnet-18", "", "fcn_resnet50", "os:system"])
def test_an_unknown_architecture_is_refused_by_name(name):
    with pytest.raises(ValueError, match=rf"compact-resnet.*torchvision.*got '{name}'"):
        build_network(name, 2, 64)


def test_widths_are_for_the_compact_network_alone():
    with pytest.raises(ValueError, match=r"no widths for 'resnet18', got \[8, 16\]"):
        build_network("resnet18", 2, 64, [8, 16])
