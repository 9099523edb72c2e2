import pytest
import torch
from torch import nn

from cfgen.models.classifier import Classifier
from train.losses import PatchDiscriminator, PerceptualDistance, discriminator_loss, fooling_loss


def films(n=2, seed=0):
    return torch.rand(n, 1, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    return Classifier(classes=["A", "B"], size=32, widths=[8, 16])


@pytest.fixture
def discriminator():
    torch.manual_seed(1)
    return PatchDiscriminator(width=8)


def gradients(loss, parameters):
    return torch.autograd.grad(loss, list(parameters), allow_unused=True)


# Perceptual distance


def test_equal_images_are_at_no_distance_and_others_at_some(classifier):
    distance = PerceptualDistance(classifier)
    assert distance(films(), films()) == 0
    assert distance(films(), films(seed=1)) > 0


def test_the_distance_is_that_of_features_of_unit_length(classifier):
    distance = PerceptualDistance(classifier)
    images, rebuilt = films(), films(seed=1)
    stem, *blocks = [
        m for m in classifier.network.features if [*m.children()] or isinstance(m, nn.Conv2d)
    ]
    # The last convolutions at 16 and at 8 pixels are the second ones of the second blocks.
    seen = []
    for batch in (images, rebuilt):
        hidden = classifier.network.features[:3]((batch - 0.5) / 0.25)
        outputs = []
        for place, block in enumerate(blocks):
            last = block.convolutions[:-1](hidden)
            hidden = block(hidden)
            if place % 2:
                length = last.square().sum(1, keepdim=True).sqrt()
                outputs.append(last / length)
        seen.append(outputs)
    assert stem.stride == (2, 2)
    assert [tuple(output.shape[2:]) for output in seen[0]] == [(16, 16), (8, 8)]
    terms = [((a - b) ** 2).sum(1).mean() for a, b in zip(*seen, strict=True)]
    torch.testing.assert_close(distance(images, rebuilt), sum(terms) / 2)


def test_gradients_reach_the_rebuilt_images_and_no_weight(classifier):
    distance = PerceptualDistance(classifier)
    images, rebuilt = films().requires_grad_(), films(seed=1).requires_grad_()
    of_images, of_rebuilt = gradients(distance(images, rebuilt), [images, rebuilt])
    assert of_images is None
    assert of_rebuilt.abs().sum() > 0
    assert not any(weights.requires_grad for weights in classifier.parameters())


def test_the_gradient_is_that_of_finite_differences(classifier):
    distance = PerceptualDistance(classifier.double())
    images = films(1)[..., :8, :8].double()
    rebuilt = films(1, seed=1)[..., :8, :8].double().requires_grad_()
    (gradient,) = torch.autograd.grad(distance(images, rebuilt), rebuilt)
    direction = torch.randn(rebuilt.shape, dtype=torch.float64)
    step = 1e-3 * direction
    with torch.no_grad():
        slope = (distance(images, rebuilt + step) - distance(images, rebuilt - step)) / 2e-3
    torch.testing.assert_close((gradient * direction).sum(), slope.double(), rtol=0.02, atol=1e-4)


def test_the_classifier_stays_in_evaluation_mode_and_keeps_no_hook(classifier):
    distance = PerceptualDistance(classifier)
    around = nn.ModuleList([distance]).train()
    before = [buffer.clone() for buffer in classifier.buffers()]
    distance(films(), films(seed=1))
    assert around.training
    assert not any(module.training for module in distance.modules())
    assert all(torch.equal(a, b) for a, b in zip(before, classifier.buffers(), strict=True))
    assert not any(module._forward_hooks for module in classifier.modules())


def test_hooks_are_removed_even_where_the_classifier_fails(classifier):
    classifier.network.head = nn.Linear(5, 2)
    with pytest.raises(RuntimeError):
        PerceptualDistance(classifier)(films(), films(seed=1))
    assert not any(module._forward_hooks for module in classifier.modules())


# Adversarial terms


def test_the_discriminator_judges_patches(discriminator):
    assert discriminator(films()).shape == (2, 1, 8, 8)


def test_both_losses_are_what_their_formulas_say(discriminator):
    real, fake = discriminator(films()), discriminator(films(seed=1))
    hinge = 0.5 * ((1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean())
    torch.testing.assert_close(discriminator_loss(discriminator, films(), films(seed=1)), hinge)
    torch.testing.assert_close(fooling_loss(discriminator, films(seed=1)), -fake.mean())


def test_the_discriminators_loss_teaches_the_discriminator_alone(discriminator):
    rebuilt = films(seed=1).requires_grad_()
    loss = discriminator_loss(discriminator, films(), rebuilt)
    of_rebuilt, *of_weights = gradients(loss, [rebuilt, *discriminator.parameters()])
    assert of_rebuilt is None
    assert all(gradient.abs().sum() > 0 for gradient in of_weights)


def test_fooling_teaches_whoever_rebuilt_alone(discriminator):
    rebuilt = films(seed=1).requires_grad_()
    loss = fooling_loss(discriminator, rebuilt)
    of_rebuilt, *of_weights = gradients(loss, [rebuilt, *discriminator.parameters()])
    assert of_rebuilt.abs().sum() > 0
    assert of_weights == [None] * len(of_weights)
    assert all(weights.requires_grad for weights in discriminator.parameters())


def test_one_backward_pass_gives_each_side_the_gradient_of_its_own_loss(discriminator):
    decoder = nn.Conv2d(1, 1, 3, padding=1)
    rebuilt = decoder(films())
    fooling = fooling_loss(discriminator, rebuilt)
    judging = discriminator_loss(discriminator, films(), rebuilt)
    sides = [*decoder.parameters(), *discriminator.parameters()]
    together = torch.autograd.grad(fooling + judging, sides, retain_graph=True)
    apart = [
        *torch.autograd.grad(fooling, list(decoder.parameters()), retain_graph=True),
        *torch.autograd.grad(judging, list(discriminator.parameters())),
    ]
    for got, expected in zip(together, apart, strict=True):
        torch.testing.assert_close(got, expected)
