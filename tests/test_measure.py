import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from scipy.stats import norm, rankdata

from cfgen.data.phantom import of_path, samples
from cfgen.models.bundle import load_bundle
from cfgen.models.saving import WEIGHTS
from train import measure as module
from train.card import LOG, Reading, add_readings, model_hash, read_readings, write_card
from train.measure import main
from train.recipe import ClassifierRecipe, Recipe, Schedule

LICENCE = "Phantoms of the tests, CC0."


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch):
    monkeypatch.setattr(module, "DRAWS", 40)


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    """A class-folder tree of phantoms: 16 for training and 8 for testing."""
    root = tmp_path_factory.mktemp("films")
    for sample in samples({"train": 16, "test": 8}):
        path = root / sample.path
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = (of_path(sample.path, 64).image[0] * 255).round().byte().numpy()
        Image.fromarray(pixels).save(path)
    return root


@pytest.fixture
def bundle(tiny_bundle_path, films, tmp_path) -> Path:
    """The tiny bundle with a cut of these films: three of every class for validation."""
    path = shutil.copytree(tiny_bundle_path, tmp_path / "tiny")
    rows = [["path", "split"]]
    for place, file in enumerate(sorted((films / "train").rglob("*.png"))):
        side = "val" if place % 8 < 3 else "train"
        rows.append([file.relative_to(films).as_posix(), side])
    with (path / "split.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return path


@pytest.fixture
def recipe(bundle, films, tmp_path) -> Path:
    path = tmp_path / "recipe.yaml"
    described = {
        "bundle": str(bundle),
        "data": str(films),
        "preprocessing": {"size": 64},
        "judges": {"second": {"schedule": {"seed": 77}}},
        "card": LICENCE,
    }
    path.write_text(yaml.safe_dump(described))
    return path


def images_of(films: Path, bundle: Path, split: str):
    """The images of a split and their labels, read another way than the code reads them."""
    if split == "test":
        paths = sorted(path.relative_to(films).as_posix() for path in films.glob("test/*/*.png"))
    else:
        with (bundle / "split.csv").open() as file:
            paths = [row["path"] for row in csv.DictReader(file) if row["split"] == split]
    pixels = [np.asarray(Image.open(films / path), dtype=np.float32) / 255 for path in paths]
    labels = np.array([int("/OPACITY/" in path) for path in paths])
    return torch.tensor(np.stack(pixels))[:, None].half().float(), labels


def newest(bundle: Path, part: str, split: str) -> dict[str, Reading]:
    return {r.metric: r for r in read_readings(bundle, part) if r.split == split}


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("part", ["classifier", "judges/second"])
def test_what_is_read_off_a_classifier_is_what_numpy_finds(recipe, bundle, films, part, split):
    main(["--config", str(recipe), "--split", split])
    images, labels = images_of(films, bundle, split)
    models = load_bundle(bundle)
    model = models.classifier if part == "classifier" else models.judges["second"]
    p = model(images).double().softmax(1).numpy()
    decided = (p[:, 1] >= model.thresholds[1]).astype(int)
    found = newest(bundle, part, split)
    positives, negatives = (labels == 1).sum(), (labels == 0).sum()
    ranks = rankdata(p[:, 1])[labels == 1].sum() - positives * (positives + 1) / 2
    expected = {
        "AUROC": ranks / (positives * negatives),
        "accuracy": (decided == labels).mean(),
        "share of NORMAL found": (decided == labels)[labels == 0].mean(),
        "share of OPACITY found": (decided == labels)[labels == 1].mean(),
        "cross-entropy": -np.log(p[np.arange(len(p)), labels]).mean(),
    }
    for metric, value in expected.items():
        assert found[metric].value == pytest.approx(value, abs=1e-3)
    assert {reading.n for reading in found.values()} == {len(labels)}
    for reading in found.values():
        assert reading.low <= reading.high


def test_what_is_read_off_the_autoencoder_is_what_numpy_finds(recipe, bundle, films):
    main(["--config", str(recipe)])
    images, _ = images_of(films, bundle, "val")
    models = load_bundle(bundle)
    rebuilt = models.autoencoder.decode(models.autoencoder.encode(images)).clamp(0, 1)
    errors = ((images - rebuilt) ** 2).double().mean((1, 2, 3)).numpy()
    found = newest(bundle, "autoencoder", "val")
    assert found["PSNR (dB)"].value == pytest.approx((-10 * np.log10(errors)).mean(), abs=0.01)
    for name, model in {
        "classifier": models.classifier,
        "judges/second": models.judges["second"],
    }.items():
        agrees = (model.predict(images) == model.predict(rebuilt)).double().mean().item()
        assert found[f"agreement of {name}"].value == pytest.approx(agrees, abs=1e-3)


def test_auroc_is_of_probabilities_however_small_the_logits(recipe, bundle, films):
    model = load_bundle(bundle).classifier
    images, labels = images_of(films, bundle, "test")
    features, last = model.features(images), model.network.head[-1]
    with torch.no_grad():
        # Both logits grow with the class, the second one faster, and all lie in [0, 1].
        apart = features[labels == 1].mean(0) - features[labels == 0].mean(0)
        last.weight[:] = torch.stack([0.9 * apart, apart]) / (features @ apart).abs().max() / 4
        last.bias[:] = 0.5
    model.save_pretrained(bundle / "classifier")
    main(["--config", str(recipe), "--split", "test"])
    logits = model(images)
    assert logits.min() > 0
    assert logits.max() < 1
    p = logits.double().softmax(1)[:, 1].numpy()
    pairs = p[labels == 1][:, None] - p[labels == 0][None]
    found = newest(bundle, "classifier", "test")["AUROC"].value
    assert found == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean(), abs=1e-3)
    assert found > 0.6


