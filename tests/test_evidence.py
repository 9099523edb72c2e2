"""Evidence in closed form: linear scores, an autoencoder that changes nothing, a known prior."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from cfgen.edits import random_smooth
from cfgen.evidence import FEATURES, Evidence, Witnesses, gather, random_start
from cfgen.goals import make_goal
from cfgen.models.classifier import Classifier

SIZE = 16
CLASSES = ("NORMAL", "OPACITY")


class Score(nn.Module):
    """Logits (-s/2, s/2) of the linear score s = w.x + b."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, images):
        half = ((images * self.weight).sum((1, 2, 3)) + self.bias) / 2
        return torch.stack([-half, half], 1)


class Same:
    """An autoencoder whose code is the image."""

    def encode(self, images):
        return images.clone()

    def decode(self, code):
        return code.clone()


def linear(weight, bias=0.0, classes=CLASSES):
    classifier = Classifier(classes=list(classes), size=SIZE, widths=[1])
    classifier.network = Score(weight, bias)
    classifier._set(classes, mean=0.0, std=1.0, temperature=1.0, thresholds=None)
    return classifier.eval()


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def brightness():
    """Sees OPACITY where the mean is above 0.5."""
    return linear(torch.ones(1, SIZE, SIZE) * 40 / SIZE**2, -20.0)


@pytest.fixture
def dark():
    return torch.full((3, 1, SIZE, SIZE), 0.4) + 0.01 * random(3, 1, SIZE, SIZE)


SEEDS = torch.tensor([5, 6, 2**62])


def test_a_random_start_needs_the_rest_of_the_least_change_of_a_linear_score(dark):
    weight = random(1, SIZE, SIZE, seed=1)
    classifier = linear(weight)
    goal = make_goal(classifier, dark)
    sign = torch.where(goal.target == 1, 1.0, -1.0)[:, None, None, None]
    missing = goal.bar - goal.log_odds(dark)
    # The least L2 change: along the weights, (b - s) / |w| long.
    image = dark + sign * weight * (missing / weight.square().sum())[:, None, None, None]
    noise = random_smooth()(dark, goal, SEEDS).double().flatten(1).numpy()
    along = (sign * weight).double().flatten(1).numpy()
    cosine = (noise * along).sum(1) / np.linalg.norm(noise, axis=1) / np.linalg.norm(along, axis=1)
    found = random_start(goal, dark, image, Same(), SEEDS)
    np.testing.assert_allclose(found, 1 - cosine, rtol=1e-4)
    twice = random_start(goal, dark, dark + 2 * (image - dark), Same(), SEEDS)
    np.testing.assert_allclose(twice, 0.5 - cosine, atol=1e-4)
    assert random_start(goal, dark, dark, Same(), SEEDS).isnan().all()


def test_judges_gain_what_their_weights_say_of_the_change(brightness, dark):
    image = (dark + 0.15).clamp(0, 1)
    weights = [0.02, -0.01, 0.1]
    judges = {
        str(k): linear(torch.full((1, SIZE, SIZE), w), -w * 0.5 * SIZE**2)
        for k, w in enumerate(weights)
    }
    goal = make_goal(brightness, dark)
    found = gather(Witnesses(brightness, judges), goal, dark, image, SEEDS)
    gains = np.array([0.15 * SIZE**2 * w for w in weights])
    # The second judge sees OPACITY in what is dark, and so in the factuals already.
    assert found.flips.tolist() == [1, 1, 1]
    assert found.judges_asked.tolist() == [2, 2, 2]
    assert found.judges_follow.tolist() == [1, 1, 1]
    np.testing.assert_allclose(found.judges_gain_least, [gains[0]] * 3, rtol=1e-4)
    np.testing.assert_allclose(found.judges_gain_mean, [gains[[0, 2]].mean()] * 3, rtol=1e-4)


def test_a_judge_with_its_classes_in_another_order_says_the_same(brightness, dark):
    weight = torch.full((1, SIZE, SIZE), 0.05)
    same = linear(weight, -0.05 * 0.5 * SIZE**2)
    turned = linear(-weight, 0.05 * 0.5 * SIZE**2, classes=CLASSES[::-1])
    goal = make_goal(brightness, dark)
    found = [
        gather(Witnesses(brightness, {"judge": judge}), goal, dark, dark + 0.2, SEEDS)
        for judge in (same, turned)
    ]
    np.testing.assert_allclose(found[0].judges_gain_mean, found[1].judges_gain_mean, rtol=1e-5)
    assert found[0].judges_follow.tolist() == found[1].judges_follow.tolist() == [1, 1, 1]


