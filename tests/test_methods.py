import copy
import math
import shutil
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from cfgen.goals import make_goal
from cfgen.methods import METHODS, search, settings_of
from cfgen.methods.settings import EditName
from cfgen.metrics import ssim
from cfgen.models.bundle import Bundle, load_bundle
from cfgen.models.classifier import Classifier
from cfgen.spaces import EVERYWHERE, Region
from cfgen.types import Goal, Outcome
from tests import references

DESCENTS = ("pixel", "latent")


def run(bundle, factual, method, confidence=0.9, region=EVERYWHERE, steps=None):
    goal = make_goal(bundle.classifier, factual, confidence=confidence)
    chosen = settings_of(method, {"steps": steps} if steps else {})
    return goal, search(bundle, goal, factual, method, chosen, region)


@pytest.mark.parametrize(
    ("method", "overrides", "message"),
    [
        ("gradient", {}, "latent, latent-boundary, latent-shift, class-mean, got"),
        ("latent", {"stepsize": 0.1}, "settings of latent among .*step_size.*, got stepsize"),
        ("class-mean", {"weight": 0.1}, "settings of class-mean among .*growth.*, got weight"),
        ("pixel", {"distance": "l3"}, "distances l1, l2, squared-l2, elastic, got 'l3'"),
        ("latent-shift", {"decoding": "blurred"}, r"residual or plain.*got 'blurred'"),
    ],
)
def test_wrong_settings_are_refused(method, overrides, message):
    with pytest.raises(ValueError, match=message):
        settings_of(method, overrides)


def test_settings_replace_those_of_the_method_and_leave_the_others():
    before = settings_of("latent")
    after = settings_of("latent", {"steps": 7, "decoding": "plain"})
    assert (after.steps, after.decoding) == (7, "plain")
    assert (after.weight, after.step_size) == (before.weight, before.step_size)
    assert settings_of("latent") == before


@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_reports_is_true_of_its_images(bundle, phantoms, method):
    before = phantoms.clone()
    goal, found = run(bundle, phantoms, method)
    assert torch.equal(phantoms, before)
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    assert not found.images.requires_grad
    torch.testing.assert_close(goal.log_odds(found.images), found.log_odds, atol=1e-4, rtol=0)
    assert (found.log_odds >= goal.log_odds(phantoms) - 1e-5).all()
    assert torch.equal(found.reached(), found.log_odds >= goal.bar)
    decided = bundle.classifier.predict(found.images)
    assert torch.equal(decided[found.reached()], goal.target[found.reached()])
    if method in DESCENTS:
        assert found.reached().all()


@pytest.mark.parametrize("method", METHODS)
def test_each_image_gets_what_it_gets_alone(bundle, phantoms, method):
    _, together = run(bundle, phantoms, method)
    _, alone = run(bundle, phantoms[2:3], method)
    assert together.outcomes[2] == alone.outcomes[0]
    assert together.steps[2] == alone.steps[0]
    torch.testing.assert_close(together.images[2], alone.images[0], atol=1e-3, rtol=0)


def passes_of(monkeypatch, prior):
    """The rows that a prior's network is asked for, as they come."""
    asked = []
    forward = prior.forward

    def counted(noisy, step, label):
        asked.append(len(noisy))
        return forward(noisy, step, label)

    monkeypatch.setattr(prior, "forward", counted)
    return asked


