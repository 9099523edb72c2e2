"""Real trainings of tiny models on a few phantoms, in this process and in two others."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from cfgen.data.phantom import of_path, samples
from cfgen.data.samples import Sample
from cfgen.data.splits import PatientLeak, half_of, read_split
from cfgen.models.bundle import load_bundle, load_judges
from cfgen.models.saving import WEIGHTS
from cfgen.models.segmenter import Segmenter
from train import autoencoder, classifier, measure
from train.card import read_readings

REPOSITORY = Path(__file__).parents[1]

# What Lightning has to say of tiny data, of a frozen perceptual network, and of its own code.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        "The number of training batches",
        "Checkpoint directory .* exists and is not empty",
        "Found .* module\\(s\\) in eval mode at the start of training",
        "The '.*_dataloader' does not have many workers",
        "GPU available but not used",
        "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    )
]


def draw_films(root: Path, counts: dict[str, int]) -> list[str]:
    """Write phantoms as a class-folder tree; return their paths in it."""
    drawn = samples(counts)
    for sample in drawn:
        path = root / sample.path
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = (of_path(sample.path, 64).image[0] * 255).round().byte().numpy()
        Image.fromarray(pixels).save(path)
    return [sample.path for sample in drawn]


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("films")
    draw_films(root, {"train": 24, "test": 4})
    return root


def write_recipe(folder: Path, data: Path, **sections) -> Path:
    """A recipe for tiny models; its bundle and logs go into the same folder."""
    schedule = {"batch_size": 8, "ema": 0.5, "epochs": 2}
    network = {"architecture": "compact-resnet", "widths": [8, 16]}
    described = {
        "bundle": str(folder / "tiny"),
        "data": str(data),
        "logs": str(folder / "logs"),
        "preprocessing": {"size": 64},
        "classifier": {**network, "schedule": {**schedule, "seed": 11}},
        "judges": {"second": {**network, "schedule": {**schedule, "epochs": 1, "seed": 12}}},
        "classifiers": {
            "robust": {
                **network, "robust": {"pixel": 0.02, "latent": 0.2},
                "schedule": {**schedule, "epochs": 1, "seed": 15},
            },
        },
        "development": {
            "third": {**network, "half": "b", "schedule": {**schedule, "epochs": 1, "seed": 14}},
        },
        "autoencoder": {
            "widths": [16, 32], "latent_channels": 4, "perceptual": 0.2, "adversarial": 0.1,
            "schedule": {**schedule, "epochs": 1, "seed": 13},
        },
        "trainer": {"accelerator": "cpu", "devices": 1},
        "card": "Phantoms of the tests, CC0.",
        **sections,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(described))
    return path


@pytest.fixture(autouse=True, scope="module")
def _quick_and_tidy():
    """Few bootstrap draws, and none of Lightning's marks left in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "DRAWS", 5)
        for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
            patch.setenv(name, "0")
        yield


@pytest.fixture(scope="module")
def recipe(films, tmp_path_factory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("trained"), films)


@pytest.fixture(scope="module")
def trained(recipe) -> Path:
    """A bundle whose parts have all been trained, one after another."""
    classifier.main(["--config", str(recipe)])
    for name in ("second", "third"):
        classifier.main_judge(["--config", str(recipe), "--name", name])
    autoencoder.main(["--config", str(recipe)])
    classifier.main(["--config", str(recipe), "--name", "robust"])
    return recipe.parent / "tiny"


def weights_of(folder: Path):
    return load_file(folder / WEIGHTS)


def steps_of(logs: Path) -> list[list[int]]:
    """Steps that each start of a training has logged."""
    files = sorted((logs / "csv").rglob("metrics.csv"))
    return [
        [int(row["step"]) for row in csv.DictReader(file.read_text().splitlines())]
        for file in files
    ]


def test_a_bundle_has_the_files_it_promises(trained):
    for part in (
        "classifier", "judges/second", "development/third", "classifiers/robust", "autoencoder",
    ):  # fmt: skip
        for name in ("config.json", WEIGHTS, "README.md"):
            assert (trained / part / name).stat().st_size > 0
    for name in ("bundle.yaml", "split.csv", "readings.csv"):
        assert (trained / name).stat().st_size > 0
    described = yaml.safe_load((trained / "bundle.yaml").read_text())
    assert described["classes"] == ["NORMAL", "OPACITY"]
    assert described["size"] == described["preprocessing"]["size"] == 64


