import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from scipy import ndimage
from torch import nn

from cfgen.data.phantom import draw, of_path, samples
from cfgen.data.preprocessing import Preprocessing
from cfgen.data.samples import Sample, Source
from cfgen.models.autoencoder import Autoencoder
from cfgen.models.bundle import load_bundle
from cfgen.models.saving import WEIGHTS
from cfgen.models.segmenter import Segmenter, load_segmenter
from train import measure
from train import segmenter as module
from train.data import ImageSet
from train.disturb import disturb
from train.pseudo import Plausible, clean, propose
from train.recipe import Augmentation, SegmenterRecipe
from train.segmenter import SegmenterTraining, adopt, dice, draw_phantoms

STILL = Augmentation(*[0.0] * 8)


def small(seed=0):
    torch.manual_seed(seed)
    return Segmenter(side=16, widths=[4, 8]).eval().requires_grad_(False)


def films(n=4, side=32):
    return torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(1))


def ellipses(side=64, right=(0.5, 0.27), left=(0.5, 0.73), axes=(0.3, 0.14)):
    """Two lungs as ellipses: centres (down, across) and half axes as shares of the side."""
    down, across = (np.mgrid[:side, :side] + 0.5) / side
    lungs = [
        ((down - y) / axes[0]) ** 2 + ((across - x) / axes[1]) ** 2 <= 1 for y, x in (right, left)
    ]
    return lungs[0] | lungs[1]


@pytest.mark.parametrize("size", [(16, 16), (32, 32), (24, 40), (128, 128)])
def test_probabilities_have_the_size_of_the_image(size):
    probability = small()(torch.rand(2, 1, *size))
    assert probability.shape == (2, 1, *size)
    assert probability.min() >= 0
    assert probability.max() <= 1


def test_the_mask_is_where_the_probability_is_one_half_at_least():
    segmenter = small()
    assert torch.equal(segmenter.lungs(films()), segmenter(films()) >= 0.5)


def test_an_image_does_not_depend_on_its_batch():
    segmenter = small()
    alone = torch.cat([segmenter(one[None]) for one in films()])
    torch.testing.assert_close(segmenter(films()), alone)


def test_exposure_cancels():
    segmenter = small()
    torch.testing.assert_close(
        segmenter(0.5 * films() + 0.2), segmenter(films()), atol=0.02, rtol=0
    )


def test_a_film_of_one_brightness_is_no_exception():
    assert small()(torch.full((1, 1, 32, 32), 0.4)).isfinite().all()


