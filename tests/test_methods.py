import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from cfgen.data.phantom import draw
from cfgen.edits import class_mean
from cfgen.methods import METHODS, OTHER, explain, make_goal, search, settings_of
from cfgen.models.bundle import Bundle
from cfgen.models.classifier import Classifier
from cfgen.objectives import other_score, target_score
from cfgen.spaces import Region
from cfgen.types import Goal, Outcome
from tests import references

FEW = {"latent": {"steps": 80}, "pixel": {"steps": 80}}


@pytest.fixture(scope="module")
def phantoms():
    return torch.stack([draw(seed, 64).image for seed in range(4)])


def run(bundle, factual, method, confidence=0.9, region=None):
    goal = make_goal(bundle.classifier, factual, confidence=confidence)
    chosen = settings_of(method, FEW.get(method))
    return goal, search(bundle, goal, factual, method, chosen, region or Region())


class Logits(nn.Module):
    """A network that gives back the logits written in the first pixels of each image."""

    def __init__(self, classes):
        super().__init__()
        self.classes = classes

    def forward(self, images):
        return 20 * (images[:, 0, 0, : self.classes] - 0.5)


def writing(classes, thresholds=None):
    """A classifier with `Logits` as its network."""
    names = list("ABCDEFGHIJKLMNOP")[:classes]
    classifier = Classifier(classes=names, widths=[1], mean=0.0, std=1.0, thresholds=thresholds)
    classifier.network = Logits(classes)
    return classifier


def written(logits):
    images = torch.zeros(len(logits), 1, 16, 16)
    images[:, 0, 0, : logits.shape[1]] = logits / 20 + 0.5
    return images


# Edits


def test_the_class_mean_edit_is_the_difference_of_two_means():
    means = torch.randn(3, 2, 4, 4)
    goal = Goal(None, torch.zeros(2), torch.tensor([0, 2]), torch.tensor([1, 1]))
    moved = class_mean(means)(torch.randn(2, 2, 4, 4), goal, None)
    torch.testing.assert_close(moved, torch.stack([means[1] - means[0], means[1] - means[2]]))


def test_without_a_target_it_heads_for_the_mean_of_the_others():
    means = torch.randn(3, 5)
    goal = Goal(None, torch.zeros(1), torch.tensor([1]))
    moved = class_mean(means)(torch.randn(1, 5), goal, None)
    torch.testing.assert_close(moved[0], (means[0] + means[2]) / 2 - means[1])


def test_the_class_mean_edit_needs_a_source():
    with pytest.raises(ValueError, match="source classes"):
        class_mean(torch.zeros(2, 5))(torch.zeros(1, 5), Goal(None, torch.zeros(1)), None)


# Goals


def test_the_target_is_the_class_not_predicted(tiny_bundle, phantoms):
    goal = make_goal(tiny_bundle.classifier, phantoms)
    assert torch.equal(goal.source, tiny_bundle.classifier.predict(phantoms))
    assert torch.equal(goal.target, 1 - goal.source)
    torch.testing.assert_close(goal.bar, torch.full((4,), math.log(9)))


def test_with_more_classes_the_target_is_the_runner_up():
    logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, -1.0], [-2.0, 1.0, 4.0]])
    goal = make_goal(writing(3), written(logits))
    assert goal.source.tolist() == [0, 1, 2]
    assert goal.target.tolist() == [2, 0, 1]
    expected = [
        references.class_log_odds(row, t) for row, t in zip(logits.numpy(), [2, 0, 1], strict=True)
    ]
    torch.testing.assert_close(goal.log_odds(written(logits)), torch.tensor(expected))


def test_a_named_target_is_every_images():
    logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, -1.0]])
    goal = make_goal(writing(3), written(logits), target="B")
    assert goal.target.tolist() == [1, 1]
    # What shows it already needs no search.
    assert (goal.log_odds(written(logits)) >= goal.bar).tolist() == [False, True]


def test_other_asks_for_any_class_but_the_predicted_one():
    logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, -1.0]])
    goal = make_goal(writing(3), written(logits), target=OTHER)
    assert goal.target is None
    p = logits.double().softmax(1)[[0, 1], [0, 1]]
    torch.testing.assert_close(goal.log_odds(written(logits)), ((1 - p) / p).log().float())


