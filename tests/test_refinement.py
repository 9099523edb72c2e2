"""Refinement, the space of an edit's strengths that it searches, and the scale of the edit."""

import numpy as np
import pytest
import torch
from scipy.optimize import bisect
from torch.nn.functional import avg_pool2d, interpolate

from cfgen.metrics import ssim
from cfgen.objectives import squared_l2
from cfgen.search import refine, strength_at_ssim
from cfgen.search.strength import CLOSE
from cfgen.spaces import EditSpace, Encoded, LatentSpace, PixelSpace, Region
from cfgen.types import Goal, Outcome
from tests import references

HOW = {"weight": 0.3, "step_size": 0.03, "momentum": 0.6, "steps": 8}
WEIGHTS = torch.randn(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def films(n=4, side=6):
    drawn = torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(2))
    return 0.1 + 0.8 * drawn.double()


def linear_goal(bars):
    return Goal(lambda images, _: (images * WEIGHTS).sum((1, 2, 3)), torch.tensor(bars).double())


def bars_of(gaps):
    """Bars by so much above the factuals' scores."""
    scores = (films(len(gaps)) * WEIGHTS).sum((1, 2, 3))
    return (scores + torch.tensor(gaps)).tolist()


@pytest.mark.parametrize("momentum", [0.0, 0.6])
@pytest.mark.parametrize(("weight", "step_size"), [(0.0, 0.03), (0.3, 0.03), (5.0, 0.2)])
def test_refining_is_the_momentum_descent_written_out_by_hand(weight, step_size, momentum):
    bars = bars_of([0.3, 1.0, 2.5, 1e3])
    how = {"weight": weight, "step_size": step_size, "momentum": momentum, "steps": 12}
    found = refine(linear_goal(bars), films(), PixelSpace(), squared_l2, **how)
    for row, bar in enumerate(bars):
        expected, step, scored = references.refinement(
            films()[row, 0].numpy(), WEIGHTS.numpy(), bar, **how
        )
        np.testing.assert_allclose(found.images[row, 0].numpy(), expected, atol=1e-9)
        assert found.steps[row] == step
        assert found.evaluations[row] == 1 + scored
        score = float((WEIGHTS.numpy() * expected).sum())
        assert found.log_odds[row].item() == pytest.approx(score)
        assert found.outcomes[row] == (Outcome.REACHED if score >= bar else Outcome.SPENT)
    assert found.outcomes[0] == Outcome.REACHED
    assert found.outcomes[3] == Outcome.SPENT


def test_the_first_step_is_as_long_as_it_is_set_however_small_the_gradient():
    sure = Goal(lambda images, _: 1e-3 * (images * WEIGHTS).sum((1, 2, 3)), torch.full((4,), 9.0))
    found = refine(
        sure, films(), PixelSpace(), squared_l2, weight=0.0, step_size=0.01, momentum=0.0, steps=1
    )
    moved = (found.images - films()).flatten(1).norm(dim=1)
    torch.testing.assert_close(moved, 0.01 * films().flatten(1).norm(dim=1))


class Shifted(PixelSpace):
    """Pixels whose start is not the factual."""

    decodes = 1

    def encode(self, images):
        return Encoded(0.5 * images, torch.zeros_like(images), decodes=2)


def test_without_steps_the_start_is_what_is_returned_whatever_its_outcome():
    start = 0.5 * films()
    scores = (start * WEIGHTS).sum((1, 2, 3))
    factual = (films() * WEIGHTS).sum((1, 2, 3))
    assert (scores < factual).any()
    bars = torch.maximum(scores, factual) + 1
    spent = refine(
        linear_goal(bars.tolist()), films(), Shifted(), squared_l2, **{**HOW, "steps": 0}
    )
    assert spent.outcomes == [Outcome.SPENT] * 4
    assert torch.equal(spent.images, start)
    torch.testing.assert_close(spent.log_odds, scores)
    assert spent.steps.tolist() == [0] * 4
    assert spent.evaluations.tolist() == [2] * 4
    assert spent.decodes.tolist() == [3] * 4


def test_a_start_that_reaches_its_goal_is_no_step():
    goal = Goal(lambda images, _: -images.mean((1, 2, 3)), -0.75 * films().mean((1, 2, 3)))
    found = refine(goal, films(), Shifted(), squared_l2, **HOW)
    assert found.outcomes == [Outcome.REACHED] * 4
    assert torch.equal(found.images, 0.5 * films())
    assert found.steps.tolist() == [0] * 4