@pytest.mark.parametrize("decoding", ["residual", "plain"])
@pytest.mark.parametrize("method", METHODS)
def test_costs_are_the_passes_that_were_made(bundle, phantoms, method, decoding, monkeypatch):
    goal = make_goal(bundle.classifier, phantoms[:1])
    passes = {"classifier": 0, "decoder": 0}

    def count(name, function):
        def counted(*arguments):
            passes[name] += 1
            return function(*arguments)

        return counted

    score = count("classifier", goal.score)
    autoencoder = bundle.autoencoder
    monkeypatch.setattr(autoencoder, "decode", count("decoder", autoencoder.decode))
    asked = passes_of(monkeypatch, bundle.prior)
    overrides = {"decoding": decoding, "steps": 6}
    found = search(
        bundle, Goal(score, goal.bar, goal.source, goal.target), phantoms[:1],
        method, settings_of(method, overrides),
    )  # fmt: skip
    assert found.evaluations.tolist() == [passes["classifier"]]
    assert found.decodes.tolist() == [passes["decoder"]]
    assert found.prior_passes.tolist() == [sum(asked)]
    assert (sum(asked) > 0) == (method == "prior")
    assert (passes["decoder"] == 0) == (method == "pixel")


@pytest.mark.parametrize("method", METHODS)
def test_no_method_changes_what_lies_outside_its_region(bundle, phantoms, method):
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 20:40, 20:40] = 1
    _, found = run(bundle, phantoms, method, 0.999, Region(mask, bound=0.2), steps=20)
    change = (found.images - phantoms).abs()
    assert (change * (1 - mask)).max() == 0
    assert 0 < change.max() <= 0.2 + 1e-6


def test_pixel_is_the_loop_that_this_project_grew_from(bundle, phantoms):
    image = phantoms[:1]
    goal = make_goal(bundle.classifier, image)
    network = copy.deepcopy(bundle.classifier).double()
    visited, probabilities = references.origin_loop(
        network, image, goal.target.item(), step_size=0.001
    )
    found = search(bundle, goal, image, "pixel", settings_of("pixel", {"step_size": 0.001}))
    assert found.outcomes == [Outcome.REACHED]
    assert found.steps.item() == len(probabilities) - 1 > 3
    # The original returns the image after the one that it checked.
    torch.testing.assert_close(found.images, visited[-2].float(), atol=1e-3, rtol=0)


# The latent methods against themselves, written a second time, on toys in float64

SIDE, CODE = 6, 5


class Toy(nn.Module):
    """An autoencoder whose decoder is one matrix, with or without a squashing after it."""

    def __init__(self, *, linear):
        super().__init__()
        random = np.random.default_rng(1)
        self.encoder = torch.tensor(random.normal(size=(SIDE**2, CODE)))
        self.decoder = torch.tensor(random.normal(size=(SIDE**2, CODE))) / 4
        self.class_means = torch.tensor(random.normal(size=(2, CODE)))
        self.linear = linear

    def encode(self, images):
        return images.flatten(1) @ self.encoder

    def decode(self, code):
        pixels = code @ self.decoder.T
        return (pixels if self.linear else pixels.sigmoid()).view(-1, 1, SIDE, SIDE)

    def in_numpy(self, code):
        pixels = self.decoder.numpy() @ code
        return pixels if self.linear else 1 / (1 + np.exp(-pixels))


class Line(nn.Module):
    """A classifier whose second logit is linear in the image."""

    def __init__(self):
        super().__init__()
        self.weights = torch.tensor(np.random.default_rng(2).normal(size=SIDE**2))

    def forward(self, images):
        score = images.flatten(1) @ self.weights - 4
        return torch.stack([torch.zeros_like(score), score], 1)

    def in_numpy(self, image):
        return float(self.weights.numpy() @ image - 4)


def toys(tmp_path, *, linear):
    """A bundle of toys, three images, and the goal that they show the second class."""
    classifier = Classifier(classes=["A", "B"], widths=[1], mean=0.0, std=1.0)
    classifier.network = Line()
    bundle = Bundle(tmp_path, ("A", "B"), {"size": SIDE})
    vars(bundle).update(classifier=classifier, autoencoder=Toy(linear=linear))
    bundle.autoencoder.class_means[1] += bundle.autoencoder.decoder.T @ classifier.network.weights
    images = 0.2 + 0.6 * torch.tensor(np.random.default_rng(4).random((3, 1, SIDE, SIDE)))
    goal = make_goal(classifier, images, "B")
    assert (goal.log_odds(images) < 0).all()
    return bundle, images, goal