def test_only_the_average_of_a_pixel_of_the_network_counts():
    segmenter = small()
    fine = films()
    blocks = nn.functional.avg_pool2d(fine, 2).repeat_interleave(2, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(segmenter(fine), segmenter(blocks))


def test_gradients_reach_every_part_of_the_image():
    images = films().requires_grad_()
    (gradient,) = torch.autograd.grad(small()(images).sum(), images)
    assert gradient.isfinite().all()
    assert (gradient != 0).double().mean() > 0.99


def test_the_network_is_small():
    assert sum(weights.numel() for weights in Segmenter().parameters()) <= 250_000


def test_a_round_trip_over_the_disk_is_exact(tmp_path):
    segmenter = small()
    segmenter.save_pretrained(tmp_path / "s")
    again = load_segmenter(tmp_path / "s")
    torch.testing.assert_close(again(films()), segmenter(films()))
    assert not again.training
    assert not any(weights.requires_grad for weights in again.parameters())
    assert load_file(tmp_path / "s" / WEIGHTS).keys() == segmenter.state_dict().keys()


def test_an_autoencoder_is_no_segmenter(tmp_path):
    Autoencoder(size=32, widths=[16]).save_pretrained(tmp_path / "a")
    with pytest.raises(ValueError, match=r"a saved Segmenter in .*a, got a Autoencoder"):
        load_segmenter(tmp_path / "a")


def test_a_bundle_has_its_segmenter(tiny_bundle_path, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "bundle.yaml").write_text((tiny_bundle_path / "bundle.yaml").read_text())
    small().save_pretrained(tmp_path / "b" / "segmenter")
    bundle = load_bundle(tmp_path / "b")
    torch.testing.assert_close(bundle.segmenter(films()), small()(films()))
    assert bundle.segmenter is bundle.segmenter


def test_a_bundle_without_one_says_so(tiny_bundle_path, tmp_path):
    ignored = shutil.ignore_patterns("segmenter")
    less = load_bundle(shutil.copytree(tiny_bundle_path, tmp_path / "less", ignore=ignored))
    with pytest.raises(ValueError, match=r"a saved Segmenter in .*segmenter, got no config"):
        _ = less.segmenter


def test_dice_is_that_of_sets():
    random = np.random.default_rng(0)
    one, other = random.random((2, 5, 1, 8, 8)) < 0.4
    one[4] = other[4] = False
    expected = [
        2 * len(a & b) / (len(a) + len(b)) if a or b else 1.0
        for a, b in ((set(np.flatnonzero(one[i])), set(np.flatnonzero(other[i]))) for i in range(5))
    ]
    got = dice(torch.tensor(one), torch.tensor(other))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_the_loss_is_cross_entropy_and_one_less_soft_dice():
    training = SegmenterTraining(small(), SegmenterRecipe(augmentation=STILL))
    images, masks = films(), (films().flip(0) > 0.5).float()
    z, m = training.segmenter.logits(images).double().numpy(), masks.double().numpy()
    p = 1 / (1 + np.exp(-z))
    cross = -(m * np.log(p) + (1 - m) * np.log(1 - p)).mean()
    overlap = 2 * (p * m).sum((1, 2, 3)) / (p + m).sum((1, 2, 3))
    seen = []
    training.log = lambda name, value, **_: seen.append((name, value.item()))
    training.validation_step([images, masks], 0)
    assert seen == [("val_loss", pytest.approx(cross + 1 - overlap.mean(), rel=1e-5))]


def test_phantoms_come_with_the_masks_of_their_lungs():
    images, masks = draw_phantoms(2, 5, 32).tensors
    for place, seed in enumerate((5, 6)):
        phantom = draw(seed, 32)
        torch.testing.assert_close(images[place].float(), phantom.image, atol=1e-3, rtol=0)
        assert torch.equal(masks[place], phantom.lungs)


def test_what_moves_a_film_moves_its_mask(monkeypatch):
    for name in ("BIAS", "VEILED", "PATCHES"):
        monkeypatch.setattr(f"train.disturb.{name}", 0)
    torch.manual_seed(0)
    masks = torch.tensor(ellipses())[None, None].float().repeat(8, 1, 1, 1)
    how = replace(STILL, rotation=12.0, translation=0.1, scale=0.3)
    images, moved = disturb(0.8 * masks, masks, how)
    torch.testing.assert_close(images, 0.8 * moved, atol=1e-5, rtol=0)
    areas = moved.mean((1, 2, 3))
    assert len(areas.unique()) == 8
    assert areas.min() > 0


def test_a_film_is_mirrored_half_of_the_time(monkeypatch):
    for name in ("BIAS", "VEILED", "PATCHES", "STRETCH"):
        monkeypatch.setattr(f"train.disturb.{name}", 0)
    torch.manual_seed(0)
    images = films(1).repeat(200, 1, 1, 1)
    changed, _ = disturb(images, images, STILL)
    same = (changed - images).abs().amax((1, 2, 3)) < 1e-4
    mirrored = (changed - images.flip(-1)).abs().amax((1, 2, 3)) < 1e-4
    assert (same ^ mirrored).all()
    assert 70 < same.sum() < 130


def test_a_veil_brightens_lungs_and_leaves_the_rest_and_the_mask(monkeypatch):
    for name, value in (("BIAS", 0), ("PATCHES", 0), ("STRETCH", 0), ("VEILED", 1)):
        monkeypatch.setattr(f"train.disturb.{name}", value)
    torch.manual_seed(0)
    masks = torch.tensor(ellipses())[None, None].float().repeat(8, 1, 1, 1)
    images = 0.7 - 0.5 * masks
    veiled, kept = disturb(images, masks, STILL)
    # Ellipses are symmetric, so that mirrored films are the same.
    torch.testing.assert_close(kept, masks, atol=1e-4, rtol=0)
    rise = veiled - images
    assert rise[masks < 0.5].abs().max() < 1e-4
    assert rise.min() > -1e-4
    assert (rise.amax((1, 2, 3)) > 0.02).all()
    assert veiled.max() <= 0.7 + 1e-4


def test_disturbed_films_stay_in_range(phantoms):
    torch.manual_seed(0)
    masks = torch.ones_like(phantoms)
    images, moved = disturb(phantoms.repeat(4, 1, 1, 1), masks.repeat(4, 1, 1, 1), STILL)
    for tensor in (images, moved):
        assert tensor.isfinite().all()
        assert tensor.min() >= 0
        assert tensor.max() <= 1


def test_a_mirrored_film_gets_the_mirrored_proposal():
    segmenter = small()
    torch.testing.assert_close(
        propose(segmenter, films()), propose(segmenter, films().flip(-1)).flip(-1)
    )


def test_plausible_lungs_are_kept_about_as_they_are():
    lungs = ellipses()
    found = clean(lungs.astype(np.float64), Plausible())
    assert found is not None
    assert (found ^ lungs).mean() < 0.01


def test_holes_are_filled_and_specks_are_dropped():
    lungs = ellipses()
    spoilt = lungs.copy()
    spoilt[30:34, 16:19] = False
    spoilt[2:6, 2:6] = True
    found = clean(spoilt.astype(np.float64), Plausible())
    assert found is not None
    assert found[30:34, 16:19].all()
    assert not found[2:6, 2:6].any()
    assert ndimage.label(found)[1] == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"right": (0.5, 0.5)},  # one part
        {"axes": (0.1, 0.08)},  # too small
        {"axes": (0.48, 0.22)},  # too large
        {"left": (0.38, 0.73)},  # not level
        {"left": (0.43, 0.73)},  # one top above the other
        {"right": (0.5, 0.42), "axes": (0.3, 0.1)},  # not apart
    ],
)
def test_implausible_lungs_are_refused(changes):
    assert clean(ellipses(**changes).astype(np.float64), Plausible()) is None


