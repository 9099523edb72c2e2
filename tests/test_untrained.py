"""The classifier with random weights: settled on images, not degenerate, the same once saved."""

import numpy as np
import pytest
import torch
from torch import nn

from cfgen.data.phantom import draw
from cfgen.models.classifier import Classifier, load_classifier
from evaluation.study.untrained import untrained
from tests.conftest import CLASSES


@pytest.fixture(scope="module")
def images():
    return torch.stack([draw(seed, 32).image for seed in range(12)])


@pytest.fixture
def trained():
    """A classifier that is to be copied in all but what it learned."""
    torch.manual_seed(3)
    found = Classifier(classes=CLASSES, size=32, widths=[8, 16], mean=0.4, std=0.2)
    found.calibrate(0.05, [0.7, 0.3])
    return found.eval().requires_grad_(False)


def first_norm(classifier):
    return next(m for m in classifier.network.modules() if isinstance(m, nn.BatchNorm2d))


def test_its_batch_norms_have_the_statistics_of_what_reaches_them(trained, images):
    made = untrained(trained, images)
    norm, reached = first_norm(made), []
    handle = norm.register_forward_pre_hook(lambda _, inputs: reached.append(inputs[0]))
    made(images)
    handle.remove()
    values = reached[0].double().numpy()
    mean, variance = values.mean((0, 2, 3)), values.var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(norm.running_mean.numpy(), mean, atol=1e-5)
    np.testing.assert_allclose(norm.running_var.numpy(), variance, rtol=1e-3, atol=1e-6)
    assert norm.momentum == first_norm(trained).momentum
    assert not any(module.training for module in made.modules())
    assert not any(weight.requires_grad for weight in made.parameters())


def test_it_decides_for_every_class_whatever_the_trained_one_prefers(trained, images):
    assert trained.thresholds == (0.7, 0.3)
    for seed in range(5):
        made = untrained(trained, images, seed)
        assert made.thresholds == (0.5, 0.5)
        assert set(made.predict(images).tolist()) == {0, 1}


def test_it_leaves_the_trained_one_as_it_was(trained, images):
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    logits = trained(images)
    made = untrained(trained, images)
    for name, value in trained.state_dict().items():
        assert torch.equal(value, before[name])
    assert torch.equal(trained(images), logits)
    convolution = next(m for m in made.network.modules() if isinstance(m, nn.Conv2d))
    theirs = next(m for m in trained.network.modules() if isinstance(m, nn.Conv2d))
    correlation = np.corrcoef(convolution.weight.flatten(), theirs.weight.flatten())[0, 1]
    assert abs(correlation) < 0.6


def test_saved_and_loaded_it_says_the_same(trained, images, tmp_path):
    made = untrained(trained, images)
    made.save_pretrained(tmp_path / "untrained")
    loaded = load_classifier(tmp_path / "untrained")
    torch.testing.assert_close(loaded(images), made(images), atol=1e-5, rtol=1e-5)
    assert loaded.temperature == made.temperature != 1.0


def test_three_classes_are_centred_as_well(images):
    torch.manual_seed(3)
    three = Classifier(classes=("A", "B", "C"), size=32, widths=[8, 16])
    three.eval().requires_grad_(False)
    made = untrained(three, images)
    torch.testing.assert_close(made(images).mean(0), torch.zeros(3), atol=1e-4, rtol=0)


def test_a_network_without_a_last_bias_is_refused(trained, images, monkeypatch):
    last = [m for m in trained.network.modules() if isinstance(m, nn.Linear)][-1]
    bare = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, last.out_features, bias=False)
    )
    monkeypatch.setattr("cfgen.models.classifier.build_network", lambda *_: bare)
    with pytest.raises(ValueError, match="with a bias, got one without"):
        untrained(trained, images)