def test_the_cut_holds_every_training_image_once_and_no_test_image(trained, films):
    cut = read_split(trained / "split.csv")
    assert set(cut) == {p.relative_to(films).as_posix() for p in films.glob("train/*/*.png")}
    held_out = [path for path, side in cut.items() if side == "val"]
    assert sorted(path.split("/")[1] for path in held_out) == ["NORMAL", "OPACITY"]


def test_a_trained_bundle_opens_and_works(trained, films):
    bundle = load_bundle(trained)
    files = sorted(films.glob("train/*/*.png"))
    kept = {p for p, side in read_split(trained / "split.csv").items() if side == "train"}
    pixels = [
        np.asarray(Image.open(file), dtype=np.float32) / 255
        for file in files
        if file.relative_to(films).as_posix() in kept
    ]
    images = torch.tensor(np.stack(pixels))[:, None]
    assert bundle.classifier.mean == pytest.approx(images.mean().item(), abs=1e-3)
    assert bundle.classifier.std == pytest.approx(images.std().item(), abs=1e-3)
    assert bundle.classifier.temperature != 1.0
    assert sum(bundle.classifier.thresholds) == pytest.approx(1)
    assert list(bundle.judges) == ["second"]
    assert list(bundle.development) == ["third"]
    codes = bundle.autoencoder.encode(images)
    assert codes.std().item() == pytest.approx(1, abs=0.01)
    assert bundle.autoencoder.class_means.abs().sum() > 0


def test_cards_name_seed_command_and_licence(trained):
    for part, seed, command in (
        ("classifier", 11, "train classifier"),
        ("judges/second", 12, "train judge"),
        ("development/third", 14, "train judge"),
        ("classifiers/robust", 15, "train classifier"),
        ("autoencoder", 13, "train autoencoder"),
    ):
        card = (trained / part / "README.md").read_text()
        assert f"with seed {seed}" in card
        assert f"cfgen {command} --config" in card
        assert "Phantoms of the tests, CC0." in card
        assert "val (n = 2)" in card
        assert ("--name" in card) == ("/" in part)
    assert "half 'b' of the training patients only" in card_of(trained, "development/third")
    assert "half" not in card_of(trained, "judges/second").split("```")[0]


def card_of(bundle: Path, part: str) -> str:
    return (bundle / part / "README.md").read_text()


def test_a_judge_of_a_half_knows_the_images_of_that_half_alone(trained, films):
    kept = [
        Sample(path, None, None)
        for path, side in read_split(trained / "split.csv").items()
        if side == "train"
    ]
    names = [sample.path for sample in kept if half_of(sample) == "b"]
    assert 4 < len(names) < len(kept) - 4
    pixels = [np.asarray(Image.open(films / name), dtype=np.float32) / 255 for name in names]
    third = load_bundle(trained).development["third"]
    assert third.mean == pytest.approx(np.stack(pixels).mean(), abs=1e-4)
    assert abs(third.mean - load_bundle(trained).classifier.mean) > 1e-4


def test_each_judge_has_a_log_and_a_recipe_of_its_own(trained, recipe):
    logs = recipe.parent / "logs" / "tiny"
    for part, seed in (("judges/second", 12), ("development/third", 14)):
        assert yaml.safe_load((logs / part / "recipe.yaml").read_text())["schedule"]["seed"] == seed


@pytest.mark.parametrize(("name", "got"), [("fourth", "'fourth'"), ("", "''"), ("ird", "'ird'")])
def test_a_judge_is_named_by_one_of_the_recipes_names(recipe, name, got):
    with pytest.raises(ValueError, match=rf"judges/second, development/third.*got {got}"):
        classifier.main_judge(["--config", str(recipe), "--name", name])


def test_a_further_classifier_has_to_be_in_the_recipe(recipe):
    with pytest.raises(ValueError, match=r"the classifiers .* describes \(robust\), got 'seed1'"):
        classifier.main(["--config", str(recipe), "--name", "seed1"])


