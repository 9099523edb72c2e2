"""The phantom keeps its word: one anatomy, one opacity, and nothing else that knows the label."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation, binary_erosion
from skimage.measure import euler_number
from torch.nn.functional import avg_pool2d

from cfgen.data.anatomy import Anatomy
from cfgen.data.phantom import (
    CLASSES,
    DEFAULT_COUNTS,
    OTHERS,
    THRESHOLD,
    Phantom,
    draw,
    of_path,
    others_of_path,
    samples,
)

SEEDS = range(12)
TENSORS = ("image", "truth", "lungs", "opacity", "marker")


def same(one: Phantom, other: Phantom) -> bool:
    return one.label == other.label and all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in TENSORS
    )


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**63),
    label=st.sampled_from([None, 0, 1]),
    shortcut=st.floats(0.0, 1.0),
)
def test_every_seed_gives_a_well_formed_phantom(seed, label, shortcut):
    phantom = draw(seed, 64, label, shortcut)
    for image in (phantom.image, phantom.truth):
        assert image.shape == (1, 64, 64)
        assert image.dtype == torch.float32
        assert torch.isfinite(image).all()
        assert image.min() >= 0.0
        assert image.max() <= 1.0
        assert image.std() > 0.08
    for mask in (phantom.lungs, phantom.opacity, phantom.marker):
        assert mask.shape == (1, 64, 64)
        assert mask.dtype == torch.bool
    assert 0.1 < phantom.lungs.float().mean() < 0.5
    assert phantom.opacity.any()
    assert phantom.label in (0, 1)
    assert label in (None, phantom.label)


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("label", [0, 1])
def test_image_and_truth_differ_exactly_inside_the_opacity_mask(size, label):
    for seed in SEEDS[:6]:
        phantom = draw(seed, size, label, shortcut=0.5)
        change = (phantom.image - phantom.truth).abs()
        assert change[phantom.opacity].min() >= THRESHOLD
        assert change[~phantom.opacity].max() <= THRESHOLD
        brighter, darker = (phantom.image, phantom.truth)[:: 2 * label - 1]
        assert (brighter >= darker).all()


def test_truth_is_the_same_seed_drawn_with_the_other_label():
    for seed in SEEDS:
        normal, opaque = draw(seed, label=0), draw(seed, label=1)
        assert torch.equal(opaque.truth, normal.image)
        assert torch.equal(normal.truth, opaque.image)
        assert torch.equal(normal.opacity, opaque.opacity)
        assert torch.equal(normal.lungs, opaque.lungs)


def test_lungs_are_darker_than_heart_and_abdomen():
    for seed in SEEDS:
        phantom = draw(seed, label=0)
        lungs, image = phantom.lungs[0].numpy(), phantom.image[0].numpy()
        rows, columns = np.where(lungs)
        middle, low = round(columns.mean()), int(rows.max())
        heart = image[round(np.quantile(rows, 0.75)) : low - 4, middle - 2 : middle + 4]
        abdomen = image[low + 4 : low + 8, middle - 10 : middle]
        dark = image[binary_erosion(lungs).astype(bool)].mean()
        assert dark < 0.8 * heart.mean()
        assert dark < 0.8 * abdomen.mean()


def test_lungs_are_two_and_the_right_one_ends_higher():
    across = np.linspace(0.12, 0.5, 20)
    for seed in SEEDS:
        chest = Anatomy.random(np.random.default_rng(seed))
        assert (chest.diaphragm(-across) < chest.diaphragm(across)).all()
        assert euler_number(draw(seed).lungs[0].numpy(), connectivity=2) == 2


def test_opacity_lies_in_the_lungs():
    for seed in SEEDS:
        phantom = draw(seed, 128)
        lungs = binary_dilation(phantom.lungs[0].numpy(), iterations=3)
        opacity = phantom.opacity[0].numpy()
        assert (opacity & lungs).sum() >= 0.95 * opacity.sum()


def test_opacities_range_from_subtle_to_dense():
    drawn = [draw(seed, label=1) for seed in range(100, 140)]
    peaks = np.array([float((p.image - p.truth).max()) for p in drawn])
    areas = np.array([int(p.opacity.sum()) for p in drawn])
    assert peaks.min() < 0.15
    assert peaks.max() > 0.3
    assert np.quantile(areas, 0.9) > 3 * np.quantile(areas, 0.1)


def test_a_seed_is_the_same_chest_at_every_size():
    for seed, factor in ((0, 2), (1, 2), (2, 2), (3, 4)):
        small, large = draw(seed, 64, label=1), draw(seed, 64 * factor, label=1)
        shrunk = avg_pool2d(large.image, factor)
        pair = torch.stack([small.image.flatten(), shrunk.flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.98
        lungs = avg_pool2d(large.lungs.float(), factor) > 0.5
        overlap = (lungs & small.lungs).sum() / (lungs | small.lungs).sum()
        assert overlap > 0.93
    assert draw(0, 224).image.shape == (1, 224, 224)


def test_chests_differ_from_seed_to_seed():
    images = torch.stack([draw(seed, label=0).image.flatten() for seed in SEEDS])
    between = torch.corrcoef(images)[~torch.eye(len(SEEDS), dtype=torch.bool)]
    assert between.max() < 0.98
    assert images.mean(dim=1).std() > 0.02


def test_drawing_is_deterministic():
    assert same(draw(5, 64, None, 0.7), draw(5, 64, None, 0.7))


def test_exposure_does_not_know_the_label():
    labels = [draw(seed, 16).label for seed in range(60)]
    assert 15 < sum(labels) < 45
    phantoms = [draw(seed, 16, label) for seed in SEEDS for label in (0, 1)]
    corners = torch.stack([p.image[0, [0, 0, -1, -1], [0, -1, 0, -1]] for p in phantoms])
    assert torch.equal(corners[::2], corners[1::2])


@pytest.mark.parametrize(("shortcut", "n"), [(0.0, 20), (0.8, 80), (1.0, 30)])
def test_marker_follows_the_label_as_often_as_the_shortcut_says(shortcut, n):
    for label in (0, 1):
        shown = sum(bool(draw(seed, 16, label, shortcut).marker.any()) for seed in range(n))
        chance = (1 + (2 * label - 1) * shortcut) / 2 if shortcut else 0.0
        assert abs(shown - n * chance) <= 4 * np.sqrt(n * chance * (1 - chance))


def test_marker_is_bright_stays_in_the_truth_and_leaves_the_lungs_alone():
    for seed in SEEDS:
        plain, marked = draw(seed, label=1), draw(seed, label=1, shortcut=1.0)
        assert marked.marker.any()
        assert not (marked.marker & (marked.lungs | marked.opacity)).any()
        assert torch.equal(marked.image[marked.marker], marked.truth[marked.marker])
        assert torch.equal(marked.image[~marked.marker], plain.image[~marked.marker])
        assert (marked.image - plain.image).max() > 0.25
        rows, columns = np.nonzero(marked.marker[0].numpy())
        assert rows.max() < 16
        assert columns.max() < 16 or columns.min() >= 48


def test_samples_are_balanced_unique_and_never_shared_between_splits():
    drawn = samples({"train": 60, "val": 10, "test": 20}, shortcut=0.9)
    assert len({sample.path for sample in drawn}) == len(drawn) == 90
    assert len({sample.patient for sample in drawn}) == 90
    for split, count in (("train", 60), ("val", 10), ("test", 20)):
        labels = [sample.label for sample in drawn if sample.split == split]
        assert [labels.count(name) for name in CLASSES] == [count // 2, count // 2]
    assert len(samples()) == sum(DEFAULT_COUNTS.values())


@pytest.mark.parametrize("shortcut", [0.0, 0.123456789, 1e-7, 1.0])
def test_a_path_names_its_phantom(shortcut):
    for sample in samples({"test": 2}, shortcut):
        phantom = of_path(sample.path, 32)
        assert CLASSES[phantom.label] == sample.label
        assert sample.patient is not None
        seed = int(sample.patient.removeprefix("phantom-"))
        assert same(phantom, draw(seed, 32, phantom.label, shortcut))


def test_another_opacity_changes_nothing_else():
    path = "test/NORMAL/phantom-20000000-s0.9.png"
    own, (first, second) = of_path(path), others_of_path(path, 2)
    for other in (first, second):
        assert torch.equal(other.image, own.image)
        assert torch.equal(other.marker, own.marker)
        outside = ~(own.opacity | other.opacity)
        torch.testing.assert_close(other.truth[outside], own.truth[outside], atol=0.021, rtol=0)
    assert not torch.equal(first.opacity, second.opacity)
    assert same(second, draw(20_000_000, label=0, shortcut=0.9, opacity=OTHERS + 1))


@pytest.mark.parametrize(
    "path",
    [
        "test/OPACITY/person1_virus_6.jpeg",
        "phantom-00000001-s0.0.png",
        "test/PNEUMONIA/phantom-20000001-s0.0.png",
        "nowhere/OPACITY/phantom-20000001-s0.0.png",
        "test/OPACITY/phantom-20000001-s0.9.9.png",
        "test/OPACITY/phantom-20000001-s2.0.png",
    ],
)
def test_a_path_that_names_no_phantom_is_an_error(path):
    with pytest.raises(ValueError, match="expected"):
        of_path(path)


@pytest.mark.parametrize(
    "arguments",
    [(-1,), (0, 8), (0, 64, 2), (0, 64, -1), (0, 64, 0, 1.1), (0, 64, 0, float("nan"))],
)
def test_arguments_out_of_range_are_errors(arguments):
    with pytest.raises(ValueError, match="expected"):
        draw(*arguments)


@pytest.mark.parametrize("counts", [{"train": 3}, {"train": -2}, {"dev": 2}, {"val": 20_000_000}])
def test_counts_that_cannot_be_are_errors(counts):
    with pytest.raises(ValueError, match="expected"):
        samples(counts)
