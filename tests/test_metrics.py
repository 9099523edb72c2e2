"""Each metric against a second implementation: closed forms in NumPy float64, or a library."""

import numpy as np
import pytest
import torch
from scipy.stats import percentileofscore
from skimage.metrics import peak_signal_noise_ratio
from torch import nn
from torchmetrics.functional.image import structural_similarity_index_measure

from cfgen import metrics
from cfgen.metrics.similarity import scales
from tests.pairs import exact, pair


def test_proximity_agrees_with_closed_forms():
    factual, image = pair()
    change = exact(image) - exact(factual)
    assert metrics.l1(factual, image).numpy() == pytest.approx(np.abs(change).mean(1), rel=1e-5)
    assert metrics.l2(factual, image).numpy() == pytest.approx(
        np.sqrt((change**2).sum(1)), rel=1e-5
    )
    assert metrics.linf(factual, image).numpy() == pytest.approx(np.abs(change).max(1), rel=1e-5)
    assert metrics.changed_fraction(factual, image).numpy() == pytest.approx(
        (np.abs(change) > 0.05).mean(1)
    )


def test_sparsity_is_hoyers_and_knows_no_strength():
    factual, image = pair()
    change = exact(image) - exact(factual)
    root = np.sqrt(change.shape[1])
    expected = (root - np.abs(change).sum(1) / np.sqrt((change**2).sum(1))) / (root - 1)
    assert metrics.sparsity(factual, image).numpy() == pytest.approx(expected, rel=1e-5)
    halved = factual + (image - factual) / 2
    assert metrics.sparsity(factual, halved).numpy() == pytest.approx(expected, rel=1e-4)
    noise = torch.randn(4, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    found = metrics.sparsity(torch.zeros_like(noise), noise)
    # |d|_1 of normal noise is n sqrt(2 / pi), |d|_2 is sqrt(n).
    assert found.numpy() == pytest.approx((128 - 128 * np.sqrt(2 / np.pi)) / 127, abs=0.01)
    even = torch.full((1, 1, 4, 4), 0.3)
    assert float(metrics.sparsity(even * 0, even)) == pytest.approx(0, abs=1e-6)
    assert metrics.sparsity(factual, factual).isnan().all()


def test_metrics_of_a_batch_are_those_of_its_images():
    factual, image = pair()
    for metric in (metrics.l1, metrics.l2, metrics.ssim, metrics.ms_ssim, metrics.psnr):
        alone = torch.cat([metric(factual[i : i + 1], image[i : i + 1]) for i in range(3)])
        assert torch.allclose(metric(factual, image), alone, rtol=1e-5)


def test_identical_images_are_as_near_and_as_similar_as_can_be():
    factual, _ = pair()
    assert metrics.l2(factual, factual).eq(0).all()
    assert metrics.ssim(factual, factual).numpy() == pytest.approx(1)
    assert metrics.ms_ssim(factual, factual).numpy() == pytest.approx(1, abs=1e-5)
    assert metrics.psnr(factual, factual).isinf().all()


def test_psnr_agrees_with_skimage():
    factual, image = pair()
    expected = [
        peak_signal_noise_ratio(a, b, data_range=1.0)
        for a, b in zip(exact(factual), exact(image), strict=True)
    ]
    assert metrics.psnr(factual, image).numpy() == pytest.approx(expected, rel=1e-5)


def test_ssim_agrees_with_torchmetrics_without_the_border():
    factual, image = pair()
    _, full = structural_similarity_index_measure(
        factual, image, data_range=1.0, sigma=1.5, return_full_image=True, reduction="none"
    )
    inside = full[..., 5:-5, 5:-5].mean((1, 2, 3))
    assert torch.allclose(metrics.ssim(factual, image), inside, atol=1e-5)


def gaussian_means(image):
    """Means under 11x11 Gaussian windows that lie inside the image, in float64."""
    weights = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    windows = np.lib.stride_tricks.sliding_window_view(image, (11, 11))
    return np.einsum("ijkl,k,l->ij", windows, weights, weights)


def ssim_terms(x, y):
    mx, my = gaussian_means(x), gaussian_means(y)
    vx, vy = gaussian_means(x * x) - mx**2, gaussian_means(y * y) - my**2
    contrast = (2 * (gaussian_means(x * y) - mx * my) + 0.03**2) / (vx + vy + 0.03**2)
    return contrast * (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2), contrast


@pytest.mark.parametrize(("dtype", "close"), [(torch.double, 1e-12), (torch.float, 1e-5)])
@pytest.mark.parametrize("size", [(11, 11), (12, 31), (128, 128)])
def test_ssim_on_the_device_is_scikit_images(size, dtype, close):
    generator = torch.Generator().manual_seed(4)
    images = torch.rand(6, 1, *size, generator=generator, dtype=torch.double)
    images[1] = images[1].round()
    images[2] = 0.5
    others = (images + 0.1 * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    others[3] = images[3]
    found = metrics.ssim_on_device(images.to(dtype), others.to(dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), metrics.ssim(images, others), atol=close, rtol=0)
    with pytest.raises(ValueError, match="at least 11 pixels"):
        metrics.ssim_on_device(images[..., :10], others[..., :10])


def test_ssim_agrees_with_its_definition():
    factual, image = pair(size=32)
    expected = [
        ssim_terms(a, b)[0].mean()
        for a, b in zip(factual[:, 0].double().numpy(), image[:, 0].double().numpy(), strict=True)
    ]
    assert metrics.ssim(factual, image).numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("size", [32, 64, 128, 192])
def test_ms_ssim_agrees_with_its_definition(size):
    """Written again; as in torchmetrics the coarsest scale is averaged over a mirrored border."""
    factual, image = pair(size, n=1)
    x, y = (images[0, 0].double().numpy() for images in (factual, image))
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333][: scales(size)])
    weights /= weights.sum()
    product = 1.0
    for scale, weight in enumerate(weights):
        if scale == len(weights) - 1:
            term, _ = ssim_terms(np.pad(x, 5, mode="reflect"), np.pad(y, 5, mode="reflect"))
        else:
            _, term = ssim_terms(x, y)
        product *= term.mean() ** weight
        halves = (images.reshape(len(images) // 2, 2, -1, 2).mean((1, 3)) for images in (x, y))
        x, y = halves
    assert float(metrics.ms_ssim(factual, image)) == pytest.approx(product, abs=1e-5)


@pytest.mark.parametrize("size", [11, 21, 22, 43, 44, 98, 99, 175, 176])
def test_ms_ssim_has_scales_for_every_size(size):
    factual, image = pair(size, n=1)
    assert 0 <= float(metrics.ms_ssim(factual, image)) < 1


def test_structure_of_too_small_images_is_refused():
    factual, image = pair(size=10)
    for metric in (metrics.ssim, metrics.ms_ssim):
        with pytest.raises(ValueError, match="at least 11 pixels"):
            metric(factual, image)


def test_validity_counts_the_threshold_in_and_flips_compare_classes():
    assert metrics.valid(torch.tensor([0.5, 0.75, 0.9]), 0.75).tolist() == [False, True, True]
    assert metrics.valid(torch.tensor([torch.nan])).tolist() == [False]
    assert metrics.flip(torch.tensor([0, 2]), torch.tensor([1, 2])).tolist() == [False, True]


def test_a_change_of_confidence_has_no_direction():
    before, after = torch.tensor([0.25, 0.75]), torch.tensor([0.75, 0.25])
    assert metrics.confidence_change(before, after).tolist() == [0.5, 0.5]


def test_the_non_adversarial_rate_is_that_of_one_surrogate():
    """With one judge that can always flip: N both flip / N classifier flips (Bender et al.)."""
    generator = torch.Generator().manual_seed(0)
    flips, judge = torch.randint(0, 2, (2, 200), generator=generator).float()
    both = sum(1 for a, b in zip(flips.tolist(), judge.tolist(), strict=True) if a == b == 1)
    found = metrics.non_adversarial(flips, judge[None])
    assert float(found.nanmean()) == pytest.approx(both / int(flips.sum()))
    assert int(found.isnan().sum()) == 200 - int(flips.sum())
    there = torch.full((200,), torch.nan)
    with_one_that_cannot = metrics.non_adversarial(flips, torch.stack([judge, there]))
    torch.testing.assert_close(with_one_that_cannot, found, equal_nan=True)
    assert metrics.non_adversarial(there, judge[None]).isnan().all()


def test_a_judge_is_asked_only_where_it_was_right_and_not_at_the_target():
    before, after = torch.tensor([0, 0, 1, 1]), torch.tensor([1, 0, 1, 1])
    truth, target = torch.tensor([0, 0, 0, 1]), torch.ones(4, dtype=torch.long)
    follows = metrics.judge_follow(before, after, truth, target)
    assert follows[:2].tolist() == [1, 0]
    assert follows[2:].isnan().all()


def test_the_place_among_real_images_agrees_with_scipys_percentile():
    generator = torch.Generator().manual_seed(0)
    real = torch.randint(0, 20, (50,), generator=generator).float()
    followed = torch.tensor([-1.0, 0.0, 3.0, 3.5, 19.0, 25.0])
    expected = percentileofscore(real.numpy(), followed.numpy(), kind="mean")
    assert metrics.overshoot(followed, real).numpy() == pytest.approx(expected)
    assert metrics.overshoot(torch.tensor([torch.nan, 1.0]), real).isnan().tolist() == [True, False]
    assert metrics.overshoot(followed, real[:0]).isnan().all()


def test_activation_change_agrees_with_the_layers_run_by_hand():
    torch.manual_seed(0)
    first, second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 3)
    network = nn.Sequential(first, nn.ReLU(), second, nn.Flatten()).eval()
    factual, image = pair(size=16, n=1)
    with torch.inference_mode():
        a, b = first(factual), first(image)
        c, d = second(a.relu()), second(b.relu())
    found = {change.layer: change for change in metrics.activation_change(network, factual, image)}
    assert found["0"].change == pytest.approx(float((a - b).norm()), rel=1e-5)
    assert found["2"].change == pytest.approx(float((c - d).norm()), rel=1e-5)
    assert found["2"].relative == pytest.approx(float((c - d).norm() / c.norm()), rel=1e-4)


def test_activation_change_is_sorted_and_a_batch_has_the_mean_of_its_images():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 3), nn.Conv2d(8, 1, 1)).eval()
    factual, image = pair(size=16, n=2)
    both = metrics.activation_change(network, factual, image)
    changes = [change.change for change in both]
    assert changes == sorted(changes, reverse=True)
    alone = [
        {c.layer: c.change for c in metrics.activation_change(network, factual[i:j], image[i:j])}
        for i, j in ((0, 1), (1, 2))
    ]
    for layer, change, _ in both:
        assert change == pytest.approx((alone[0][layer] + alone[1][layer]) / 2, rel=1e-5)


def test_activation_change_leaves_no_hooks_behind_even_after_an_error():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(7, 2)).eval()
    factual, image = pair(size=16, n=1)
    with pytest.raises(RuntimeError):
        metrics.activation_change(network, factual, image)
    assert not any(layer._forward_hooks for layer in network.modules())


def test_activation_change_of_a_network_without_convolutions_is_of_its_dense_layers():
    factual, image = pair(size=16, n=2)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    found = {
        change.layer: change.change for change in metrics.activation_change(network, factual, image)
    }
    first = network[1](image.flatten(1)) - network[1](factual.flatten(1))
    assert set(found) == {"1", "3"}
    assert found["1"] == pytest.approx(first.norm(dim=1).mean().item(), rel=1e-5)


def test_activation_change_refuses_dropout_at_work_and_networks_without_convolutions():
    factual, image = pair(size=16, n=1)
    with pytest.raises(ValueError, match="evaluation mode"):
        metrics.activation_change(nn.Sequential(nn.Conv2d(1, 1, 3)).train(), factual, image)
    with pytest.raises(ValueError, match=r"nn\.Conv2d"):
        metrics.activation_change(nn.Sequential(nn.Flatten()).eval(), factual, image)
