"""Where, of what kind and how alike the changes are: against definitions written again."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from torch import nn
from torchmetrics.functional.image import structural_similarity_index_measure

from cfgen import metrics
from tests.pairs import exact, pair


def test_energy_inside_a_mask_and_its_complement_is_all_there_is():
    factual, image = pair()
    change, mask = image - factual, torch.rand(image.shape) < 0.3
    inside = metrics.energy_inside(change, mask)
    squares = exact(change) ** 2
    expected = (squares * exact(mask)).sum(1) / squares.sum(1)
    assert inside.numpy() == pytest.approx(expected, rel=1e-5)
    assert (inside + metrics.energy_inside(change, ~mask)).numpy() == pytest.approx(1)
    assert metrics.energy_inside(torch.zeros_like(change), mask).isnan().all()


def test_a_change_all_over_is_inside_as_often_as_chance_has_it():
    mask = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    mask[..., :4, :] = True
    change = torch.full(mask.shape, -0.3)
    change[1] = mask[1].float()
    assert metrics.inside_ratio(change, mask).tolist() == pytest.approx([1, 4])
    assert metrics.inside_ratio(change, ~mask).tolist() == pytest.approx([1, 0])
    assert metrics.inside_ratio(change, torch.zeros_like(mask)).isnan().all()
    assert metrics.inside_ratio(torch.zeros_like(change), mask).isnan().all()


def test_the_strongest_pixels_overlap_as_sets_do():
    factual, image = pair(size=20, n=4)
    change, mask = image - factual, torch.rand(image.shape) < 0.3
    found = metrics.strongest_iou(change, mask)
    for k in range(4):
        values, inside = np.abs(exact(change)[k]), set(np.flatnonzero(exact(mask)[k]))
        strongest = set(np.argsort(-values)[: len(inside)])
        expected = len(strongest & inside) / len(strongest | inside)
        assert float(found[k]) == pytest.approx(expected)
    assert metrics.strongest_iou(mask * -0.1, mask).tolist() == [1] * 4
    assert metrics.strongest_iou(torch.zeros_like(change), mask).isnan().all()
    assert metrics.strongest_iou(change, torch.zeros_like(mask)).isnan().all()


def test_pixels_that_did_not_change_are_not_among_the_strongest():
    mask = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    change = torch.zeros(1, 1, 4, 4)
    change[..., 0, :2] = 1
    assert float(metrics.strongest_iou(change, mask)) == pytest.approx(2 / 16)


def test_the_pointing_game_is_decided_after_smoothing_written_out():
    factual, image = pair(size=24, n=6)
    change = image - factual
    offsets = np.arange(-4, 5)
    window = np.exp(-(offsets**2) / 2)
    window /= window.sum()
    mask = torch.rand(change.shape) < 0.5
    expected = []
    for k in range(6):
        once = correlate1d(np.abs(change[k, 0].double().numpy()), window, 0, mode="reflect")
        twice = correlate1d(once, window, 1, mode="reflect")
        expected.append(float(mask[k, 0].numpy()[np.unravel_index(twice.argmax(), twice.shape)]))
    assert metrics.pointing_game(change, mask).tolist() == expected
    assert metrics.pointing_game(-change, ~mask).tolist() == [1 - hit for hit in expected]
    assert metrics.pointing_game(torch.zeros_like(change), mask).isnan().all()
    assert metrics.pointing_game(change, torch.zeros_like(mask)).isnan().all()


def test_a_patch_outweighs_a_single_brighter_pixel():
    change = torch.zeros(1, 1, 16, 16)
    change[..., 2, 2], change[..., 8:12, 8:12] = 1.0, -0.5
    patch = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    patch[..., 8:12, 8:12] = True
    assert float(metrics.pointing_game(change, patch)) == 1
    assert float(metrics.pointing_game(change, patch, sigma=0.1)) == 0


def test_ssim_outside_is_the_mean_of_torchmetrics_map_there():
    factual, image = pair()
    mask = torch.zeros(factual.shape, dtype=torch.bool)
    mask[0, :, 10:40, 20:50] = True
    mask[1, :, :, :33] = True
    _, full = structural_similarity_index_measure(
        factual, image, data_range=1.0, sigma=1.5, return_full_image=True, reduction="none"
    )
    inner, outside = full[..., 5:-5, 5:-5], ~mask[..., 5:-5, 5:-5]
    expected = [float(one[keep].mean()) for one, keep in zip(inner, outside, strict=True)]
    found = metrics.ssim_outside(factual, image, mask)
    assert found.tolist() == pytest.approx(expected, abs=1e-5)
    assert found[2] == pytest.approx(float(metrics.ssim(factual, image)[2]))


def test_ssim_outside_does_not_see_what_is_far_inside():
    factual, image = pair(n=1)
    mask = torch.zeros(factual.shape, dtype=torch.bool)
    mask[..., 10:50, 10:50] = True
    hidden = torch.where(nn.functional.pad(mask[..., 16:44, 16:44], (16, 20, 16, 20)), image, 0)
    assert metrics.ssim_outside(hidden * 0 + factual, factual + hidden * 0, mask) == 1
    inside = torch.where(hidden > 0, image, factual)
    assert float(metrics.ssim_outside(factual, inside, mask)) == pytest.approx(1)
    assert float(metrics.ssim(factual, inside)) < 0.95
    assert metrics.ssim_outside(factual, image, torch.ones_like(mask)).isnan().all()


def wave(cycles_down, cycles_across, size=64):
    y, x = np.mgrid[:size, :size] / size
    return torch.tensor(np.cos(2 * np.pi * (cycles_down * y + cycles_across * x)))[None, None]


def test_a_wave_is_above_the_cutoff_or_below():
    """At 64 pixels 8 cycles are 1/8 a pixel; obliquely the lengths add as a vector's do."""
    waves = torch.cat([wave(7, 0), wave(0, 9), wave(5, 5), wave(6, 6), wave(8, 0)]).float()
    assert metrics.high_frequency_share(waves).tolist() == pytest.approx([0, 1, 0, 1, 0], abs=1e-6)
    both = wave(2, 0) + 2 * wave(20, 0)
    assert float(metrics.high_frequency_share(both.float())) == pytest.approx(4 / 5)