def test_a_bitten_lung_and_a_missing_one_are_refused():
    bitten = ellipses()
    bitten[20:44, 10:20] = False
    assert clean(bitten.astype(np.float64), Plausible()) is None
    half = ellipses()
    half[:, 32:] = False
    assert clean(half.astype(np.float64), Plausible()) is None
    assert clean(np.zeros((64, 64)), Plausible()) is None


def image_set(images):
    source = Source(
        "made up",
        ("NORMAL", "OPACITY"),
        [Sample(f"{i}.png", ("NORMAL", "OPACITY")[i % 2], "val") for i in range(len(images))],
        lambda sample: images[int(sample.path[:-4])],
    )
    return ImageSet(source, source.samples, Preprocessing(size=64))


class Taught(Segmenter):
    """Takes what is bright for lung."""

    def logits(self, images):
        return 100 * (images - 0.5)


def test_films_with_plausible_lungs_are_adopted_in_order(capsys):
    lungs = torch.tensor(ellipses()).float()
    brightness = torch.tensor([0.8, 0.0, 1.0, 0.3])
    films = image_set(lungs * brightness[:, None, None, None])
    images, masks = adopt(Taught(side=32), films).tensors
    assert "plausible lungs on 2 of 4 films" in capsys.readouterr().err
    torch.testing.assert_close(
        images.amax((1, 2, 3)).float(), torch.tensor([0.8, 1.0]), atol=0.01, rtol=0
    )
    assert masks.shape == (2, 1, 32, 32)
    assert (masks[0, 0].numpy() ^ ellipses(32)).mean() < 0.03


def test_no_plausible_film_leaves_an_empty_set():
    found = adopt(Taught(side=32), image_set(torch.zeros(2, 1, 64, 64)))
    assert len(found) == 0


@pytest.mark.filterwarnings(
    "ignore:The number of training batches",
    "ignore:Found .* module\\(s\\) in eval mode at the start of training",
    "ignore:The '.*_dataloader' does not have many workers",
    "ignore:GPU available but not used",
    "ignore:Checkpoint directory .* exists and is not empty",
    "ignore:`isinstance\\(treespec, LeafSpec\\)` is deprecated",
)
def test_a_training_makes_a_segmenter_with_its_card_and_repeats_it(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "HELD_OUT", 4)
    monkeypatch.setattr(measure, "DRAWS", 5)
    monkeypatch.setattr(module, "clean", lambda probability, _: probability > 0.5)
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "0")
    for sample in samples({"train": 8}):
        path = tmp_path / "films" / sample.path
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((of_path(sample.path, 32).image[0] * 255).byte().numpy()).save(path)
    weights = []
    for name in ("one", "two"):
        how = {
            "side": 16, "widths": [4, 8], "phantoms": 8, "rounds": [1],
            "schedule": {"epochs": 2, "batch_size": 4, "ema": 0.5},
        }  # fmt: skip
        described = {
            "bundle": str(tmp_path / name / "tiny"), "logs": str(tmp_path / name / "logs"),
            "data": str(tmp_path / "films"), "preprocessing": {"size": 32}, "segmenter": how,
            "trainer": {"accelerator": "cpu", "devices": 1},
        }  # fmt: skip
        recipe = tmp_path / f"{name}.yaml"
        recipe.write_text(yaml.safe_dump(described))
        module.main(["--config", str(recipe)])
        weights.append(load_file(tmp_path / name / "tiny" / "segmenter" / WEIGHTS))
    assert all(torch.equal(tensor, weights[1][key]) for key, tensor in weights[0].items())
    logs = tmp_path / "one" / "logs" / "tiny" / "segmenter"
    steps = [
        torch.load(logs / part / "last.ckpt", weights_only=True)["global_step"]
        for part in ("phantoms", "round-1")
    ]
    assert steps == [4, 3]  # 8 phantoms, then with the 6 films of the training side
    bundle = load_bundle(tmp_path / "one" / "tiny")
    assert bundle.segmenter(films(2)).shape == (2, 1, 32, 32)
    card = (bundle.path / "segmenter" / "README.md").read_text()
    for text in ("cfgen train segmenter --config", "| Dice |", "| area, OPACITY |", "two lungs"):
        assert text in card
