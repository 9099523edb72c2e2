import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cfgen.objectives import (
    DISTANCES,
    class_log_odds,
    l2,
    other_score,
    prediction_loss,
    target_score,
)
from cfgen.types import Goal
from tests import references


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=5), st.data())
def test_log_odds_agree_with_the_softmax(logits, data):
    label = data.draw(st.integers(0, len(logits) - 1))
    ours = class_log_odds(torch.tensor([logits], dtype=torch.float64), torch.tensor([label]))
    probability = math.exp(-float(prediction_loss(ours)))
    softmax = np.exp(np.array(logits) - max(logits))
    assert probability == pytest.approx(softmax[label] / softmax.sum(), rel=1e-9)


def test_log_odds_agree_with_the_second_implementation():
    logits = np.random.default_rng(0).normal(size=(6, 3))
    ours = class_log_odds(torch.from_numpy(logits), torch.tensor([0, 1, 2, 0, 1, 2]))
    theirs = [references.class_log_odds(row, i % 3) for i, row in enumerate(logits)]
    assert ours.tolist() == pytest.approx(theirs, rel=1e-10)


def test_prediction_loss_is_finite_where_the_probability_underflows():
    loss = prediction_loss(torch.tensor([-500.0], requires_grad=True))
    assert loss.item() == pytest.approx(500)


@pytest.mark.parametrize("name", DISTANCES)
def test_distances_pass_gradcheck(name):
    generator = torch.Generator().manual_seed(0)
    pair = torch.rand(2, 2, 1, 3, 3, generator=generator, dtype=torch.float64)
    moved = pair[1].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda images: DISTANCES[name](pair[0], images), moved)


@pytest.mark.parametrize("name", DISTANCES)
def test_distances_vanish_only_at_the_factual_and_have_a_gradient_there(name):
    factual = torch.full((1, 1, 4, 4), 0.5)
    same = factual.clone().requires_grad_()
    distance = DISTANCES[name](factual, same)
    (gradient,) = torch.autograd.grad(distance.sum(), same)
    assert distance.item() == pytest.approx(0, abs=1e-7)
    assert gradient.isfinite().all()
    assert DISTANCES[name](factual, factual + 0.1).item() > 0


def test_distances_agree_with_numpy_and_do_not_mix_the_images_of_a_batch():
    pair = np.random.default_rng(1).random((2, 3, 1, 5, 5))
    change = (pair[1] - pair[0]).reshape(3, -1)
    expected = {
        "l1": np.abs(change).sum(1),
        "l2": np.sqrt((change**2).sum(1)),
        "squared-l2": (change**2).sum(1),
        "elastic": (np.sqrt(change**2 + 1e-4) - 0.01 + change**2).sum(1),
    }
    factual, images = torch.from_numpy(pair)
    for name, distance in DISTANCES.items():
        assert distance(factual, images).tolist() == pytest.approx(list(expected[name]))
        assert distance(factual[1:2], images[1:2]).item() == pytest.approx(expected[name][1])


def test_scores_read_the_classes_from_the_goal():
    logits = torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 3.0]])
    images, bar = torch.zeros(2, 1, 1, 1), torch.zeros(2)
    source, target = torch.tensor([0, 1]), torch.tensor([2, 0])
    towards = Goal(target_score(lambda _: logits), bar, source, target)
    away = Goal(other_score(lambda _: logits), bar, source, None)
    assert towards.log_odds(images).sigmoid().tolist() == pytest.approx([0.8438, 0.0453], abs=1e-4)
    assert away.log_odds(images).sigmoid().tolist() == pytest.approx([0.9580, 0.9547], abs=1e-4)


def test_l2_gradient_is_the_unit_vector_towards_the_change():
    factual = torch.zeros(1, 1, 2, 2)
    images = torch.tensor([[[[3.0, 0.0], [4.0, 0.0]]]], requires_grad=True)
    (gradient,) = torch.autograd.grad(l2(factual, images).sum(), images)
    assert gradient.flatten().tolist() == pytest.approx([0.6, 0, 0.8, 0])