def test_an_image_that_is_there_already_is_left_alone():
    goal = linear_goal(bars_of([-0.1, 1.0, -0.1, 1.0]))
    found = refine(goal, films(), Shifted(), squared_l2, **HOW)
    already = [outcome == Outcome.ALREADY for outcome in found.outcomes]
    assert already == [True, False, True, False]
    assert torch.equal(found.images[[0, 2]], films()[[0, 2]])
    assert found.evaluations[[0, 2]].tolist() == [1, 1]
    assert found.decodes[[0, 2]].tolist() == [2, 2]
    assert (found.evaluations[[1, 3]] > 2).all()


def test_what_diverges_leaves_the_others_alone_and_no_image_that_is_none():
    def score(images, goal):
        broken = torch.where(goal.target == 1, torch.nan, 0.0)
        changed = (images - films()[goal.target]).abs().amax((1, 2, 3)) > 0
        return (images * WEIGHTS).sum((1, 2, 3)) + torch.where(changed, broken, 0.0)

    bars = torch.tensor(bars_of([0.5, 0.5, 0.5]))
    goal = Goal(score, bars, None, torch.arange(3))
    found = refine(goal, films(3), Shifted(), squared_l2, **HOW)
    assert found.outcomes[1] == Outcome.DIVERGED
    assert found.log_odds.isfinite().all()
    assert torch.equal(found.images[1], films()[1])
    rows = torch.tensor([0, 2])
    healthy = Goal(score, bars[rows], None, rows)
    alone = refine(healthy, films()[rows], Shifted(), squared_l2, **HOW)
    torch.testing.assert_close(found.images[rows], alone.images)


def edit_space(n=4, grid=3, decode_residual=True):
    """Edits of 6 x 6 codes of 12 x 12 images."""

    class Halves:
        def encode(self, images):
            return avg_pool2d(images, 2).repeat(1, 2, 1, 1)

        def decode(self, code):
            return interpolate(code.mean(1, keepdim=True), scale_factor=2, mode="nearest")

    inner = LatentSpace(Halves(), residual=decode_residual)
    encoded = inner.encode(films(n, 12))
    drawn = torch.randn(n, 2, 6, 6, generator=torch.Generator().manual_seed(3)).double()
    start = 0.2 + 0.8 * torch.rand(n, 1, grid, grid, generator=torch.Generator().manual_seed(4))
    return EditSpace(inner, encoded, 0.1 * drawn, start.double(), strongest=1.5)


def test_strength_zero_is_the_factual_and_strength_one_the_edit():
    space = edit_space()
    encoded, ones = space.encoded, torch.ones_like(space.start)
    none = space.decode(0 * ones, encoded.residual)
    torch.testing.assert_close(none, films(4, 12))
    full = space.decode(ones, encoded.residual)
    expected = space.inner.decode(encoded.codes + space.edit, encoded.residual)
    torch.testing.assert_close(full, expected)
    assert (full - none).abs().max() > 0.05


def test_a_search_starts_at_the_start_and_strengths_are_clamped():
    space = edit_space()
    codes, residual, decodes = space.encode(films(4, 12))
    assert torch.equal(codes, space.start)
    assert torch.equal(residual, space.encoded.residual)
    assert (decodes, space.decodes) == (0, 1)
    given = torch.tensor([-1.0, 0.0, 0.7, 1.5, 9.0])
    assert space.project(given).tolist() == pytest.approx([0.0, 0.0, 0.7, 1.5, 1.5])


def test_a_coarse_grid_is_interpolated_linearly_and_alike_for_all_channels():
    space = edit_space(n=1, grid=3, decode_residual=False)
    field = torch.arange(9.0).double().view(1, 1, 3, 3) / 8
    found = space.decode(field, torch.zeros(1, 1, 12, 12).double())
    # Places of the 6 x 6 code in units of the grid's, clamped to the centres of its rim.
    place = np.clip((np.arange(6) + 0.5) / 2 - 0.5, 0, 2)
    strength = (3 * place[:, None] + place) / 8
    codes = space.encoded.codes[0].numpy() + strength * space.edit[0].numpy()
    expected = np.clip(codes.mean(0).repeat(2, 0).repeat(2, 1), 0, 1)
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-9)