def test_every_look_at_a_split_is_kept_and_named_on_the_card(recipe, bundle):
    main(["--config", str(recipe)])
    card = (bundle / "classifier" / "README.md").read_text()
    assert "val (n = 6)" in card
    assert "none yet" in card
    for _ in range(2):
        main(["--config", str(recipe), "--split", "test"])
    card = (bundle / "classifier" / "README.md").read_text()
    looks = [r for r in read_readings(bundle, "classifier") if r.metric == "AUROC"]
    assert [look.split for look in looks] == ["val", "test", "test"]
    assert "val (n = 6) | test (n = 8)" in card
    assert f"test on {looks[-1].date}" in card


def test_a_card_says_what_it_needs_to(recipe, bundle):
    main(["--config", str(recipe)])
    for part, section in {
        "classifier": "classifier", "judges/second": "judge", "autoencoder": "autoencoder",
    }.items():  # fmt: skip
        card = (bundle / part / "README.md").read_text()
        assert card.startswith(f"# tiny: {part}\n")
        assert LICENCE in card
        assert "10 images for training and 6 for\nvalidation" in card
        assert f"`cfgen train {section} --config" in card
        assert ("--data DIR --name second`" in card) == (section == "judge")
        assert f"with seed {77 if section == 'judge' else 0}" in card
        assert "Not for diagnosis" in card
        block = card.split("```yaml\n")[1].split("```")[0]
        assert yaml.safe_load(block)["schedule"]["batch_size"] > 0
        for metric in newest(bundle, part, "val"):
            assert f"| {metric} |" in card


