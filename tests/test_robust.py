"""One step of FGSM against what theory says of linear models, and the fine-tuning on it."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from cfgen.models.classifier import Classifier
from train.recipe import Robust
from train.robust import attack, latent_fgsm, pixel_fgsm

SIDE = 8


def films(n=6, low=0.3, high=0.7):
    drawn = torch.rand(n, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    return low + (high - low) * drawn


def labels(n=6):
    return torch.arange(n) % 2


def wrap(network):
    classifier = Classifier(classes=["A", "B"], size=SIDE, widths=[1])
    classifier.network = network
    classifier._set(["A", "B"], mean=0.5, std=0.25, temperature=2.0, thresholds=None)
    return classifier


@pytest.fixture
def linear():
    torch.manual_seed(0)
    return wrap(nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 2))).eval()


class Orthogonal(nn.Module):
    """An autoencoder whose decoder is an orthogonal matrix, and a constant."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        basis = torch.linalg.qr(torch.randn(SIDE * SIDE, SIDE * SIDE)).Q
        self.basis = nn.Parameter(basis, requires_grad=False)

    def encode(self, images):
        return ((images - 0.1).flatten(1) @ self.basis).view(-1, 4, SIDE // 2, SIDE // 2)

    def decode(self, code):
        return (code.flatten(1) @ self.basis.T).view(-1, 1, SIDE, SIDE) + 0.1


def weight(classifier):
    """d (log-odds of B) / d pixels, in float64."""
    w = classifier.network[-1].weight.detach().double().numpy()
    return (w[1] - w[0]) / 0.25 / 2.0


def odds(classifier, images):
    logits = classifier(images).detach().double().numpy()
    return logits[:, 1] - logits[:, 0]


@pytest.mark.parametrize("epsilon", [0.001, 0.02, 0.1])
def test_a_linear_models_log_odds_fall_by_epsilon_times_the_l1_norm(linear, epsilon):
    moved = pixel_fgsm(linear, films(), labels(), epsilon)
    sign = np.where(labels().numpy() == 1, -1, 1)
    change = odds(linear, moved) - odds(linear, films())
    np.testing.assert_allclose(change, sign * epsilon * np.abs(weight(linear)).sum(), rtol=1e-3)
    step = (moved - films())[:, 0].flatten(1).numpy()
    expected = epsilon * sign[:, None] * np.sign(weight(linear))
    np.testing.assert_allclose(step, expected, atol=1e-6)


def test_no_change_of_that_size_raises_a_linear_models_loss_more(linear):
    epsilon = 0.05
    attacked = cross_entropy(linear(pixel_fgsm(linear, films(), labels(), epsilon)), labels())
    for seed in range(20):
        noise = torch.randint(
            0, 2, (6, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(seed)
        )
        other = films() + epsilon * (2.0 * noise - 1)
        assert cross_entropy(linear(other), labels()) < attacked


@pytest.mark.parametrize("epsilon", [0.001, 0.02])
def test_a_linear_code_is_attacked_along_its_own_signs(linear, epsilon):
    autoencoder = Orthogonal()
    moved = latent_fgsm(linear, autoencoder, films(), labels(), epsilon)
    in_code = weight(linear) @ autoencoder.basis.double().numpy()
    sign = np.where(labels().numpy() == 1, -1, 1)
    change = odds(linear, moved) - odds(linear, films())
    np.testing.assert_allclose(change, sign * epsilon * np.abs(in_code).sum(), rtol=2e-3)
    # An orthogonal decoder keeps the step's length.
    norms = (moved - films()).flatten(1).norm(dim=1).numpy()
    np.testing.assert_allclose(norms, epsilon * SIDE, rtol=1e-3)


def test_the_residual_leaves_what_the_autoencoder_cannot_show(linear):
    class Blind(Orthogonal):
        def encode(self, images):
            return torch.zeros(len(images), 4, SIDE // 2, SIDE // 2)

    torch.testing.assert_close(
        latent_fgsm(linear, Blind(), films(), labels(), 0.02),
        latent_fgsm(linear, Orthogonal(), films(), labels(), 0.02),
    )


def test_a_step_of_zero_and_the_ends_of_the_range(linear):
    for move in (
        lambda images, epsilon: pixel_fgsm(linear, images, labels(), epsilon),
        lambda images, epsilon: latent_fgsm(linear, Orthogonal(), images, labels(), epsilon),
    ):
        torch.testing.assert_close(move(films(), 0.0), films())
        far = move(films(6, 0.0, 1.0), 0.8)
        assert far.min() == 0
        assert far.max() == 1
        assert not far.requires_grad


@pytest.fixture
def normed():
    """A network that batch norm and dropout make another one in training mode."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(4 * (SIDE - 2) ** 2, 2),
    )  # fmt: skip
    return wrap(network)


def test_the_deployed_function_is_attacked_and_nothing_else_is_touched(normed):
    autoencoder = Orthogonal()
    expected = (
        pixel_fgsm(normed.eval(), films(), labels(), 0.02),
        latent_fgsm(normed, autoencoder, films(), labels(), 0.02),
    )
    before = {name: value.clone() for name, value in normed.state_dict().items()}
    normed.train()
    with torch.no_grad():  # as in validation
        got = (
            pixel_fgsm(normed, films(), labels(), 0.02),
            latent_fgsm(normed, autoencoder, films(), labels(), 0.02),
        )
    assert torch.equal(got[0], expected[0])
    assert torch.equal(got[1], expected[1])
    assert normed.training
    assert normed.network[1].training
    assert all(torch.equal(value, before[name]) for name, value in normed.state_dict().items())
    assert all(weights.grad is None for weights in normed.parameters())


def test_an_attack_does_not_depend_on_the_batch(normed):
    autoencoder = Orthogonal()
    for move in (
        lambda images, truth: pixel_fgsm(normed, images, truth, 0.02),
        lambda images, truth: latent_fgsm(normed, autoencoder, images, truth, 0.02),
    ):
        together = move(films(), labels())
        for row in range(6):
            alone = move(films()[row : row + 1], labels()[row : row + 1])[0]
            torch.testing.assert_close(alone, together[row], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("share", "moved"), [(2 / 3, 4), (0.0, 0), (1.0, 6), (0.5, 3)])
def test_a_share_of_a_batch_is_attacked_in_its_two_ways(linear, share, moved):
    autoencoder, how = Orthogonal(), Robust(pixel=0.01, latent=0.02, share=share)
    batch = attack(linear, autoencoder, films(), labels(), how)
    half = moved // 2
    pixel = pixel_fgsm(linear, films(), labels(), 0.01)
    latent = latent_fgsm(linear, autoencoder, films(), labels(), 0.02)
    assert batch.shape == films().shape
    torch.testing.assert_close(batch[:half], pixel[:half])
    torch.testing.assert_close(batch[half:moved], latent[half:moved])
    assert torch.equal(batch[moved:], films()[moved:])