@given(
    st.lists(st.floats(0.02, 0.98), min_size=2, max_size=14),
    st.floats(0.05, 0.99),
    st.sampled_from(["A", None, OTHER]),
    st.integers(0, 10**6),
)
@settings(max_examples=40, deadline=None)
def test_whatever_reaches_its_goal_is_a_flip(thresholds, confidence, target, seed):
    classifier = writing(len(thresholds), thresholds)
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(1, len(thresholds), generator=generator)
    goal = make_goal(classifier, written(logits), target, confidence)
    # Anything may come of a search: among others, what is a hair beyond the bar.
    found = 4 * torch.randn(64, len(thresholds), generator=generator)
    rows = torch.zeros(64, dtype=torch.long)
    index, towards = (goal.source, False) if target == OTHER else (goal.target, True)
    odds = goal.take(rows).log_odds(written(found))
    found[:32, index] += ((goal.bar - odds[:32] + 1e-4) * (1 if towards else -1))[:, None]
    goals, images = goal.take(rows), written(found)
    reached = goals.log_odds(images) >= goals.bar
    decided = classifier.predict(images)
    assert reached.any()
    if target == OTHER:
        assert (decided[reached] != goal.source).all()
    else:
        assert (decided[reached] == goal.target).all()
    assert (goal.bar >= math.log(confidence / (1 - confidence)) - 1e-5).all()


@pytest.mark.parametrize("t", [0.05, 0.5, 0.97])
@pytest.mark.parametrize("target", ["A", "B", OTHER])
def test_for_two_classes_the_bar_is_the_threshold_where_that_asks_for_more(t, target):
    classifier = writing(2, [1 - t, t])
    goal = make_goal(classifier, written(torch.tensor([[9.0, -9.0], [-9.0, 9.0]])), target)
    for row, source in enumerate((0, 1)):
        wanted = 1 - source if target == OTHER else "AB".index(target)
        least = t if wanted == 1 else 1 - t
        expected = max(least, 0.9)
        assert goal.bar[row].sigmoid().item() == pytest.approx(expected, abs=2e-4)


def test_an_unknown_target_is_refused(tiny_bundle, phantoms):
    with pytest.raises(ValueError, match="a target among NORMAL, OPACITY or 'other', got 'normal'"):
        make_goal(tiny_bundle.classifier, phantoms, "normal")


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.1, 90.0, math.nan])
def test_a_confidence_is_a_probability(tiny_bundle, phantoms, confidence):
    with pytest.raises(ValueError, match="a confidence between 0 and 1"):
        make_goal(tiny_bundle.classifier, phantoms, confidence=confidence)


# Settings


