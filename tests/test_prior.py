import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from cfgen.edits import Denoiser
from cfgen.models.prior import PROBES, Prior, denoising_error, load_prior, rebuild
from cfgen.models.sampling import sample
from cfgen.models.saving import WEIGHTS, save_half

CHANNELS, SIDE = 3, 4


def tiny(**changes):
    """An untrained prior of codes whose channels are no standard normal ones."""
    torch.manual_seed(0)
    shape = {"channels": CHANNELS, "side": SIDE, "widths": [8, 16], "layers": 1}
    prior = Prior(**{**shape, **changes}).eval().requires_grad_(False)
    prior.set_statistics(codes(64))
    return prior


def codes(n=4):
    drawn = torch.randn(n, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    return drawn * torch.tensor([0.5, 1.0, 3.0])[:, None, None] + torch.tensor(
        [-1.0, 0.0, 2.0]
    ).view(3, 1, 1)


def noise(n=4):
    return torch.randn(n, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


class Answer(nn.Module):
    """In the place of the U-Net: answers what it is told, and notes what it is asked."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.asked = answer, []

    def forward(self, noisy, step, label, *, return_dict):
        self.asked.append((noisy, step, label))
        return (self.answer(noisy, step, label),)


def numpy_levels(steps=1000):
    """The cosine schedule of Nichol and Dhariwal, by hand: cumulative products of capped betas."""

    def bar(t):
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - bar((t + 1) / steps) / bar(t / steps), 0.999) for t in range(steps)]
    kept = np.cumprod(1 - np.array(betas))
    return np.sqrt(kept), np.sqrt(1 - kept)


def test_the_levels_are_those_of_the_cosine_schedule():
    prior = tiny()
    step = torch.arange(prior.steps)
    zeros = prior.code_mean.expand(prior.steps, CHANNELS, SIDE, SIDE)
    ones = torch.ones_like(zeros)
    level = prior.noised(zeros, ones, step)[:, 0, 0, 0].numpy()
    signal = prior.noised(zeros + prior.code_std, 0 * ones, step)[:, 0, 0, 0].numpy()
    np.testing.assert_allclose(signal**2 + level**2, 1, atol=1e-5)
    expected_signal, expected_level = numpy_levels()
    np.testing.assert_allclose(signal, expected_signal, atol=1e-4)
    np.testing.assert_allclose(level, expected_level, atol=1e-4)
    assert (np.diff(level) > 0).all()


def test_statistics_are_those_of_each_channel():
    prior, given = tiny(), codes(64).numpy()
    for channel in range(CHANNELS):
        assert prior.code_mean[channel].item() == pytest.approx(given[:, channel].mean(), abs=1e-5)
        assert prior.code_std[channel].item() == pytest.approx(given[:, channel].std(), rel=1e-3)
    whitened = prior.noised(codes(64), torch.zeros_like(codes(64)), torch.zeros(64).long())
    torch.testing.assert_close(whitened.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(whitened.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)


def test_where_the_velocity_is_known_the_clean_code_is_what_was_noised():
    prior, step = tiny(), torch.tensor([0, 300, 700, 990])
    velocity = prior.velocity(codes(), noise(), step)
    prior.unet = Answer(lambda *_: velocity)
    noisy = prior.noised(codes(), noise(), step)
    torch.testing.assert_close(
        prior.denoise(noisy, step, torch.zeros_like(step)), codes(), atol=1e-4, rtol=1e-4
    )


def test_the_velocity_is_how_fast_the_noised_code_turns():
    prior, step = tiny(), torch.tensor([200, 400, 600, 800])
    # v = dx/dphi, for the angle phi whose cosine is the signal and whose sine the noise.
    before, after = (prior.noised(codes(), noise(), to) for to in (step - 1, step + 1))
    signal, level = (torch.tensor(one) for one in numpy_levels())
    angle = torch.atan2(level, signal)
    turned = (angle[step + 1] - angle[step - 1])[:, None, None, None]
    expected = (after - before).double() / turned
    found = prior.velocity(codes(), noise(), step).double()
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)


def test_the_network_is_asked_with_the_step_and_the_class_of_each_code():
    prior = tiny()
    prior.unet = Answer(lambda noisy, *_: 0 * noisy)
    step, label = torch.tensor([1, 2, 3, 4]), torch.tensor([0, 1, 2, 1])
    prior.denoise(noise(), step, label)
    ((noisy, asked_step, asked_label),) = prior.unet.asked
    assert torch.equal(noisy, noise())
    assert torch.equal(asked_step, step)
    assert torch.equal(asked_label, label)
    assert prior.no_class == 2


def test_renoising_to_no_noise_leaves_the_standardised_clean_code():
    prior, step, given = tiny(), torch.tensor([10, 300, 700, 990]), codes(64).numpy()
    clean = prior.renoise(noise(), codes(64)[:4], step, torch.full_like(step, -1))
    mean, std = given.mean((0, 2, 3)), given.std((0, 2, 3), ddof=1)
    expected = (given[:4] - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(clean.numpy(), expected, atol=1e-4)


def test_renoising_keeps_the_noise_and_changes_its_level():
    prior, step, to = tiny(), torch.tensor([300, 500, 700, 900]), torch.tensor([0, 900, 10, 400])
    noisy = prior.noised(codes(), noise(), step)
    torch.testing.assert_close(
        prior.renoise(noisy, codes(), step, to),
        prior.noised(codes(), noise(), to),
        atol=1e-4,
        rtol=1e-4,
    )
    torch.testing.assert_close(prior.renoise(noisy, 0 * noisy, step, step), noisy)


def test_a_prior_is_as_it_was_saved(tmp_path):
    prior = tiny(classes=["A", "B", "C"], steps=50)
    prior.save_pretrained(tmp_path / "prior")
    again = load_prior(tmp_path / "prior")
    step, label = torch.tensor([0, 10, 30, 49]), torch.tensor([0, 1, 2, 3])
    assert isinstance(again, Denoiser)
    assert (again.classes, again.steps, again.code_shape) == (("A", "B", "C"), 50, (3, 4, 4))
    assert not again.training
    assert not any(weights.requires_grad for weights in again.parameters())
    expected = prior.denoise(noise(), step, label)
    torch.testing.assert_close(again.denoise(noise(), step, label), expected)
    assert (prior.denoise(noise(), step, 0 * label) - expected).abs()[1:].max() > 1e-4


def test_half_precision_halves_the_file_and_hardly_moves_an_estimate(tmp_path):
    prior = tiny(classes=["A", "B", "C"], steps=50)
    prior.save_pretrained(tmp_path / "full")
    save_half(prior, tmp_path / "half")
    sizes = [(tmp_path / name / WEIGHTS).stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    step, label = torch.tensor([0, 10, 30, 49]), torch.tensor([0, 1, 2, 3])
    again = load_prior(tmp_path / "half")
    assert {weights.dtype for weights in again.parameters()} == {torch.float32}
    assert {weights.dtype for weights in prior.parameters()} == {torch.float32}
    expected = prior.denoise(noise(), step, label)
    torch.testing.assert_close(again.denoise(noise(), step, label), expected, atol=0.01, rtol=0.01)


def test_what_is_no_saved_prior_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"a saved Prior in .*nowhere"):
        load_prior(tmp_path / "nowhere")


def test_the_denoising_error_is_that_of_the_clean_codes_over_the_probes():
    prior = tiny()
    prior.unet = Answer(lambda noisy, _, label: noisy * (0.1 + label[:, None, None, None]))
    label = torch.tensor([0, 1, 1, 0])
    found = denoising_error(prior, codes(), label)
    signals, levels = numpy_levels()
    mean, std = (one.double().numpy() for one in (prior.code_mean, prior.code_std))
    standard = (codes().double().numpy() - mean) / std
    generator, expected = torch.Generator().manual_seed(0), np.zeros(4)
    for share in PROBES:
        drawn = torch.randn(CHANNELS, SIDE, SIDE, generator=generator).double().numpy()
        a, s = signals[round(share * 1000)], levels[round(share * 1000)]
        for row in range(4):
            noisy = a * standard[row] + s * drawn
            clean = a * noisy - s * (0.1 + label[row].item()) * noisy
            expected[row] += np.mean((clean - standard[row]) ** 2) / len(PROBES)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3)
    asked = [step.tolist() for _, step, _ in prior.unet.asked]
    assert asked == [[200] * 4, [400] * 4, [600] * 4]


def test_the_denoising_error_of_a_code_does_not_depend_on_its_batch():
    prior = tiny()
    label = torch.tensor([0, 1, 1, 0])
    together = denoising_error(prior, codes(), label)
    torch.testing.assert_close(denoising_error(prior, codes()[2:3], label[2:3]), together[2:3])


class Optimal(nn.Module):
    """The velocity for standardised codes from N(means[label], spread^2), whatever the place."""

    def __init__(self, prior, means, spread):
        super().__init__()
        self.signal, self.means, self.spread = prior.signal, torch.tensor(means), spread

    def forward(self, noisy, step, label, *, return_dict):
        a = self.signal[step][:, None, None, None]
        s = (1 - a.square()).sqrt()
        mean = self.means[label][:, None, None, None]
        gain = a * self.spread**2 / (a.square() * self.spread**2 + s.square())
        clean = mean + gain * (noisy - a * mean)
        return ((a * noisy - clean) / s,)


def test_samples_of_a_known_distribution_have_its_moments():
    prior = tiny()
    prior.unet = Optimal(prior, [2.0, -1.0, 0.0], 0.5)
    labels = torch.arange(200) % 2
    drawn = sample(prior, labels, torch.Generator().manual_seed(3), steps=50, guidance=1.0)
    standard = (drawn - prior.code_mean) / prior.code_std
    for label, mean in ((0, 2.0), (1, -1.0)):
        of_class = standard[labels == label]
        assert of_class.mean().item() == pytest.approx(mean, abs=0.06)
        assert of_class.std().item() == pytest.approx(0.5, abs=0.05)
    again = sample(prior, labels, torch.Generator().manual_seed(3), steps=50, guidance=1.0)
    assert torch.equal(drawn, again)
    other = sample(prior, labels, torch.Generator().manual_seed(4), steps=50, guidance=1.0)
    assert not torch.equal(drawn, other)


def test_guidance_draws_what_is_more_typical_of_the_class():
    prior = tiny()
    prior.unet = Optimal(prior, [1.0, -1.0, 0.0], 0.5)
    labels, means = torch.zeros(100).long(), []
    for guidance in (1.0, 2.0):
        drawn = sample(prior, labels, torch.Generator().manual_seed(3), guidance=guidance)
        means.append(((drawn - prior.code_mean) / prior.code_std).mean().item())
    assert means[1] > means[0] + 0.2


def test_up_the_noise_levels_and_down_again_is_the_way_back():
    # By DDIM, with the clean code estimated anew at each level.
    prior = tiny()
    prior.unet = Optimal(prior, [1.0, -1.0, 0.0], 0.5)
    start, label = codes(2), torch.tensor([0, 1])
    ladder = list(range(2, 702, 2))

    def walk(noisy, levels):
        for at, to in pairwise(levels):
            step = torch.full_like(label, at)
            clean = prior.denoise(noisy, step, label)
            noisy = prior.renoise(noisy, clean, step, torch.full_like(label, to))
        return noisy

    low = prior.noised(start, torch.zeros_like(start), torch.full_like(label, ladder[0]))
    top = walk(low, ladder)
    assert (top - low).abs().mean() > 0.3
    torch.testing.assert_close(walk(top, ladder[::-1]), low, atol=0.05, rtol=0.02)


def test_codes_are_rebuilt_from_the_middle_probe_at_the_same_noise():
    """An answer of v = a e - s z gives the codes back; one of 0 gives a (a z + s e)."""
    prior, some = tiny(), codes()
    label = torch.tensor([0, 1, 0, 1])
    step = round(PROBES[1] * prior.steps)
    signal, level = (levels[step] for levels in numpy_levels())
    prior.unet = Answer(lambda noisy, _step, _label: torch.zeros_like(noisy))
    found = rebuild(prior, some, label)
    noisy, steps, asked = prior.unet.asked[0]
    assert steps.tolist() == [step] * 4
    assert torch.equal(asked, label)
    mean, std = prior.code_mean, prior.code_std
    z = ((some - mean) / std).double().numpy()
    drawn = (noisy.double().numpy() - signal * z) / level
    assert drawn == pytest.approx(np.broadcast_to(drawn[:1], drawn.shape), abs=1e-5)
    assert found.numpy() == pytest.approx(signal * (signal * z + level * drawn), abs=1e-4)
    perfect = torch.tensor(signal * drawn - level * z).float()
    prior.unet = Answer(lambda *_: perfect)
    assert torch.allclose(rebuild(prior, some, label), prior.standardised(some), atol=1e-4)
