"""The edits against a distribution whose optimal denoiser is known: one Gaussian a class."""

import numpy as np
import pytest
import torch

from cfgen.edits import (
    Ascent,
    Denoiser,
    Denoising,
    class_mean,
    contrast,
    delta_denoising,
    noise_like,
    opposite,
    paired_residual,
    random_smooth,
)
from cfgen.types import Goal

SPREAD = 0.7
SHAPE = (2, 4, 4)


class Gaussians:
    """The optimal denoiser of codes from N(m_class, SPREAD^2 I); with no class, of m = 0."""

    steps = 1000

    def __init__(self):
        generator = torch.Generator().manual_seed(5)
        means = torch.randn(3, *SHAPE, generator=generator, dtype=torch.float64)
        self.means = torch.cat([means, torch.zeros_like(means[:1])])
        self.asked = 0

    @property
    def no_class(self):
        return 3

    def levels(self, step):
        angle = (step.double() + 1)[:, None, None, None] / (self.steps + 1) * torch.pi / 2
        return angle.cos(), angle.sin()

    def noised(self, code, noise, step):
        signal, level = self.levels(step)
        return signal * code + level * noise

    def denoise(self, noisy, step, label):
        self.asked += len(noisy)
        signal, level = self.levels(step)
        mean = self.means[label]
        gain = signal * SPREAD**2 / (signal.square() * SPREAD**2 + level.square())
        return mean + gain * (noisy - signal * mean)

    def renoise(self, noisy, clean, step, to):
        signal, level = self.levels(step)
        noise = (noisy - signal * clean) / level
        return self.noised(clean, noise, to)


def pull(share):
    """Of m_target - m_source, what the two estimates at a noise level differ by."""
    angle = (round(share * 1000) + 1) / 1001 * np.pi / 2
    signal, level = np.cos(angle), np.sin(angle)
    return level**2 / (signal**2 * SPREAD**2 + level**2)


def example(n=3):
    """Codes, their goal and seeds."""
    codes = torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(6)).double()
    source = torch.arange(n) % 2
    return codes, Goal(None, torch.zeros(n), source, torch.full((n,), 2)), 10 + torch.arange(n)


def towards(prior, goal):
    return prior.means[goal.target] - prior.means[goal.source]


def edits(prior):
    """Every edit that asks a prior or draws, by name."""
    return {
        "paired-residual": paired_residual(prior, Denoising(steps=4, draws=2)),
        "delta-denoising": delta_denoising(prior, Ascent(steps=3)),
        "random": random_smooth(2),
    }


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_contrast_of_gaussians_is_the_difference_of_their_means_by_a_known_factor(share):
    prior, (codes, goal, seeds) = Gaussians(), example()
    assert isinstance(prior, Denoiser)
    found = contrast(prior, codes, goal, noise_like(codes, seeds), torch.tensor([share]))
    torch.testing.assert_close(found, pull(share) * towards(prior, goal))


def test_the_contrast_is_the_mean_over_its_draws():
    prior, (codes, goal, seeds) = Gaussians(), example()
    spots = torch.tensor([0.2, 0.3, 0.8])
    found = contrast(prior, codes, goal, noise_like(codes, seeds, 3), spots)
    factor = np.mean([pull(share) for share in (0.2, 0.3, 0.8)])
    torch.testing.assert_close(found, factor * towards(prior, goal))


def test_the_ascent_adds_up_the_contrasts_of_all_its_noise_levels():
    prior, (codes, goal, seeds) = Gaussians(), example()
    how = Ascent(steps=5, draws=3, rate=0.3, lowest=0.2, highest=0.8)
    found = delta_denoising(prior, how)(codes, goal, seeds)
    # For Gaussians the contrast is the same everywhere, so that the way there does not matter.
    factor = 0.3 * np.mean([pull(share) for share in np.linspace(0.2, 0.8, 15)]) * 5
    torch.testing.assert_close(found, factor * towards(prior, goal))


def test_the_ascent_leaves_the_codes_that_it_is_given():
    prior, (codes, goal, seeds) = Gaussians(), example()
    before = codes.clone()
    delta_denoising(prior, Ascent())(codes, goal, seeds)
    assert torch.equal(codes, before)


@pytest.mark.parametrize("how", [Denoising(guidance=1.0), Denoising(0.4, 3, 1.0, 1)])
def test_denoised_as_each_class_codes_part_along_the_difference_of_the_means(how):
    prior, (codes, goal, seeds) = Gaussians(), example()
    found = paired_residual(prior, how)(codes, goal, seeds)
    along = towards(prior, goal)
    factor = (found * along).sum((1, 2, 3)) / along.square().sum((1, 2, 3))
    assert ((factor > 0) & (factor < 1)).all()
    torch.testing.assert_close(found, factor[:, None, None, None] * along)


def test_denoising_in_many_steps_ends_where_the_flow_of_the_gaussian_does():
    prior, (codes, goal, seeds) = Gaussians(), example()
    found = paired_residual(prior, Denoising(0.6, 600, 1.0, 1))(codes, goal, seeds)
    # Along the flow (x_t - a m) / sqrt(a^2 spread^2 + s^2) stays the same; the ends are at step 0.
    signal, level = (one.item() for one in prior.levels(torch.tensor([600])))
    scale = SPREAD / np.hypot(signal * SPREAD, level)
    torch.testing.assert_close(
        found, (1 - signal * scale) * towards(prior, goal), rtol=0.01, atol=0.005
    )