def test_the_share_of_noise_is_that_of_the_frequency_plane():
    noise = torch.randn(20, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    share = metrics.high_frequency_share(noise)
    assert float(share.mean()) == pytest.approx(1 - math.pi / 64, abs=0.005)


@pytest.mark.parametrize("shape", [(16, 16), (15, 20)])
def test_the_share_agrees_with_a_transform_written_out(shape):
    change = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(1))
    exact_change = change[0, 0].double().numpy()
    y, x = np.mgrid[: shape[0], : shape[1]]
    high = total = 0.0
    for u in range(shape[0]):
        for v in range(shape[1]):
            phase = np.exp(-2j * np.pi * (u * y / shape[0] + v * x / shape[1]))
            energy = abs((exact_change * phase).sum()) ** 2
            down, across = (min(k, n - k) / n for k, n in zip((u, v), shape, strict=True))
            high += energy * (np.hypot(down, across) > 0.21)
            total += energy
    assert float(metrics.high_frequency_share(change, 0.21)) == pytest.approx(
        high / total, rel=1e-5
    )
    assert metrics.high_frequency_share(torch.zeros_like(change)).isnan().all()


def some_changes(n=7, template=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(1, 1, 8, 8, generator=generator)
    strengths = torch.rand(n, 1, 1, 1, generator=generator) + 0.5
    return template * strengths * common + torch.randn(n, 1, 8, 8, generator=generator)


def test_the_mean_cosine_is_that_of_all_pairs():
    changes = some_changes()
    flat = exact(changes)
    units = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    cosines = [units[i] @ units[j] for i in range(7) for j in range(i)]
    assert metrics.mean_pairwise_cosine(changes) == pytest.approx(np.mean(cosines), rel=1e-6)
    unmoved = torch.cat([changes, torch.zeros(2, 1, 8, 8)])
    assert metrics.mean_pairwise_cosine(unmoved) == pytest.approx(np.mean(cosines), rel=1e-6)
    assert math.isnan(metrics.mean_pairwise_cosine(unmoved[6:]))


def test_the_share_of_the_mean_is_the_gain_of_least_squares():
    flat = exact(changes := some_changes())
    left = 0.0
    for i in range(len(flat)):
        mean = np.delete(flat, i, 0).mean(0)
        coefficient, *_ = np.linalg.lstsq(mean[:, None], flat[i], rcond=None)
        left += ((flat[i] - coefficient * mean) ** 2).sum()
    expected = 1 - left / (flat**2).sum()
    assert metrics.share_explained_by_mean(changes) == pytest.approx(expected, rel=1e-6)


def test_one_template_explains_all_and_changes_at_right_angles_nothing():
    template = torch.rand(1, 1, 4, 4) * torch.tensor([0.5, 1.0, 3.0]).reshape(3, 1, 1, 1)
    assert metrics.mean_pairwise_cosine(template) == pytest.approx(1)
    assert metrics.share_explained_by_mean(template) == pytest.approx(1)
    apart = torch.eye(16).reshape(16, 1, 4, 4)
    assert metrics.mean_pairwise_cosine(apart) == pytest.approx(0)
    assert metrics.share_explained_by_mean(apart) == pytest.approx(0)
    opposite = torch.stack([torch.ones(1, 4, 4), -torch.ones(1, 4, 4)])
    assert metrics.mean_pairwise_cosine(opposite) == pytest.approx(-1)
    assert math.isnan(metrics.share_explained_by_mean(template[:1]))
    assert math.isnan(metrics.share_explained_by_mean(torch.zeros(3, 1, 4, 4)))


def test_many_changes_are_summed_in_parts(monkeypatch):
    changes = some_changes(20)
    both = (metrics.mean_pairwise_cosine, metrics.share_explained_by_mean)
    whole = [measure(changes) for measure in both]
    monkeypatch.setattr("cfgen.metrics.template._AT_ONCE", 6)
    assert [measure(changes) for measure in both] == pytest.approx(whole)


def test_own_factual_is_found_as_by_sorting_all_distances():
    generator = torch.Generator().manual_seed(0)
    factuals = torch.randn(30, 5, generator=generator)
    images = factuals + 0.8 * torch.randn(30, 5, generator=generator)
    distances = np.linalg.norm(images.numpy()[:, None] - factuals.numpy(), axis=2)
    expected = (distances.argmin(1) == np.arange(30)).tolist()
    assert metrics.own_is_nearest(images, factuals).tolist() == expected
    assert 5 < sum(expected) < 30
    assert metrics.own_is_nearest(factuals, factuals).all()


def test_another_image_of_a_patient_is_found_as_by_sorting_all_distances():
    generator = torch.Generator().manual_seed(1)
    patients = [0] * 3 + [1] * 2 + [2] + [3] * 4
    features = torch.randn(4, 6, generator=generator)[patients]
    features = features + 0.7 * torch.randn(10, 6, generator=generator)
    found = metrics.same_group_is_nearest(features, patients).tolist()
    for i, own in enumerate(patients):
        others = [j for j in range(10) if j != i]
        nearest = min(others, key=lambda j: float((features[i] - features[j]).norm()))
        if own == 2:
            assert math.isnan(found[i])
        else:
            assert found[i] == (patients[nearest] == own)
    with pytest.raises(ValueError, match="a group for each of 10"):
        metrics.same_group_is_nearest(features, patients[1:])


def test_low_passed_images_are_their_blocks_means():
    factual, _ = pair(size=32, n=2)
    blocks = factual.numpy().reshape(2, 16, 2, 16, 2).mean((2, 4)).reshape(2, 256)
    assert metrics.low_passed(factual).numpy() == pytest.approx(blocks, abs=1e-6)


def test_diversity_is_the_mean_over_pairs_of_draws():
    changes = torch.stack([some_changes(4, seed=seed) for seed in range(3)], dim=1)
    found = metrics.diversity(changes)
    for i in range(4):
        flat = changes[i].flatten(1).double().numpy()
        pairs = [(flat[a], flat[b]) for a in range(3) for b in range(a)]
        cosines = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in pairs]
        assert float(found.cosine[i]) == pytest.approx(1 - np.mean(cosines), rel=1e-4)
        lengths = [np.linalg.norm(x - y) for x, y in pairs]
        assert float(found.l2[i]) == pytest.approx(np.mean(lengths), rel=1e-5)


def test_one_draw_or_one_that_changed_nothing_has_no_diversity_of_kind():
    changes = some_changes(6).reshape(2, 3, 1, 8, 8)
    assert all(value.isnan().all() for value in metrics.diversity(changes[:, :1]))
    changes[:, 0] = 0
    found, rest = metrics.diversity(changes), metrics.diversity(changes[:, 1:])
    assert torch.allclose(found.cosine, rest.cosine)
    assert not torch.allclose(found.l2, rest.l2)
    changes[:, 1] = 0
    assert metrics.diversity(changes).cosine.isnan().all()
