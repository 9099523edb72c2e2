import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cfgen.data.preprocessing import Preprocessing
from cfgen.data.samples import Sample, Source
from cfgen.models.classifier import Classifier
from train.calibration import (
    calibrate,
    calibration_error,
    fit_temperature,
    fit_threshold,
    logits_of,
)
from train.data import ImageSet


def balanced_accuracy(probabilities, labels, threshold):
    decided = np.asarray(probabilities) >= threshold
    return (decided[labels == 1].mean() + (~decided[labels == 0]).mean()) / 2


class Dot(nn.Module):
    """Logits (0, s) with s read off the first pixel, too steep by a factor."""

    def forward(self, images):
        score = 40 * (images[:, 0, 0, 0] - 0.5)
        return torch.stack([torch.zeros_like(score), score], 1)


def dotted(n=600, classes=("A", "B")):
    """A classifier and images whose second class is as probable as sigmoid(s / 4 - 1)."""
    random = np.random.default_rng(0)
    score = random.uniform(-16, 16, n)
    labels = random.random(n) < 1 / (1 + np.exp(-(score / 4 - 1)))
    images = torch.zeros(n, 1, 4, 4)
    images[:, 0, 0, 0] = torch.tensor(score / 40 + 0.5)
    samples = [Sample(str(i), classes[int(label)], "val") for i, label in enumerate(labels)]
    source = Source("dots", classes, samples, lambda sample: images[int(sample.path)])
    classifier = Classifier(classes=list(classes), widths=[1], mean=0.0, std=1.0).eval()
    classifier.network = Dot()
    return classifier, ImageSet(source, samples, Preprocessing(size=4))


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.5, 12.0])
def test_a_known_temperature_is_found_again(temperature):
    generator = torch.Generator().manual_seed(0)
    calibrated = 2 * torch.randn(20_000, 3, generator=generator)
    labels = torch.multinomial(calibrated.softmax(1), 1, generator=generator).flatten()
    found = fit_temperature(calibrated * temperature, labels)
    assert found == pytest.approx(temperature, rel=0.05)


def test_no_temperature_of_a_grid_does_better():
    generator = torch.Generator().manual_seed(1)
    logits = 5 * torch.randn(300, 2, generator=generator)
    labels = torch.randint(2, (300,), generator=generator)
    found = fit_temperature(logits, labels)

    def loss(temperature):
        scaled = logits.double().numpy() / temperature
        of_true = scaled[np.arange(300), labels.numpy()]
        return float(np.mean(np.log(np.exp(scaled).sum(1)) - of_true))

    assert loss(found) <= min(loss(t) for t in np.geomspace(1 / 20, 20, 200)) + 1e-6


@given(
    st.lists(
        st.tuples(st.integers(1, 99), st.booleans()).map(lambda pair: (pair[0] / 100, pair[1])),
        min_size=3,
        max_size=30,
    ).filter(lambda rows: len({p for p, _ in rows}) > 1 and len({y for _, y in rows}) == 2)
)
@settings(deadline=None)
def test_no_threshold_between_two_scores_has_a_better_balanced_accuracy(rows):
    probabilities, labels = np.array(rows).T
    labels = labels.astype(int)
    threshold = fit_threshold(probabilities, labels)
    steps = np.unique(probabilities)
    tried = [balanced_accuracy(probabilities, labels, t) for t in (steps[1:] + steps[:-1]) / 2]
    got = balanced_accuracy(probabilities, labels, threshold)
    assert got == pytest.approx(max(tried))
    assert steps[0] < threshold <= steps[-1]


def test_a_threshold_lies_in_the_middle_of_its_gap_on_the_scale_of_log_odds():
    probabilities = np.array([0.1, 0.2, 0.9, 0.99])
    threshold = fit_threshold(probabilities, np.array([0, 0, 1, 1]))
    expected = (np.log(0.2 / 0.8) + np.log(0.9 / 0.1)) / 2
    assert np.log(threshold / (1 - threshold)) == pytest.approx(expected)


def test_between_two_equally_good_thresholds_lies_a_worse_one_that_is_not_taken():
    probabilities, labels = np.array([0.2, 0.4, 0.6, 0.8]), np.array([0, 1, 0, 1])
    threshold = fit_threshold(probabilities, labels)
    assert balanced_accuracy(probabilities, labels, 0.5) == 0.5
    assert balanced_accuracy(probabilities, labels, threshold) == 0.75


def test_one_class_alone_has_no_threshold():
    with pytest.raises(ValueError, match="images of both classes"):
        fit_threshold(np.array([0.2, 0.7]), np.array([1, 1]))


def test_a_collapsed_classifier_is_named():
    with pytest.raises(ValueError, match=r"got 0\.3 for every validation image"):
        fit_threshold(np.full(4, 0.3), np.array([0, 1, 0, 1]))


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_error_is_the_plain_loop(bins):
    generator = torch.Generator().manual_seed(2)
    probabilities = (3 * torch.randn(500, 3, generator=generator)).softmax(1)
    probabilities[0] = torch.tensor([1.0, 0.0, 0.0])
    labels = torch.randint(3, (500,), generator=generator)
    p, y = probabilities.double().numpy(), labels.numpy()
    error = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        top = p.max(1)
        inside = (top >= low) & ((top < high) | (number == bins - 1))
        if inside.any():
            right = (p.argmax(1) == y)[inside].mean()
            error += inside.mean() * abs(right - top[inside].mean())
    assert calibration_error(probabilities, labels, bins) == pytest.approx(error, abs=1e-5)


def test_a_perfect_and_a_surely_wrong_classifier_have_errors_of_zero_and_one():
    sure = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert calibration_error(sure, torch.tensor([0, 1])) == 0
    assert calibration_error(sure, torch.tensor([1, 0])) == 1


def test_logits_of_a_set_do_not_depend_on_how_it_is_cut():
    classifier, val = dotted(50)
    whole = logits_of(classifier, val)
    assert whole.shape == (50, 2)
    torch.testing.assert_close(logits_of(classifier, val, batch_size=7), whole)


def test_calibration_mends_confidence_and_threshold_and_keeps_the_order():
    classifier, val = dotted()
    labels = torch.tensor(val.labels)
    before = logits_of(classifier, val)
    calibrate(classifier, val)
    after = logits_of(classifier, val)
    torch.testing.assert_close(after * classifier.temperature, before)
    assert classifier.config.temperature == classifier.temperature > 2
    before_error, after_error = (
        calibration_error(logits.softmax(1), labels) for logits in (before, after)
    )
    assert after_error < before_error / 2
    second = classifier.thresholds[1]
    assert sum(classifier.thresholds) == pytest.approx(1)
    p, y = after.softmax(1)[:, 1].double().numpy(), labels.numpy()
    best = max(balanced_accuracy(p, y, t) for t in np.unique(p))
    assert balanced_accuracy(p, y, second) == pytest.approx(best, abs=0.01)
    decided = classifier.decide(after) == 1
    assert torch.equal(decided, torch.tensor(p >= second))


def test_calibrating_twice_changes_nothing():
    classifier, val = dotted()
    calibrate(classifier, val)
    once = (classifier.temperature, *classifier.thresholds)
    calibrate(classifier, val)
    assert (classifier.temperature, *classifier.thresholds) == pytest.approx(once, rel=1e-3)


def test_with_three_classes_the_most_probable_is_decided_for():
    classifier, val = dotted(60, ("A", "B", "C"))
    classifier.network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).requires_grad_(False)
    calibrate(classifier, val)
    assert classifier.thresholds == (1 / 3, 1 / 3, 1 / 3)