def test_every_classifier_and_judge_is_measured_under_its_folder(recipe, bundle):
    others = {"classifiers": "robust", "judges": "border", "development": "first"}
    described = yaml.safe_load(recipe.read_text())
    for folder, name in others.items():
        shutil.copytree(bundle / "classifier", bundle / folder / name)
        described.setdefault(folder, {})[name] = {"view": "border"} if name == "border" else {}
    recipe.write_text(yaml.safe_dump(described))
    main(["--config", str(recipe)])
    expected = newest(bundle, "classifier", "val")["AUROC"].value
    for folder, name in others.items():
        assert newest(bundle, f"{folder}/{name}", "val")["AUROC"].value == expected
        assert f"agreement of {folder}/{name}" in newest(bundle, "autoencoder", "val")
        card = (bundle / folder / name / "README.md").read_text()
        assert f"Its name is {name}." in card
        assert ("what is outside a box" in card) == (name == "border")
    assert "no judge of the results" in (bundle / "development/first/README.md").read_text()


def test_an_unknown_split_is_named(recipe):
    with pytest.raises(ValueError, match="one of the splits test, train"):
        main(["--config", str(recipe), "--split", "holdout"])


def test_a_draw_that_misses_a_class_is_no_statistic_of_it():
    assert np.isnan(
        module.mean_of(torch.ones(3), torch.tensor([False, False, True]))(np.array([0]))
    )


def test_intervals_are_drawn_over_patients_not_images():
    random = np.random.default_rng(0)
    patients = np.repeat(np.arange(50), 8)
    values = random.normal(size=50)[patients]
    films = [
        module.Sample(f"{i}.png", "A", "val", patient=f"p{patient}")
        for i, patient in enumerate(patients)
    ]
    statistic = {"mean": module.mean_of(torch.tensor(values))}
    (by_patient,) = module.read_off("x", "0a", "val", statistic, films)
    apart = [module.Sample(f"{i}.png", "A", "val") for i in range(len(films))]
    (by_image,) = module.read_off("x", "0a", "val", statistic, apart)
    width = by_patient.high - by_patient.low
    expected = 2 * norm.ppf(0.975) * values.std() / np.sqrt(50)
    assert width == pytest.approx(expected, rel=0.4)
    assert width > 1.7 * (by_image.high - by_image.low)
    assert by_patient.value == by_image.value == pytest.approx(values.mean())


def test_readings_survive_a_round_trip(tmp_path):
    readings = [
        Reading("2024-01-02", part, "0a", "val", 7, "AUROC", 0.9123, 0.8, 1.0)
        for part in ("classifier", "judges/a")
    ]
    add_readings(tmp_path, readings[:1])
    add_readings(tmp_path, readings[1:])
    assert (tmp_path / LOG).read_text().splitlines()[0].startswith("date,part,model,split,n")
    assert read_readings(tmp_path, "classifier") == readings[:1]
    assert read_readings(tmp_path, "judges/a") == readings[1:]


def test_a_card_shows_the_newest_reading_of_each_split(tmp_path):
    (tmp_path / "classifier").mkdir()
    (tmp_path / "split.csv").write_text("path,split\na.png,train\nb.png,val\n")
    recipe = Recipe(tmp_path, "data", classifier=ClassifierRecipe(schedule=Schedule(seed=5)))
    (tmp_path / "classifier" / "config.json").write_text("{}")
    (tmp_path / "classifier" / WEIGHTS).write_bytes(b"now")
    now = model_hash(tmp_path, "classifier")

    def read(model, split, value):
        low, high = value - 0.1, value + 0.1
        line = Reading("d", "classifier", model, split, 3, "AUROC", value, low, high)
        add_readings(tmp_path, [line])

    read("before", "extern", 0.9)
    for value in (0.1, 0.7):
        read(now, "val", value)
    read(now, "test", 0.6)
    write_card(recipe, "classifier")
    card = (tmp_path / "classifier" / "README.md").read_text()
    assert "| AUROC | 0.700 [0.600, 0.800] | 0.600 [0.500, 0.700] |" in card
    assert "0.100" not in card
    # What was read of an earlier training is no longer shown, but that somebody looked is.
    assert "0.900" not in card
    assert "extern on d; test on d" in card
    assert "with seed 5" in card