def test_robust_fine_tuning_starts_from_the_weights_it_names(trained, recipe, tmp_path):
    options = [
        "--config", str(recipe), "--name", "robust", "--bundle", str(tmp_path / "tiny"),
        "--logs", str(tmp_path / "logs"),
    ]  # fmt: skip
    shutil.copytree(trained, tmp_path / "tiny", ignore=shutil.ignore_patterns("robust"))
    start = weights_of(trained / "classifier")
    assert any(
        not torch.equal(value, start[name])
        for name, value in weights_of(trained / "classifiers" / "robust").items()
        if name.endswith("weight")
    )
    # A step of no length leaves them; batch norm's statistics are those of the attacked images.
    classifier.main([*options, "--classifiers.robust.schedule.learning_rate", "0"])
    kept = weights_of(tmp_path / "tiny" / "classifiers" / "robust")
    for name, value in kept.items():
        assert torch.equal(value, start[name]) != ("running" in name or "tracked" in name)


def test_the_price_of_robustness_is_on_its_card(trained):
    found = {reading.metric: reading for reading in read_readings(trained, "classifiers/robust")}
    price, own, start = (
        found[name].value for name in ("AUROC less the start's", "AUROC", "AUROC of the start")
    )
    assert price == pytest.approx(own - start, abs=2e-4)
    of_start = {r.metric: r for r in read_readings(trained, "classifier") if r.split == "val"}
    assert start == of_start["AUROC"].value
    card = card_of(trained, "classifiers/robust")
    assert "Fine-tuned from `classifier`" in card
    assert "| AUROC less the start's |" in card
    assert "less the start's" not in card_of(trained, "classifier")


def test_another_network_is_not_fine_tuned(trained, recipe, tmp_path):
    shutil.copytree(trained, tmp_path / "tiny")
    with pytest.raises(ValueError, match=r"the network of .*tiny/classifier.*architecture, widths"):
        classifier.main(
            ["--config", str(recipe), "--name", "robust", "--bundle", str(tmp_path / "tiny"),
             "--logs", str(tmp_path / "logs"), "--classifiers.robust.widths", "[8, 24]"]
        )  # fmt: skip


@pytest.mark.parametrize("view", ["lungs", "border"])
def test_a_judge_looks_through_the_bundles_segmenter(films, tmp_path, view):
    recipe = write_recipe(tmp_path, films)
    options = ["--config", str(recipe), "--name", "second", "--judges.second.view", view]
    with pytest.raises(ValueError, match=r"a saved Segmenter in .*tiny/segmenter"):
        classifier.main_judge(options)
    torch.manual_seed(5)
    segmenter = Segmenter(side=16, widths=[4, 8])
    segmenter.save_pretrained(tmp_path / "tiny" / "segmenter")
    classifier.main_judge(options)
    judges = tmp_path / "tiny" / "judges" / "second"
    inside = {
        name.removeprefix("segmenter."): value
        for name, value in weights_of(judges).items()
        if name.startswith("segmenter.")
    }
    expected = weights_of(tmp_path / "tiny" / "segmenter")
    assert inside.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in inside.items())
    (judge,) = load_judges(judges.parent).values()
    assert judge.view == view
    card = (judges / "README.md").read_text()
    assert {"lungs": "It sees the lungs alone", "border": "It sees only what is outside"}[
        view
    ] in card


def test_a_judge_is_of_the_panel_or_for_development_not_both(films, tmp_path):
    recipe = write_recipe(tmp_path, films, development={"second": {}})
    with pytest.raises(ValueError, match="share no name, got second in both"):
        classifier.main_judge(["--config", str(recipe), "--name", "second"])


def test_the_autoencoder_leaves_the_classifier_it_learned_from_alone(trained, recipe, tmp_path):
    # The classifier's weights in the autoencoder's checkpoint are those of the bundle.
    checkpoint = torch.load(
        recipe.parent / "logs" / "tiny" / "autoencoder" / "last.ckpt", weights_only=True
    )
    state, prefix = checkpoint["state_dict"], "perceptual.classifier."
    seen = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    saved = weights_of(trained / "classifier")
    assert seen.keys() == saved.keys()
    assert all(torch.allclose(seen[name], saved[name], atol=1e-6) for name in saved)
    assert any(name.startswith("discriminator.") for name in state)