@pytest.mark.parametrize(("weight", "step_size"), [(0.1, 0.1), (2.0, 0.2), (0.0, 0.3)])
def test_latent_is_the_descent_written_out_by_hand(tmp_path, weight, step_size):
    bundle, images, goal = toys(tmp_path, linear=True)
    # Squared, since the gradient of L2 at no change at all is a matter of rounding.
    chosen = replace(
        settings_of("latent"),
        distance="squared-l2", weight=weight, step_size=step_size, steps=60,
    )  # fmt: skip
    found = search(bundle, goal, images, "latent", chosen)
    line, toy = bundle.classifier.network, bundle.autoencoder
    assert found.reached().any() or weight > 1
    for row, image in enumerate(images):
        expected, step = references.latent_descent(
            image.numpy().ravel(), toy.decoder.numpy(), line.weights.numpy(), -4.0, math.log(9),
            weight=weight, step_size=step_size, steps=60,
        )  # fmt: skip
        assert found.steps[row] == step
        np.testing.assert_allclose(found.images[row].numpy().ravel(), expected, atol=1e-6)


@pytest.mark.parametrize("method", ["latent-shift", "class-mean"])
def test_a_line_search_finds_the_first_strength_that_a_fine_grid_finds(tmp_path, method):
    bundle, images, goal = toys(tmp_path, linear=False)
    found = search(bundle, goal, images, method, settings_of(method, {"steps": 60}))
    line, toy = bundle.classifier.network, bundle.autoencoder
    means = toy.class_means.numpy()
    reached = 0
    for row, image in enumerate(images):
        factual = image.numpy().ravel()
        code = toy.encoder.numpy().T @ factual
        decode = references.along(factual, toy.in_numpy, code)

        def log_odds(move, decode=decode):
            return line.in_numpy(decode(move))

        direction = (
            references.shift_direction(log_odds, code)
            if method == "latent-shift"
            else means[1] - means[0]
        )
        strengths = np.linspace(0, 20, 20001)
        held = [s for s in strengths if log_odds(s * direction) >= math.log(9)]
        assert bool(held) == (found.outcomes[row] == Outcome.REACHED)
        if held:
            reached += 1
            # The search stops within five per cent of the least strength, and above it.
            nearest, farthest = decode(held[0] * direction), decode(1.06 * held[0] * direction)
            got = found.images[row].numpy().ravel()
            slack = 0.002 + np.abs(farthest - nearest)
            assert (np.abs(got - nearest) <= slack).all()
            assert found.log_odds[row] >= math.log(9)
    assert reached


# The methods that begin with an edit


@pytest.fixture
def bundle_without(tiny_bundle_path, tmp_path):
    """Makes a bundle like the sharpened one that lacks a part."""

    def without(part):
        ignored = shutil.ignore_patterns(part)
        bundle = load_bundle(shutil.copytree(tiny_bundle_path, tmp_path / "less", ignore=ignored))
        bundle.classifier.calibrate(0.03, [0.5, 0.5])
        return bundle

    return without


EDITS = get_args(EditName)
PRIORLESS = ("class-mean", "random")
SEEDS = torch.tensor([5, 6, 7, 8])


def guided(bundle, factual, seeds=SEEDS, region=EVERYWHERE, **overrides):
    """Search by the default method, few steps of it."""
    goal = make_goal(bundle.classifier, factual)
    chosen = settings_of("prior", {"steps": 3, **overrides})
    return search(bundle, goal, factual, "prior", chosen, region, seeds)


@pytest.mark.parametrize("edit", EDITS)
def test_passes_of_the_prior_are_counted_for_each_image(bundle, phantoms, edit, monkeypatch):
    asked = passes_of(monkeypatch, bundle.prior)
    found = guided(bundle, phantoms, edit=edit)
    assert found.prior_passes.tolist() == [sum(asked) / 4] * 4
    assert (sum(asked) == 0) == (edit in PRIORLESS)