def test_a_judge_of_other_classes_is_refused(brightness, dark):
    stranger = linear(torch.ones(1, SIZE, SIZE), classes=("CAT", "DOG"))
    goal = make_goal(brightness, dark)
    with pytest.raises(ValueError, match="expected the judge stranger to know the classes NORMAL"):
        gather(Witnesses(brightness, {"stranger": stranger}), goal, dark, dark, SEEDS)


def test_brightness_outlives_every_disturbance_and_a_checkerboard_none(brightness, dark):
    side = torch.arange(SIZE)
    board = ((side[:, None] + side) % 2 * 2.0 - 1)[None]
    tricked = linear(board * 5, -5.0)
    flat = torch.full_like(dark, 0.5)
    cases = ((brightness, dark, dark + 0.2, 1.0), (tricked, flat, flat + 0.005 * board, 0.0))
    for classifier, factual, image, kept in cases:
        goal = make_goal(classifier, factual)
        found = gather(Witnesses(classifier, {}, Same()), goal, factual, image, SEEDS)
        assert found.flips.tolist() == [1, 1, 1]
        assert found.survives_jpeg.tolist() == [kept] * 3
        assert found.survives_shift.tolist() == [kept] * 3
        assert found.survives_reencoding.tolist() == [1, 1, 1]


def test_the_share_outside_the_lungs_is_that_of_the_squared_change(brightness, dark):
    change = torch.zeros(1, SIZE, SIZE)
    change[:, :, : SIZE // 2], change[:, :, SIZE // 2 :] = 0.1, 0.2
    left = torch.zeros(3, 1, SIZE, SIZE, dtype=torch.bool)
    left[..., : SIZE // 2] = True
    witnesses = Witnesses(brightness, {}, lungs=lambda _: left)
    found = gather(witnesses, make_goal(brightness, dark), dark, dark + change, SEEDS)
    np.testing.assert_allclose(found.outside_lungs, [0.8] * 3, rtol=1e-4)


def test_the_prior_compares_codes_and_labels(brightness, dark):
    def denoising(codes, label):
        return codes.mean((1, 2, 3)) * torch.where(label == 1, 3.0, 1.0)

    goal = make_goal(brightness, dark)
    witnesses = Witnesses(brightness, {}, Same(), denoising=denoising)
    found = gather(witnesses, goal, dark, dark * 2, SEEDS)
    np.testing.assert_allclose(found.prior_error, [math.log(6)] * 3, rtol=1e-4)
    np.testing.assert_allclose(found.prior_preference, [-math.log(3)] * 3, rtol=1e-4)


def test_what_there_is_no_model_for_is_not_known(brightness, dark):
    goal = make_goal(brightness, dark)
    found = gather(Witnesses(brightness, {}), goal, dark, dark + 0.2, SEEDS)
    known = {"survives_jpeg", "survives_noise", "survives_shift", "high_frequency"}
    for name in FEATURES:
        assert getattr(found, name).isnan().all() == (name not in known), name
    assert found.judges_asked.tolist() == [0, 0, 0]
    any_other = make_goal(brightness, dark, "other")
    witnesses = Witnesses(brightness, {}, Same(), denoising=lambda codes, _: codes.mean((1, 2, 3)))
    found = gather(witnesses, any_other, dark, dark + 0.2, SEEDS)
    assert found.flips.tolist() == [1, 1, 1]
    assert found.prior_error.isnan().all()


def test_a_batch_says_what_each_of_its_images_says_alone(bundle, phantoms):
    goal = make_goal(bundle.classifier, phantoms)
    image = (phantoms + 0.05 * random(*phantoms.shape)).clamp(0, 1)
    seeds = torch.tensor([3, 1, 4, 15])
    witnesses = Witnesses(bundle.classifier, bundle.judges, bundle.autoencoder)
    together = gather(witnesses, goal, phantoms, image, seeds)
    for k in range(4):
        row = torch.tensor([k])
        alone = gather(witnesses, goal.take(row), phantoms[row], image[row], seeds[row])
        torch.testing.assert_close(
            torch.stack(Evidence(*(column[row] for column in together))),
            torch.stack(alone), atol=2e-3, rtol=2e-3, equal_nan=True,
        )  # fmt: skip