def test_checkpoints_hold_every_weight_once(trained, recipe):
    logs = recipe.parent / "logs" / "tiny" / "classifier"
    for name in ("best.ckpt", "last.ckpt"):
        state = torch.load(logs / name, weights_only=True)["state_dict"]
        assert {key.split(".")[0] for key in state} == {"classifier"}


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (["--preprocessing.intensity", "minmax"], "minmax"),
        (["--preprocessing.size", "32"], "'size': 32"),
        (["--classes", "[OPACITY, NORMAL]"], r"\['OPACITY', 'NORMAL'\]"),
    ],
)
def test_another_preprocessing_in_the_same_bundle_is_refused(trained, recipe, change, got):
    before = (trained / "bundle.yaml").read_text()
    with pytest.raises(ValueError, match=rf"agree with .*tiny/bundle\.yaml.*got .*{got}"):
        classifier.main_judge(["--config", str(recipe), "--name", "second", *change])
    assert (trained / "bundle.yaml").read_text() == before


def test_new_training_images_need_a_new_bundle(trained, recipe, films, tmp_path):
    more = shutil.copytree(films, tmp_path / "more")
    Image.fromarray(np.eye(64, dtype=np.uint8)).save(more / "train" / "NORMAL" / "extra.png")
    with pytest.raises(ValueError, match=r"every training image in .*split\.csv.*extra\.png"):
        classifier.main(["--config", str(recipe), "--data", str(more)])


def test_the_autoencoder_needs_its_classifier_first(films, tmp_path):
    with pytest.raises(ValueError, match=r"a saved Classifier in .*classifier, got no config"):
        autoencoder.main(["--config", str(write_recipe(tmp_path, films))])


def test_more_epochs_are_added_to_what_is_there(films, tmp_path):
    recipe = write_recipe(tmp_path, films)
    logs = tmp_path / "logs" / "tiny" / "classifier"
    classifier.main(["--config", str(recipe), "--classifier.schedule.epochs", "1"])
    first = torch.load(logs / "last.ckpt", weights_only=True)
    classifier.main(["--config", str(recipe)])
    second = torch.load(logs / "last.ckpt", weights_only=True)
    assert (first["global_step"], second["global_step"]) == (2, 4)
    taken = [float(s["step"]) for s in second["optimizer_states"][0]["state"].values()]
    assert set(taken) == {4.0}
    # Each start keeps a log of its own.
    assert steps_of(logs) == [[1], [3]]