@pytest.mark.parametrize("edit", EDITS)
def test_the_same_seeds_give_the_same_images(bundle, phantoms, edit):
    found, again, other = (guided(bundle, phantoms, seeds, edit=edit).images
                           for seeds in (SEEDS, SEEDS, SEEDS + 50))  # fmt: skip
    assert torch.equal(found, again)
    assert torch.equal(found, other) == (edit == "class-mean")
    row = torch.tensor([2])
    alone = guided(bundle, phantoms[row], SEEDS[row], edit=edit).images
    torch.testing.assert_close(alone, found[row], atol=1e-3, rtol=0)


def test_without_seeds_every_image_has_the_seed_zero(bundle, phantoms):
    zeros = torch.zeros(4, dtype=torch.long)
    found = guided(bundle, phantoms, None).images
    assert torch.equal(found, guided(bundle, phantoms, zeros).images)


@pytest.mark.parametrize("edit", EDITS)
def test_without_a_prior_only_what_needs_one_is_refused(bundle_without, phantoms, edit):
    bundle = bundle_without("prior")
    if edit in PRIORLESS:
        assert (guided(bundle, phantoms, edit=edit).images - phantoms).abs().max() > 0
        return
    with pytest.raises(ValueError, match=rf"saved Prior in {bundle.path}/prior, got no config"):
        guided(bundle, phantoms, edit=edit)


def test_without_steps_the_edit_keeps_its_budget_and_the_classifier_is_not_asked_where(
    bundle, phantoms
):
    found = guided(bundle, phantoms, steps=0, budget=0.9)
    searched = torch.tensor([outcome != Outcome.ALREADY for outcome in found.outcomes])
    assert searched.any()
    similar = ssim(phantoms, found.images)
    assert (similar >= 0.9 - 1e-4).all()
    assert (similar[searched] < 0.95).all()
    assert found.steps.tolist() == [0] * 4
    assert found.evaluations[searched].unique().tolist() == [2]


def test_a_search_starts_in_the_lungs_and_without_a_segmenter_everywhere(
    bundle, bundle_without, phantoms, monkeypatch
):
    left = torch.zeros(4, 1, 64, 64, dtype=torch.bool)
    left[..., :32] = True
    monkeypatch.setattr(bundle.segmenter, "lungs", lambda images: left[: len(images)])
    confined = guided(bundle, phantoms, steps=0, outside=0.0).images
    everywhere = guided(bundle_without("segmenter"), phantoms, steps=0, outside=0.0).images
    # Group norm carries a little of every change everywhere.
    for found, right in ((confined, False), (everywhere, True)):
        change = (found - phantoms).abs()
        assert change[..., :24].mean() > 1e-3
        assert (change[..., 56:].mean() > 0.3 * change[..., :24].mean()) == right


def test_the_search_cannot_start_above_the_strongest(bundle, phantoms):
    weak = guided(bundle, phantoms, steps=0, strongest=0.5, outside=2.0, budget=0.96).images
    assert (ssim(phantoms, weak) >= 0.96 - 1e-4).all()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"edit": "inversion"}, "delta-denoising or paired-residual or .*got 'inversion'"),
        ({"steps": -1}, "a whole number of 0 or more as the setting steps, got -1"),
        ({"steps": 2.5}, "a whole number of 0 or more as the setting steps, got 2.5"),
        ({"momentum": float("nan")}, "a number of 0 or more as the setting momentum, got nan"),
        ({"grid": 0}, "a grid of at least 1 .*got 0"),
    ],
)
def test_settings_of_the_edit_methods_are_checked(overrides, message):
    with pytest.raises(ValueError, match=message):
        settings_of("prior", overrides)


def test_settings_are_typed_as_they_are_declared():
    chosen = settings_of("prior", {"steps": 0.0, "weight": 1, "edit": "random"})
    assert (chosen.steps, chosen.weight, chosen.edit) == (0, 1.0, "random")
    assert (type(chosen.steps), type(chosen.weight)) == (int, float)