def test_the_space_of_some_rows_is_that_of_their_edits():
    space, rows = edit_space(), torch.tensor([3, 1])
    taken = space.take(rows)
    codes, residual = space.encode(films(4, 12))[:2]
    assert torch.equal(taken.encode(films(4, 12)[rows]).codes, codes[rows])
    torch.testing.assert_close(
        taken.decode(codes[rows], residual[rows]), space.decode(codes, residual)[rows]
    )
    assert taken.project(torch.tensor([7.0])).item() == 1.5
    assert PixelSpace().take(rows).decodes == 0
    assert space.inner.take(rows) is space.inner


def test_a_batch_gets_what_each_of_its_edits_gets_alone():
    weights = torch.randn(12, 12, generator=torch.Generator().manual_seed(5)).double()

    def score(images, _):
        return (images * weights).sum((1, 2, 3))

    start = score(edit_space().decode(*edit_space().encode(films(4, 12))[:2]), None)
    factual = score(films(4, 12), None)
    bars = torch.maximum(start, factual) + torch.tensor([0.05, 0.3, 1e3, 0.1])
    together = refine(Goal(score, bars), films(4, 12), edit_space(), squared_l2, **HOW)
    assert together.outcomes[2] == Outcome.SPENT
    assert Outcome.REACHED in together.outcomes
    assert len(set(together.steps.tolist())) > 1
    for row in range(4):
        one = torch.tensor([row])
        alone = refine(
            Goal(score, bars[one]), films(4, 12)[one], edit_space().take(one), squared_l2, **HOW
        )
        torch.testing.assert_close(together.images[one], alone.images)
        for name in ("steps", "evaluations", "decodes"):
            assert getattr(together, name)[row] == getattr(alone, name)[0]
        assert together.outcomes[row] == alone.outcomes[0]


# Scaling to a similarity


@pytest.mark.parametrize("budget", [0.8, 0.96])
def test_an_edit_is_scaled_to_its_budget_from_above(budget):
    factual = films(4, 16)
    space = PixelSpace()
    encoded = space.encode(factual)
    edit = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(6)).double()
    strength, tries = strength_at_ssim(edit, factual, space, encoded, budget)
    similar = ssim(factual, space.project(factual + strength.view(-1, 1, 1, 1) * edit))
    assert (similar >= budget).all()
    assert (similar <= 1 - CLOSE * (1 - budget) + 1e-9).all()
    assert (tries <= 5).all()
    of_longer = strength_at_ssim(30 * edit, factual, space, encoded, budget).strength
    torch.testing.assert_close(30 * of_longer, strength)


def test_a_scaled_edit_is_as_strong_as_bisection_finds_it():
    factual = films(4, 16)
    encoded = PixelSpace().encode(factual)
    edit = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(6)).double()
    strength = strength_at_ssim(edit, factual, PixelSpace(), encoded, 0.9).strength
    for row in range(4):

        def excess(size, row=row):
            image = (factual[row] + size * edit[row]).clamp(0, 1)
            return float(ssim(factual[row][None], image[None])) - 0.9

        greatest = bisect(excess, 0, 1)
        assert 0.97 * greatest <= strength[row] <= greatest * (1 + 1e-9)


def test_an_image_is_scaled_alike_alone_and_among_others():
    factual = films(4, 16)
    edit = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(6)).double()
    edit *= torch.tensor([0.01, 1.0, 3.0, 0.0]).view(-1, 1, 1, 1)
    together = strength_at_ssim(edit, factual, PixelSpace(), PixelSpace().encode(factual), 0.9)
    for row in range(4):
        some = factual[row : row + 1]
        alone = strength_at_ssim(
            edit[row : row + 1], some, PixelSpace(), PixelSpace().encode(some), 0.9
        )
        torch.testing.assert_close(alone.strength[0], together.strength[row])
        assert alone.tries[0] == together.tries[row]


def test_an_edit_of_nothing_stays_nothing():
    factual = films(2, 16)
    edit = torch.zeros_like(factual)
    encoded = PixelSpace().encode(factual)
    strength = strength_at_ssim(edit, factual, PixelSpace(), encoded, 0.9).strength
    assert torch.equal(strength.view(-1, 1, 1, 1) * edit, edit)


def test_an_edit_that_is_never_seen_ends_at_the_longest_change():
    factual = films(2, 16)
    nowhere = Region(torch.zeros(1, 1, 16, 16).double())
    encoded = PixelSpace().encode(factual)
    strength = strength_at_ssim(
        torch.ones_like(factual), factual, PixelSpace(), encoded, 0.9, region=nowhere
    ).strength
    lengths = strength * 16 / factual.flatten(1).norm(dim=1)
    assert lengths.tolist() == pytest.approx([4.0] * 2, rel=2e-3)
