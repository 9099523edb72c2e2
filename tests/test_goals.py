import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cfgen.goals import OTHER, make_goal
from cfgen.models.classifier import Classifier
from cfgen.objectives import other_score, target_score
from cfgen.types import Goal
from tests import references


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


def test_the_scores_of_target_and_other_agree_for_two_classes(tiny_bundle, phantoms):
    source = tiny_bundle.classifier.predict(phantoms)
    bar = torch.zeros(4)
    towards = Goal(target_score(tiny_bundle.classifier), bar, source, 1 - source)
    away = Goal(other_score(tiny_bundle.classifier), bar, source)
    torch.testing.assert_close(towards.log_odds(phantoms), away.log_odds(phantoms))
