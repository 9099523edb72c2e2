import numpy as np
import pytest
import torch

from cfgen.objectives import l2
from cfgen.search import approach
from cfgen.spaces import LatentSpace, PixelSpace, Region
from cfgen.types import Goal, Outcome
from tests import references

SIDE = 6
WEIGHTS = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(1)).double()
HOW = {"overshoot": 0.05, "steps": 12, "halvings": 3}


class Identity:
    """An autoencoder that changes nothing."""

    def encode(self, images):
        return images

    def decode(self, code):
        return code


def films(n, low=0.2, high=0.8):
    drawn = torch.rand(n, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    return low + (high - low) * drawn.double()


def linear(images, _=None):
    return (images * WEIGHTS).sum((1, 2, 3))


def curved(images, _=None):
    """Steep at first and flat further on, so that linearised steps fall short and go too far."""
    linearly = linear(images)
    return 3 * torch.tanh(linearly / 3) + 0.3 * torch.sin(4 * linearly)


def goal_of(score, factual, gaps):
    return Goal(score, score(factual) + torch.tensor(gaps).double())


def test_one_step_is_the_least_change_of_a_linear_score():
    factual, gaps = films(3, 0.4, 0.6), [0.1, 0.3, 0.5]
    goal = goal_of(linear, factual, gaps)
    found = approach(goal, factual, PixelSpace(), overshoot=1e-6, steps=1, halvings=0)
    least = torch.tensor(gaps).double() / torch.linalg.vector_norm(WEIGHTS)
    torch.testing.assert_close(l2(factual, found.images), least, rtol=1e-5, atol=0)
    assert found.outcomes == [Outcome.REACHED] * 3
    assert found.evaluations.tolist() == [3] * 3


@pytest.mark.parametrize("halvings", [0, 4])
def test_approaching_is_what_is_written_out_by_hand(halvings):
    factual, gaps = films(4), [0.1, 0.2, 0.3, 60.0]
    goal = goal_of(curved, factual, gaps)
    how = {**HOW, "halvings": halvings}
    found = approach(goal, factual, PixelSpace(), **how)
    for row in range(3):

        def score(flat):
            return float(curved(torch.from_numpy(flat).view(1, 1, SIDE, SIDE)))

        expected, scored = references.approach(
            factual[row].numpy().ravel(), score, float(goal.bar[row]), **how
        )
        np.testing.assert_allclose(found.images[row].numpy().ravel(), expected, atol=1e-5)
        assert found.evaluations[row] == scored + 1
    assert found.outcomes == [Outcome.REACHED] * 3 + [Outcome.SPENT]


def test_the_way_back_leaves_less_change_and_still_holds():
    factual = films(4)
    goal = goal_of(curved, factual, [0.1, 0.2, 0.3, 0.4])
    there, back = (
        approach(goal, factual, PixelSpace(), overshoot=0.5, steps=12, halvings=n) for n in (0, 8)
    )
    assert back.reached().all()
    assert (goal.log_odds(back.images) >= goal.bar).all()
    assert (l2(factual, back.images) <= l2(factual, there.images)).all()
    assert l2(factual, back.images).mean() < 0.95 * l2(factual, there.images).mean()


def test_an_identity_code_is_searched_like_pixels_where_nothing_is_clipped():
    factual = films(3, 0.45, 0.55)
    goal = goal_of(curved, factual, [0.1, 0.2, 0.3])
    pixels = approach(goal, factual, PixelSpace(), **HOW)
    codes = approach(goal, factual, LatentSpace(Identity()), **HOW)
    torch.testing.assert_close(pixels.images, codes.images)
    assert pixels.evaluations.equal(codes.evaluations)


def test_what_happens_to_an_image_does_not_depend_on_its_batch():
    factual = films(4)
    goal = goal_of(curved, factual, [-1.0, 0.1, 0.3, 60.0])
    together = approach(goal, factual, PixelSpace(), **HOW)
    for row in range(4):
        one = torch.tensor([row])
        alone = approach(goal.take(one), factual[one], PixelSpace(), **HOW)
        torch.testing.assert_close(alone.images[0], together.images[row])
        assert alone.outcomes[0] == together.outcomes[row]
        assert alone.evaluations[0] == together.evaluations[row]
    assert together.outcomes[0] == Outcome.ALREADY


def test_the_region_and_the_end_of_finite_scores_are_kept():
    factual = films(2)
    goal = goal_of(linear, factual, [0.3, 0.3])
    right = torch.zeros(1, 1, SIDE, SIDE).double()
    right[..., SIDE // 2 :] = 1
    found = approach(goal, factual, PixelSpace(), region=Region(right, 0.2), **HOW)
    change = found.images - factual
    assert change[..., : SIDE // 2].eq(0).all()
    assert change.abs().max() <= 0.2 + 1e-12
    assert found.reached().all()

    def breaks(images, _):
        return torch.where(linear(images) > linear(factual[:1]), torch.nan, linear(images))

    broken = Goal(breaks, linear(factual[:1]) + 1)
    assert approach(broken, factual[:1], PixelSpace(), **HOW).outcomes == [Outcome.DIVERGED]