def test_a_training_cut_off_ends_where_an_uninterrupted_one_does(films, tmp_path, monkeypatch):
    whole, cut = (write_recipe(tmp_path / name, films) for name in ("whole", "cut"))
    classifier.main(["--config", str(whole)])
    augment, calls = classifier.augment, []

    def until_the_power_fails(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise OSError("no power")
        return augment(*arguments)

    monkeypatch.setattr(classifier, "augment", until_the_power_fails)
    with pytest.raises(OSError, match="no power"):
        classifier.main(["--config", str(cut)])
    monkeypatch.setattr(classifier, "augment", augment)
    classifier.main(["--config", str(cut)])
    assert_same_training(cut, whole)


def test_a_training_is_not_taken_up_by_another_recipe(films, tmp_path):
    recipe = write_recipe(tmp_path, films)
    (tmp_path / "logs" / "tiny" / "classifier").mkdir(parents=True)
    classifier.main(["--config", str(recipe), "--classifier.schedule.epochs", "1"])
    with pytest.raises(ValueError, match=r"the recipe in .*recipe\.yaml.*remove .*classifier"):
        classifier.main(["--config", str(recipe), "--classifier.schedule.seed", "99"])


def test_a_patient_in_two_splits_is_refused(films, tmp_path):
    rows = []
    for number, file in enumerate(sorted(films.glob("*/*/*.png"))):
        split, label = file.relative_to(films).parts[:2]
        rows.append([str(file), label, split, f"patient{number}"])
    rows[-1][3] = rows[0][3]  # one of the training patients is tested
    table = tmp_path / "films.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "split", "patient"], *rows])
    with pytest.raises(PatientLeak, match=r"got patient0 \(test and train\)"):
        classifier.main(["--config", str(write_recipe(tmp_path, table))])
    assert not (tmp_path / "tiny").exists()


def test_patients_of_a_table_stay_on_one_side(films, tmp_path):
    rows = []
    for number, file in enumerate(sorted(films.glob("train/*/*.png"))):
        rows.append([str(file), file.parent.name, "train", f"patient{number // 3}"])
    table = tmp_path / "films.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "split", "patient"], *rows])
    recipe = write_recipe(tmp_path, table)
    classifier.main(["--config", str(recipe), "--classifier.schedule.epochs", "1"])
    cut = read_split(tmp_path / "tiny" / "split.csv")
    sides = {patient: {cut[row[0]] for row in rows if row[3] == patient} for *_, patient in rows}
    assert all(len(side) == 1 for side in sides.values())
    assert {"train", "val"} == set(cut.values())


def test_a_class_that_cannot_be_validated_is_named(films, tmp_path):
    data = tmp_path / "data"
    draw_films(data, {"train": 6})
    for file in sorted((data / "train" / "OPACITY").iterdir())[1:]:
        file.unlink()
    with pytest.raises(ValueError, match=r"validation images of every class .* none of OPACITY"):
        classifier.main(["--config", str(write_recipe(tmp_path, data))])


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A training in processes of its own, as a user starts it."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")
    }
    return subprocess.run(
        [sys.executable, "-m", program, *arguments],
        cwd=REPOSITORY,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_two_processes_train_one_autoencoder(trained, recipe, tmp_path):
    shutil.copytree(trained, tmp_path / "tiny", ignore=shutil.ignore_patterns("autoencoder"))
    done = run(
        "train.autoencoder", "--config", str(recipe), "--bundle", str(tmp_path / "tiny"),
        "--logs", str(tmp_path / "logs"), "--trainer.devices", "2", "--trainer.strategy", "ddp",
        "--trainer.max_steps", "2", "--autoencoder.schedule.epochs", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    logs = tmp_path / "logs" / "tiny" / "autoencoder"
    assert torch.load(logs / "last.ckpt", weights_only=True)["global_step"] == 2
    assert (logs / "best.ckpt").is_file()
    assert load_bundle(tmp_path / "tiny").autoencoder.class_means.shape == (2, 4, 8, 8)
    assert (tmp_path / "tiny" / "autoencoder" / "README.md").is_file()


def test_the_recipe_for_gpus_runs_on_two_processes(films, tmp_path):
    done = run(
        "train.classifier", "--config", "train/configs/gpu-224.yaml", "--data", str(films),
        "--bundle", str(tmp_path / "big"), "--logs", str(tmp_path / "logs"),
        "--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.max_steps", "2",
        "--trainer.compile", "false", "--trainer.workers", "0",
        "--classifier.schedule.batch_size", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    bundle = load_bundle(tmp_path / "big")
    assert bundle.size == 224
    assert bundle.classifier(torch.rand(1, 1, 224, 224)).isfinite().all()
    # Of an epoch's five steps two were made: nothing was validated, and yet something was saved.
    logs = tmp_path / "logs" / "big" / "classifier"
    assert not list(logs.glob("*.ckpt"))


@pytest.mark.parametrize("steps", [1, 3])
def test_a_training_cut_short_by_its_steps_learns_what_is_left(steps, films, tmp_path):
    whole, cut = (write_recipe(tmp_path / name, films) for name in ("whole", "cut"))
    classifier.main(["--config", str(whole)])
    classifier.main(["--config", str(cut), "--trainer.max_steps", str(steps)])
    assert (cut.parent / "tiny/classifier" / WEIGHTS).is_file()
    classifier.main(["--config", str(cut)])
    assert_same_training(cut, whole)


def assert_same_training(one: Path, other: Path) -> None:
    """Both recipes' classifiers were trained alike to the last step."""
    got, expected = (
        torch.load(r.parent / "logs" / "tiny" / "classifier" / "last.ckpt", weights_only=True)
        for r in (one, other)
    )
    assert got["global_step"] == expected["global_step"] == 4
    for state in ("state_dict", "current_model_state"):
        for name, value in expected[state].items():
            torch.testing.assert_close(got[state][name], value, atol=1e-6, rtol=0)
    ours, theirs = (weights_of(r.parent / "tiny/classifier") for r in (one, other))
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, atol=1e-6, rtol=0)