def test_guidance_multiplies_what_the_class_adds():
    prior, (codes, goal, seeds) = Gaussians(), example()
    # One step only, of which the estimate as no class cancels in the difference.
    plain, guided = (
        paired_residual(prior, Denoising(0.5, 1, guidance, 1))(codes, goal, seeds)
        for guidance in (1.0, 3.0)
    )
    torch.testing.assert_close(plain, pull(0.5) * towards(prior, goal))
    torch.testing.assert_close(guided, 3 * plain)


@pytest.mark.parametrize("name", ["paired-residual", "delta-denoising"])
def test_without_a_target_an_edit_heads_for_no_class_in_particular(name):
    prior, (codes, goal, seeds) = Gaussians(), example()
    anywhere = Goal(None, goal.bar, goal.source, None)
    away = Goal(None, goal.bar, goal.source, torch.full_like(goal.source, prior.no_class))
    found = edits(prior)[name](codes, anywhere, seeds)
    torch.testing.assert_close(found, edits(prior)[name](codes, away, seeds))
    assert (found * -prior.means[goal.source]).sum((1, 2, 3)).gt(0).all()


@pytest.mark.parametrize("how", [Denoising(steps=4, draws=2), Ascent(steps=3)])
def test_passes_are_those_of_the_prior_for_each_image(how):
    prior, (codes, goal, seeds) = Gaussians(), example()
    make = paired_residual if isinstance(how, Denoising) else delta_denoising
    make(prior, how)(codes, goal, seeds)
    assert prior.asked == how.passes * len(codes)


@pytest.mark.parametrize("name", ["paired-residual", "delta-denoising", "random"])
def test_the_opposite_is_the_negative(name):
    codes, goal, seeds = example()
    edit = edits(Gaussians())[name]
    found = edit(codes, goal, seeds)
    assert found.abs().max() > 0
    assert torch.equal(opposite(edit)(codes, goal, seeds), -found)


class Bent(Gaussians):
    """A denoiser whose estimates of the two classes differ by what depends on the noise."""

    def denoise(self, noisy, step, label):
        return super().denoise(noisy, step, label) * (1 + 0.1 * label.view(-1, 1, 1, 1))


@pytest.mark.parametrize("name", ["paired-residual", "delta-denoising", "random"])
def test_an_edit_depends_on_its_seed_but_not_on_its_batch_nor_its_place(name):
    codes, goal, seeds = example()
    edit = edits(Bent())[name]
    together = edit(codes, goal, seeds)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(edit(codes[order], goal.take(order), seeds[order]), together[order])
    row = torch.tensor([1])
    torch.testing.assert_close(edit(codes[row], goal.take(row), seeds[row]), together[row])
    assert torch.equal(edit(codes, goal, seeds), together)
    others = edit(codes, goal, seeds + 100)
    assert ((others - together).abs().amax((1, 2, 3)) > 1e-3).all()


def test_noise_is_standard_normal_and_its_own_for_each_draw_and_image():
    noise = noise_like(torch.zeros(4, 8, 16, 16), torch.tensor([0, 1, 2, 1]), draws=3)
    assert noise.shape == (3, 4, 8, 16, 16)
    assert torch.equal(noise[:, 1], noise[:, 3])
    different = noise[:, :3].reshape(9, -1)
    correlation = np.corrcoef(different.numpy())
    assert np.abs(correlation - np.eye(9)).max() < 5 / np.sqrt(different.shape[1])
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02


@pytest.mark.parametrize("side", [2, 4])
def test_smooth_noise_lies_below_the_cut_off_of_its_grid(side):
    n, codes = 8, torch.zeros(8, 4, 32, 32)
    goal = Goal(None, torch.zeros(n))
    field = random_smooth(side)(codes, goal, torch.arange(n))
    assert field.shape == codes.shape
    # Mirrored, so that the edges of the field are no edges of its period.
    mirrored = torch.cat([field, field.flip(-1)], -1)
    mirrored = torch.cat([mirrored, mirrored.flip(-2)], -2)
    power = torch.fft.fft2(mirrored).abs().square().mean((0, 1))
    frequency = torch.fft.fftfreq(64).abs() * 64  # half periods across the field
    below = (frequency[:, None] <= side) & (frequency <= side)
    assert power[below].sum() / power.sum() > 0.97
    white = torch.randn_like(mirrored).double()
    share = torch.fft.fft2(white).abs().square().mean((0, 1))
    assert share[below].sum() / share.sum() < 0.2
    assert 0.3 < field.std() < 1.2


def test_the_class_mean_edit_is_the_difference_of_two_means():
    means = torch.randn(3, 2, 4, 4)
    goal = Goal(None, torch.zeros(2), torch.tensor([0, 2]), torch.tensor([1, 1]))
    moved = class_mean(means)(torch.randn(2, 2, 4, 4), goal, torch.zeros(2).long())
    torch.testing.assert_close(moved, torch.stack([means[1] - means[0], means[1] - means[2]]))


def test_without_a_target_the_class_mean_edit_heads_for_the_mean_of_the_others():
    means = torch.randn(3, 5)
    goal = Goal(None, torch.zeros(1), torch.tensor([1]))
    moved = class_mean(means)(torch.randn(1, 5), goal, torch.tensor([0]))
    torch.testing.assert_close(moved[0], (means[0] + means[2]) / 2 - means[1])


@pytest.mark.parametrize("name", ["class-mean", "paired-residual", "delta-denoising"])
def test_an_edit_between_classes_needs_a_source(name):
    prior, (codes, _, seeds) = Gaussians(), example()
    edit = class_mean(prior.means) if name == "class-mean" else edits(prior)[name]
    with pytest.raises(ValueError, match="source classes"):
        edit(codes, Goal(None, torch.zeros(3)), seeds)
