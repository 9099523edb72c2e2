import math

import pytest
import torch
from torch import nn

from cfgen.objectives import DISTANCES, l2, squared_l2, target_score
from cfgen.search import descend, line_search, score_gradient
from cfgen.spaces import LatentSpace, PixelSpace, Region
from cfgen.types import Goal, Outcome
from tests import references

BAR = math.log(9)


class Identity:
    """An autoencoder that changes nothing."""

    def encode(self, images):
        return images

    def decode(self, code):
        return code


class Rotation:
    """An orthonormal change of basis: keeps every L2 distance."""

    def __init__(self, pixels: int) -> None:
        generator = torch.Generator().manual_seed(3)
        self.basis = torch.linalg.qr(torch.randn(pixels, pixels, generator=generator))[0]

    def encode(self, images):
        return images.flatten(1) @ self.basis

    def decode(self, code):
        side = math.isqrt(code.shape[1])
        return (code @ self.basis.T).view(-1, 1, side, side)


def linear_goal(n: int, side: int = 6, bar: float = 1.0):
    """A goal whose log-odds are linear in the image, and its weights."""
    weights = torch.randn(side, side, generator=torch.Generator().manual_seed(1))
    return Goal(lambda images, _: (images * weights).sum((1, 2, 3)), torch.full((n,), bar)), weights


def convolutional_goal(n: int, bar: float = BAR):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(16, 2)
    )
    with torch.no_grad():
        network[-1].weight.mul_(20)
    network.requires_grad_(False)
    target = torch.arange(n) % 2
    return Goal(target_score(network), torch.full((n,), bar), 1 - target, target), network


def films(n: int, side: int = 10, low: float = 0.0, high: float = 1.0):
    return low + (high - low) * torch.rand(
        n, 1, side, side, generator=torch.Generator().manual_seed(2)
    )


def test_pixel_descent_visits_the_images_of_the_original_loop():
    goal, network = convolutional_goal(1, bar=math.inf)
    image = films(1)
    for steps in (1, 7, 40):
        visited, probabilities = references.origin_loop(
            nn.Module.double(network), image, target=0, steps=steps, threshold=2.0
        )
        network.float()
        found = descend(goal, image, PixelSpace(), l2, weight=0.1, step_size=0.01, steps=steps - 1)
        # Without a reachable bar the image returned is the best one visited.
        best = int(torch.tensor(probabilities).argmax())
        assert found.steps.item() == best
        torch.testing.assert_close(found.images, visited[best].float(), atol=2e-5, rtol=0)


def test_what_is_returned_is_what_was_checked_where_the_original_loop_moves_on():
    goal, network = convolutional_goal(1)
    image = films(1)
    visited, probabilities = references.origin_loop(
        nn.Module.double(network), image, target=0, weight=0.1, step_size=0.05
    )
    network.float()
    found = descend(goal, image, PixelSpace(), l2, weight=0.1, step_size=0.05, steps=1000)
    assert found.outcomes == [Outcome.REACHED]
    assert goal.log_odds(found.images).item() == pytest.approx(found.log_odds.item(), abs=1e-5)
    assert found.log_odds.item() >= BAR
    torch.testing.assert_close(found.images, visited[-2].float(), atol=1e-4, rtol=0)
    assert found.steps.item() == len(probabilities) - 1


def test_least_change_of_a_linear_score_is_the_gap_over_the_norm_of_its_weights():
    goal, weights = linear_goal(4)
    factual = films(4, side=6, low=0.4, high=0.6)
    gap = goal.bar - goal.log_odds(factual)
    space = LatentSpace(Identity())
    encoded = space.encode(factual)
    direction = score_gradient(goal, factual, space, encoded)
    found = line_search(
        goal, factual, space, encoded, direction,
        first=1e-3, growth=1.3, steps=200, tolerance=1e-4,
    )  # fmt: skip
    moved = l2(factual, found.images)
    there = gap <= 0
    assert not there.all()
    expected = gap.clamp(min=0) / torch.linalg.vector_norm(weights)
    torch.testing.assert_close(moved[~there], expected[~there], rtol=2e-3, atol=1e-6)
    assert found.reached().all()


def test_descent_on_a_linear_score_lands_near_the_least_change():
    goal, weights = linear_goal(3, bar=3.0)
    factual = films(3, side=6, low=0.45, high=0.55)
    gap = goal.bar - goal.log_odds(factual)
    found = descend(goal, factual, PixelSpace(), squared_l2, weight=0.0, step_size=1e-3, steps=2000)
    least = gap / torch.linalg.vector_norm(weights)
    moved = l2(factual, found.images)
    assert (moved >= least - 1e-4).all()
    # Adam moves every pixel alike, so it cannot do better than the sign direction does.
    by_sign = gap / weights.abs().sum() * weights.numel() ** 0.5
    assert (moved <= 1.1 * by_sign).all()


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("distance", DISTANCES)
def test_a_latent_search_through_an_identity_autoencoder_is_the_pixel_search(residual, distance):
    goal, _ = convolutional_goal(4)
    factual = films(4, low=0.3, high=0.7)
    how = {"weight": 0.05, "step_size": 0.01, "steps": 60}
    pixel = descend(goal, factual, PixelSpace(), DISTANCES[distance], **how)
    space = LatentSpace(Identity(), residual=residual)
    latent = descend(goal, factual, space, DISTANCES[distance], **how)
    torch.testing.assert_close(latent.images, pixel.images, atol=1e-6, rtol=0)
    assert latent.outcomes == pixel.outcomes
    assert latent.steps.tolist() == pixel.steps.tolist()


