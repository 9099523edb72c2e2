"""A real training of a tiny prior on a few phantoms, and what is read of it."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cfgen.data.phantom import samples
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
    """The recipe of a bundle whose prior has been trained for two epochs of two steps."""
    folder = tmp_path_factory.mktemp("prior")
    test_training.draw_films(folder / "films", {"train": 24, "test": 4})
    section = {
        "widths": [8, 16], "layers": 1, "sample_every": 1,
        "schedule": {"batch_size": 8, "ema": 0.5, "epochs": 2, "seed": 3},
    }  # fmt: skip
    trainer = {"accelerator": "cpu", "devices": 1}
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
    # Stored in half precision, to 11 bits.
    expected = given.mean((0, 2, 3))
    np.testing.assert_allclose(found.code_mean.flatten(), expected, atol=1e-4, rtol=1e-3)
    np.testing.assert_allclose(found.code_std.flatten(), given.std((0, 2, 3)), rtol=1e-2)


def test_the_sheets_of_samples_show_both_classes(trained):
    with Image.open(trained.bundle / "prior" / "samples.png") as sheet:
        # Eight in a row, with two pixels between them and around.
        assert sheet.size == (8 * 66 + 2, 2 * 66 + 2)
        assert np.asarray(sheet).std() > 1
    assert list((trained.logs / "tiny" / "prior").rglob("samples-001.png"))


def test_the_sheet_in_the_log_is_drawn_from_the_averaged_weights(trained):
    logs = trained.logs / "tiny" / "prior"
    best = torch.load(logs / "best.ckpt", weights_only=True)["epoch"] + 1
    # What is saved are the averaged weights of the best epoch; the noise is the same.
    (logged,) = logs.rglob(f"samples-{best:03d}.png")
    shown, saved = (
        np.asarray(Image.open(file), dtype=int)
        for file in (logged, trained.bundle / "prior" / "samples.png")
    )
    assert abs(shown - saved).max() <= 1


def test_a_training_cut_off_ends_where_an_uninterrupted_one_does(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "DRAWS", 5)
    monkeypatch.setattr(prior, "DRAWN", 4)
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "0")
    shutil.copytree(trained.bundle, tmp_path / "tiny", ignore=shutil.ignore_patterns("prior"))
    options = [
        "--config", str(trained.bundle.parent / "recipe.yaml"),
        "--bundle", str(tmp_path / "tiny"), "--logs", str(tmp_path / "logs"),
    ]  # fmt: skip
    step, calls = prior.PriorTraining.training_step, []

    def until_the_power_fails(self, batch, index):
        calls.append(index)
        if len(calls) == 4:
            raise OSError("no power")
        return step(self, batch, index)

    monkeypatch.setattr(prior.PriorTraining, "training_step", until_the_power_fails)
    with pytest.raises(OSError, match="no power"):
        prior.main(options)
    assert not (tmp_path / "tiny" / "prior").exists()
    monkeypatch.setattr(prior.PriorTraining, "training_step", step)
    prior.main(options)
    expected, got = (
        torch.load(logs / "tiny" / "prior" / "last.ckpt", weights_only=True)
        for logs in (trained.logs, tmp_path / "logs")
    )
    assert expected["global_step"] == got["global_step"] == 4
    for state in ("state_dict", "current_model_state"):
        for name, value in expected[state].items():
            torch.testing.assert_close(got[state][name], value, atol=1e-6, rtol=0)


@pytest.mark.parametrize("changed", ["code_mean", "code_std"])
def test_a_training_is_not_taken_up_with_the_codes_of_another_autoencoder(trained, changed):
    coder = load_autoencoder(trained.bundle / "autoencoder")
    module = prior.PriorTraining(load_prior(trained.bundle / "prior"), trained.prior, coder)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    module.on_load_checkpoint({"state_dict": state})
    state[f"prior.{changed}"][1] += 0.1
    with pytest.raises(ValueError, match=rf"the {changed} .* of another autoencoder; do remove"):
        module.on_load_checkpoint({"state_dict": state})
    state[f"prior.{changed}"] = state[f"prior.{changed}"][:2]
    with pytest.raises(ValueError, match="of another autoencoder"):
        module.on_load_checkpoint({"state_dict": state})


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


def test_codes_are_those_of_the_images_in_their_order(trained, images):
    autoencoder, val = load_autoencoder(trained.bundle / "autoencoder"), images[1]
    codes = prior.CodeSet(val, autoencoder, batch_size=1)
    assert len(codes) == len(val) == 2
    assert codes.samples == val.samples
    assert not codes.codes.is_inference()  # training has to go through them
    for row in range(2):
        with torch.no_grad():
            expected = autoencoder.encode(val[row][0][None])[0]
        torch.testing.assert_close(codes[row][0], expected, atol=1e-4, rtol=1e-4)
        assert codes[row][1] == val[row][1]


@pytest.fixture
def silent(trained):
    """A training whose network predicts nothing; what it logs and is shown is noted."""
    coder = load_autoencoder(trained.bundle / "autoencoder")
    module = prior.PriorTraining(load_prior(trained.bundle / "prior"), trained.prior, coder)
    module.prior.code_mean.zero_()
    module.prior.code_std.fill_(1)
    module.asked, module.logged = [], {}
    module.log = lambda name, value, **_: module.logged.update({name: float(value)})

    def forward(noisy, step, label):
        module.asked.append((noisy, step, label))
        return 0 * noisy

    module.prior.forward = forward
    return module


def test_the_loss_is_the_mean_squared_error_of_the_velocity(silent):
    codes = torch.randn(500, *silent.prior.code_shape)
    torch.manual_seed(0)
    loss = silent.training_step([codes, torch.zeros(500).long()], 0).item()
    ((noisy, step, _),) = silent.asked
    # Of no prediction it is the velocity's own variance: that of code and noise, a^2 + s^2 times.
    assert loss == pytest.approx(1, abs=0.02)
    assert step.min() < 20
    assert step.max() > 979
    # Noised code and velocity are code and noise, rotated: their length is kept.
    torch.manual_seed(0)
    torch.rand(500)
    torch.randint(1000, (500,))
    lengths = [one.double().square().mean().item() for one in (codes, torch.randn_like(codes))]
    expected = sum(lengths) - noisy.double().square().mean().item()
    assert loss == pytest.approx(expected, rel=1e-4)


def test_validation_looks_at_the_same_levels_each_time_and_never_without_the_class(silent):
    batch = [torch.randn(250, *silent.prior.code_shape), torch.arange(250) % 2]
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        silent.validation_step(batch, 3)
        losses.append(silent.logged["val_loss"])
    assert losses[0] == losses[1]
    _, step, label = silent.asked[0]
    assert torch.equal(label, batch[1])
    # As many levels as codes, each in a stretch of its own.
    assert torch.equal(step * 250 // 1000, torch.arange(250))
    silent.validation_step(batch, 4)
    assert silent.logged["val_loss"] != losses[0]


@pytest.mark.parametrize(("offset", "ratio"), [(0.0, 0.0), (0.5, 1.0), (1.0, 2.0)])
def test_the_reading_of_memory_tells_copies_from_codes_of_ones_own(
    trained, tmp_path, monkeypatch, offset, ratio
):
    monkeypatch.setattr(measure, "DRAWS", 5)
    shutil.copytree(trained.bundle / "prior", tmp_path / "prior")
    found = load_prior(tmp_path / "prior")
    train = torch.zeros(4, *found.code_shape)
    train[:, 0, 0, 0] = torch.arange(4.0) * 100
    monkeypatch.setattr(prior, "sample", lambda *_, **__: train + offset)
    held_out = prior.CodeSet.__new__(prior.CodeSet)
    held_out.codes, held_out.samples = train - 0.5, samples({"val": 4})
    prior.check_memory(replace(trained, bundle=tmp_path), found, train, held_out)
    ((metric, row),) = readings_of(tmp_path).items()
    assert metric == "nearest training code, samples over held-out"
    assert float(row["value"]) == pytest.approx(ratio, abs=1e-3)
    assert (row["split"], row["n"]) == ("val", "4")
    assert row["model"] == model_hash(tmp_path, "prior")