@pytest.mark.parametrize(
    ("method", "overrides", "message"),
    [
        ("gradient", {}, "one of the methods pixel, latent, latent-shift, class-mean, got"),
        ("latent", {"stepsize": 0.1}, "settings of latent among .*step_size.*, got stepsize"),
        ("class-mean", {"weight": 0.1}, "settings of class-mean among .*growth.*, got weight"),
        ("pixel", {"distance": "l3"}, "distances l1, l2, squared-l2, elastic, got 'l3'"),
        ("latent-shift", {"decoding": "blurred"}, "residual or plain, got 'blurred'"),
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


# Methods


@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_reports_is_true_of_its_images(tiny_bundle, phantoms, method):
    before = phantoms.clone()
    goal, found = run(tiny_bundle, phantoms, method)
    assert torch.equal(phantoms, before)
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    assert not found.images.requires_grad
    torch.testing.assert_close(goal.log_odds(found.images), found.log_odds, atol=1e-4, rtol=0)
    assert (found.log_odds >= goal.log_odds(phantoms) - 1e-5).all()
    assert torch.equal(found.reached(), found.log_odds >= goal.bar)
    decided = tiny_bundle.classifier.predict(found.images)
    assert torch.equal(decided[found.reached()], goal.target[found.reached()])
    if method in FEW:
        assert found.reached().all()


@pytest.mark.parametrize("method", METHODS)
def test_each_image_gets_what_it_gets_alone(tiny_bundle, phantoms, method):
    _, together = run(tiny_bundle, phantoms, method)
    _, alone = run(tiny_bundle, phantoms[2:3], method)
    assert together.outcomes[2] == alone.outcomes[0]
    assert together.steps[2] == alone.steps[0]
    torch.testing.assert_close(together.images[2], alone.images[0], atol=1e-3, rtol=0)


@pytest.mark.parametrize("decoding", ["residual", "plain"])
@pytest.mark.parametrize("method", METHODS)
def test_costs_are_the_passes_that_were_made(tiny_bundle, phantoms, method, decoding, monkeypatch):
    goal = make_goal(tiny_bundle.classifier, phantoms[:1])
    passes = {"classifier": 0, "decoder": 0}

    def count(name, function):
        def counted(*arguments):
            passes[name] += 1
            return function(*arguments)

        return counted

    score = count("classifier", goal.score)
    autoencoder = tiny_bundle.autoencoder
    monkeypatch.setattr(autoencoder, "decode", count("decoder", autoencoder.decode))
    overrides = {"decoding": decoding, "steps": 6}
    found = search(
        tiny_bundle, Goal(score, goal.bar, goal.source, goal.target), phantoms[:1],
        method, settings_of(method, overrides),
    )  # fmt: skip
    assert found.evaluations.tolist() == [passes["classifier"]]
    assert found.decodes.tolist() == [passes["decoder"]]
    assert found.prior_passes.tolist() == [0]
    assert (passes["decoder"] == 0) == (method == "pixel")


@pytest.mark.parametrize("method", METHODS)
def test_no_method_changes_what_lies_outside_its_region(tiny_bundle, phantoms, method):
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 20:40, 20:40] = 1
    _, found = run(tiny_bundle, phantoms, method, 0.999, Region(mask, bound=0.2))
    change = (found.images - phantoms).abs()
    assert (change * (1 - mask)).max() == 0
    assert 0 < change.max() <= 0.2 + 1e-6


def test_pixel_is_the_loop_that_this_project_grew_from(tiny_bundle, phantoms):
    image = phantoms[:1]
    goal = make_goal(tiny_bundle.classifier, image)
    network = copy.deepcopy(tiny_bundle.classifier).double()
    visited, probabilities = references.origin_loop(network, image, goal.target.item())
    found = search(tiny_bundle, goal, image, "pixel")
    assert found.outcomes == [Outcome.REACHED]
    assert found.steps.item() == len(probabilities) - 1 > 3
    # The original returns the image after the one that it checked.
    torch.testing.assert_close(found.images, visited[-2].float(), atol=1e-3, rtol=0)


# The latent methods against themselves, written a second time, on toys

SIDE, CODE = 6, 5


class Toy(nn.Module):
    """An autoencoder whose decoder is one matrix, with or without a squashing after it."""

    def __init__(self, *, linear):
        super().__init__()
        random = np.random.default_rng(1)
        self.encoder = torch.tensor(random.normal(size=(SIDE**2, CODE)), dtype=torch.float32)
        self.decoder = torch.tensor(random.normal(size=(SIDE**2, CODE)), dtype=torch.float32) / 4
        self.class_means = torch.tensor(random.normal(size=(2, CODE)), dtype=torch.float32)
        self.linear = linear

    def encode(self, images):
        return images.flatten(1) @ self.encoder

    def decode(self, code):
        pixels = code @ self.decoder.T
        return (pixels if self.linear else pixels.sigmoid()).view(-1, 1, SIDE, SIDE)

    def in_numpy(self, code):
        pixels = self.decoder.double().numpy() @ code
        return pixels if self.linear else 1 / (1 + np.exp(-pixels))


class Line(nn.Module):
    """A classifier whose second logit is linear in the image."""

    def __init__(self):
        super().__init__()
        self.weights = torch.tensor(np.random.default_rng(2).normal(size=SIDE**2)).float()

    def forward(self, images):
        score = images.flatten(1) @ self.weights - 4
        return torch.stack([torch.zeros_like(score), score], 1)

    def in_numpy(self, image):
        return float(self.weights.double().numpy() @ image - 4)


def toys(tmp_path, *, linear):
    """A bundle of toys, three images, and the goal that they show the second class."""
    classifier = Classifier(classes=["A", "B"], widths=[1], mean=0.0, std=1.0)
    classifier.network = Line()
    bundle = Bundle(tmp_path, ("A", "B"), {"size": SIDE})
    vars(bundle).update(classifier=classifier, autoencoder=Toy(linear=linear))
    images = 0.2 + 0.6 * torch.rand(3, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(4))
    goal = make_goal(classifier, images, "B")
    assert (goal.log_odds(images) < 0).all()
    return bundle, images, goal


@pytest.mark.parametrize(("weight", "step_size"), [(0.1, 0.02), (1.0, 0.05), (0.0, 0.3)])
def test_latent_is_the_descent_written_out_by_hand(tmp_path, weight, step_size):
    bundle, images, goal = toys(tmp_path, linear=True)
    chosen = settings_of("latent", {"weight": weight, "step_size": step_size, "steps": 60})
    found = search(bundle, goal, images, "latent", chosen)
    line, toy = bundle.classifier.network, bundle.autoencoder
    assert found.reached().any()
    for row, image in enumerate(images):
        expected, step = references.latent_descent(
            image.double().numpy().ravel(), toy.decoder.double().numpy(),
            line.weights.double().numpy(), -4.0, math.log(9),
            weight=weight, step_size=step_size, steps=60,
        )  # fmt: skip
        assert found.steps[row] == step
        np.testing.assert_allclose(found.images[row].numpy().ravel(), expected, atol=1e-4)


@pytest.mark.parametrize("method", ["latent-shift", "class-mean"])
def test_a_line_search_finds_the_first_strength_that_a_fine_grid_finds(tmp_path, method):
    bundle, images, goal = toys(tmp_path, linear=False)
    found = search(bundle, goal, images, method, settings_of(method, {"steps": 60}))
    line, toy = bundle.classifier.network, bundle.autoencoder
    means = toy.class_means.double().numpy()
    reached = 0
    for row, image in enumerate(images):
        factual = image.double().numpy().ravel()
        code = toy.encoder.double().numpy().T @ factual
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
            got = found.images[row].double().numpy().ravel()
            slack = 0.002 + np.abs(farthest - nearest)
            assert (np.abs(got - nearest) <= slack).all()
            assert found.log_odds[row] >= math.log(9)
    assert reached


# One image


def test_an_image_is_explained_from_a_tensor_or_from_its_file(tiny_bundle, phantoms, tmp_path):
    pixels = (phantoms[0, 0] * 255).round().byte()
    Image.fromarray(pixels.numpy()).save(tmp_path / "film.png")
    from_file = explain(tmp_path / "film.png", tiny_bundle)
    from_tensor = explain(pixels[None] / 255, tiny_bundle.path)
    torch.testing.assert_close(from_file.factual, from_tensor.factual)
    torch.testing.assert_close(from_file.counterfactual, from_tensor.counterfactual)
    assert from_file.outcome == from_tensor.outcome == Outcome.REACHED


def test_an_explanation_says_what_the_classifier_makes_of_both(tiny_bundle, phantoms):
    found = explain(phantoms[1], tiny_bundle)
    before, after = tiny_bundle.classifier(torch.stack([phantoms[1], found.counterfactual]))
    torch.testing.assert_close(found.before, before.softmax(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.after, after.softmax(0), atol=1e-5, rtol=0)
    assert found.classes == ("NORMAL", "OPACITY")
    assert found.decided_before == found.classes[int(before.argmax())]
    assert found.decided_after == found.classes[1 - int(before.argmax())]
    assert found.after[found.classes.index(found.decided_after)] >= 0.9 - 1e-4


def test_a_target_that_is_shown_already_is_no_search(tiny_bundle, phantoms):
    predicted = tiny_bundle.classes[tiny_bundle.classifier.predict(phantoms[:1]).item()]
    sure = explain(explain(phantoms[0], tiny_bundle).counterfactual, tiny_bundle)
    again = explain(sure.counterfactual, tiny_bundle, target=predicted)
    assert again.outcome == Outcome.ALREADY
    assert torch.equal(again.counterfactual, sure.counterfactual)


def test_an_explanation_stays_inside_its_mask(tiny_bundle, phantoms):
    mask = torch.zeros(1, 64, 64)
    mask[:, 8:56, 8:56] = 1
    for method in METHODS:
        found = explain(phantoms[3], tiny_bundle, method=method, mask=mask)
        assert ((found.counterfactual - phantoms[3]) * (1 - mask)).abs().max() == 0


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"image": torch.zeros(1, 32, 32)}, r"the image as \(1, 64, 64\), got \(1, 32, 32\)"),
        ({"mask": torch.ones(1, 32, 32)}, r"the mask as \(1, 64, 64\), got \(1, 32, 32\)"),
        ({"method": "nonesuch"}, "one of the methods"),
        ({"target": "PNEUMONIA"}, "a target among NORMAL, OPACITY"),
        ({"bundle": "nonesuch"}, "a bundle"),
        ({"image": "nonesuch.png"}, "nonesuch"),
        ({"settings": {"lambda": 1.0}}, "settings of latent"),
    ],
)
def test_what_cannot_be_explained_is_refused(tiny_bundle, phantoms, given_, message):
    with pytest.raises(ValueError, match=message):
        explain(**{"image": phantoms[0], "bundle": tiny_bundle, **given_})


def test_the_scores_of_target_and_other_agree_for_two_classes(tiny_bundle, phantoms):
    source = tiny_bundle.classifier.predict(phantoms)
    bar = torch.zeros(4)
    towards = Goal(target_score(tiny_bundle.classifier), bar, source, 1 - source)
    away = Goal(other_score(tiny_bundle.classifier), bar, source)
    torch.testing.assert_close(towards.log_odds(phantoms), away.log_odds(phantoms))
