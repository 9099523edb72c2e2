"""A real training of a tiny prior on a few phantoms, and what is read of it."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cfgen.models.autoencoder import Autoencoder, load_autoencoder
from cfgen.models.prior import denoising_error, load_prior
from tests import test_training
from train import measure, prior
from train.card import model_hash
from train.command import parse_recipe
from train.data import ImageSet
from train.preparation import prepare

pytestmark = test_training.pytestmark


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The recipe of a bundle whose prior has been trained for two steps."""
    folder = tmp_path_factory.mktemp("prior")
    test_training.draw_films(folder / "films", {"train": 24, "test": 4})
    section = {
        "widths": [8, 16], "layers": 1, "sample_every": 1,
        "schedule": {"batch_size": 8, "ema": 0.5, "epochs": 2, "seed": 3},
    }  # fmt: skip
    trainer = {"accelerator": "cpu", "devices": 1, "max_steps": 3}
    path = test_training.write_recipe(folder, folder / "films", prior=section, trainer=trainer)
    torch.manual_seed(0)
    coder = Autoencoder(size=64, classes=["NORMAL", "OPACITY"], widths=[16, 32], latent_channels=4)
    coder.save_pretrained(folder / "tiny" / "autoencoder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "DRAWS", 5)
        patch.setattr(prior, "DRAWN", 4)
        for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
            patch.setenv(name, "0")
        prior.main(["--config", str(path)])
    return parse_recipe(["--config", str(path)])


@pytest.fixture(scope="module")
def images(trained) -> tuple[ImageSet, ImageSet]:
    return prepare(trained)[1:]


def readings_of(bundle: Path) -> dict[str, dict[str, str]]:
    with (bundle / "readings.csv").open() as file:
        return {row["metric"]: row for row in csv.DictReader(file) if row["part"] == "prior"}


def test_what_is_saved_has_the_shape_and_the_statistics_of_the_codes(trained, images):
    found = load_prior(trained.bundle / "prior")
    with torch.inference_mode():
        codes = load_autoencoder(trained.bundle / "autoencoder").encode(images[0].images.float())
    assert found.code_shape == tuple(codes.shape[1:])
    assert found.classes == ("NORMAL", "OPACITY")
    given = codes.double().numpy()
    np.testing.assert_allclose(found.code_mean.flatten(), given.mean((0, 2, 3)), atol=1e-4)
    np.testing.assert_allclose(found.code_std.flatten(), given.std((0, 2, 3)), rtol=1e-2)


def test_the_sheets_of_samples_show_both_classes(trained):
    with Image.open(trained.bundle / "prior" / "samples.png") as sheet:
        # Eight in a row, with two pixels between them and around.
        assert sheet.size == (8 * 66 + 2, 2 * 66 + 2)
        assert np.asarray(sheet).std() > 1
    assert list((trained.logs / "tiny" / "prior").rglob("samples-001.png"))


def test_the_readings_are_those_of_the_prior_that_was_saved(trained, images):
    rows = readings_of(trained.bundle)
    assert set(rows) == {
        "denoising error",
        "denoising error as another class",
        "true class denoises better",
        "nearest training code, samples over held-out",
    }
    assert {row["model"] for row in rows.values()} == {model_hash(trained.bundle, "prior")}
    found, val = load_prior(trained.bundle / "prior"), images[1]
    with torch.inference_mode():
        codes = load_autoencoder(trained.bundle / "autoencoder").encode(val.images.float())
        labels = torch.tensor(val.labels)
        own, other = (denoising_error(found, codes, one) for one in (labels, 1 - labels))
    for name, expected in (
        ("denoising error", own.mean()),
        ("denoising error as another class", other.mean()),
        ("true class denoises better", (own < other).double().mean()),
    ):
        assert float(rows[name]["value"]) == pytest.approx(expected.item(), abs=2e-3)
        assert int(rows[name]["n"]) == len(val)


def test_the_card_shows_the_samples_the_recipe_and_the_readings(trained):
    card = (trained.bundle / "prior" / "README.md").read_text()
    assert card.startswith("# tiny: prior")
    assert "samples.png" in card
    assert "class_dropout: 0.15" in card
    assert "with seed 3" in card
    for metric, row in readings_of(trained.bundle).items():
        assert metric in card
        assert f"{float(row['value']):.3f}" in card


def test_the_nearest_training_code_is_found_in_standard_deviations(trained):
    found = load_prior(trained.bundle / "prior")
    ours, train = torch.randn(2, *found.code_shape), torch.randn(5, *found.code_shape)
    std = found.code_std.numpy()
    expected = [
        min(np.sqrt((((a - b) / std) ** 2).sum()) for b in train.numpy()) for a in ours.numpy()
    ]
    np.testing.assert_allclose(prior.nearest(found, ours, train), expected, rtol=1e-3)


def test_classes_are_dropped_as_often_as_the_recipe_says(trained):
    found = load_prior(trained.bundle / "prior")
    autoencoder = load_autoencoder(trained.bundle / "autoencoder")
    module = prior.PriorTraining(found, trained.prior, autoencoder)
    asked = []
    module.log = lambda *_, **__: None
    found.forward = lambda noisy, step, label: asked.append(label) or 0 * noisy
    codes = torch.randn(2000, *found.code_shape)
    torch.manual_seed(0)
    module.training_step([codes, torch.ones(2000).long()], 0)
    (labels,) = asked
    assert set(labels.tolist()) == {1, found.no_class}
    share = (labels == found.no_class).double().mean().item()
    assert share == pytest.approx(trained.prior.class_dropout, abs=0.03)