def test_an_orthonormal_decoder_keeps_the_length_of_a_change():
    space = LatentSpace(Rotation(36))
    factual = films(3, side=6, low=0.4, high=0.6)
    codes, residual, _ = space.encode(factual)
    change = 0.05 * torch.randn(codes.shape, generator=torch.Generator().manual_seed(5))
    moved = l2(factual, space.decode(codes + change, residual))
    torch.testing.assert_close(moved, torch.linalg.vector_norm(change, dim=1), rtol=1e-4, atol=0)


def test_residual_decoding_gives_back_the_factual_and_plain_decoding_does_not():
    class Blur(Identity):
        def decode(self, code):
            return nn.functional.avg_pool2d(code, 3, 1, 1)

    factual = films(2)
    for residual, same in ((True, True), (False, False)):
        space = LatentSpace(Blur(), residual=residual)
        assert torch.allclose(space.decode(*space.encode(factual)[:2]), factual, atol=1e-6) == same


def test_each_image_of_a_batch_gets_what_it_gets_alone():
    goal, _ = convolutional_goal(6)
    factual = films(6)
    how = {"weight": 0.1, "step_size": 0.02, "steps": 50}
    together = descend(goal, factual, PixelSpace(), l2, **how)
    for row in range(6):
        alone = descend(
            goal.take(torch.tensor([row])), factual[row : row + 1], PixelSpace(), l2, **how
        )
        torch.testing.assert_close(together.images[row], alone.images[0], atol=1e-5, rtol=0)
        assert together.outcomes[row] == alone.outcomes[0]
        assert together.evaluations[row] == alone.evaluations[0]


def test_line_search_finds_the_least_strength_that_holds():
    goal, _ = convolutional_goal(2, bar=0.5)
    factual = films(2, low=0.3, high=0.7)
    space = PixelSpace()
    encoded = space.encode(factual)
    direction = score_gradient(goal, factual, space, encoded)
    found = line_search(
        goal, factual, space, encoded, direction, first=0.01, growth=1.2, steps=100, tolerance=0.001
    )
    for row in range(2):
        one = goal.take(torch.tensor([row]))

        def log_odds(strength, one=one, row=row):
            moved = (factual[row : row + 1] + strength * direction[row : row + 1]).clamp(0, 1)
            return one.log_odds(moved).item()

        expected = references.least_strength(log_odds, 0.5, upper=3.0)
        change = (found.images[row] - factual[row]).abs().max()
        unit = (factual[row] + expected * direction[row]).clamp(0, 1) - factual[row]
        assert change.item() == pytest.approx(unit.abs().max().item(), rel=0.01)


def test_outcomes_are_told_apart():
    scores = {"there": 2.0, "never": -5.0, "nan": math.nan}
    values = torch.tensor(list(scores.values()))

    def score(images, goal):
        return values[goal.target] + 0 * images.sum((1, 2, 3))

    goal = Goal(score, torch.ones(3), None, torch.arange(3))
    found = descend(goal, films(3), PixelSpace(), l2, weight=0.0, step_size=0.1, steps=3)
    assert found.outcomes == [Outcome.ALREADY, Outcome.SPENT, Outcome.DIVERGED]
    assert found.evaluations.tolist() == [1, 5, 2]
    assert torch.equal(found.images, films(3))
    assert found.reached().tolist() == [True, False, False]
    encoded = PixelSpace().encode(films(3))
    along = line_search(
        goal, films(3), PixelSpace(), encoded, films(3), first=0.1, growth=1.5, steps=3
    )
    assert along.outcomes == [Outcome.ALREADY, Outcome.SPENT, Outcome.DIVERGED]


def test_nothing_changes_outside_the_mask_or_beyond_the_bound():
    goal, _ = convolutional_goal(2, bar=math.inf)
    factual = films(2)
    mask = torch.zeros(1, 1, 10, 10)
    mask[..., :5] = 1
    found = descend(
        goal, factual, PixelSpace(), l2,
        weight=0.0, step_size=0.05, steps=20, region=Region(mask, bound=0.1),
    )  # fmt: skip
    change = (found.images - factual).abs()
    assert change[..., 5:].max() == 0
    assert 0.05 < change[..., :5].max() <= 0.1 + 1e-6


def test_images_stay_in_range():
    goal, _ = convolutional_goal(4, bar=math.inf)
    found = descend(goal, films(4), PixelSpace(), l2, weight=0.0, step_size=0.5, steps=10)
    assert found.images.min() >= 0
    assert found.images.max() <= 1
