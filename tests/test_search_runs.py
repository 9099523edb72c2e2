"""`cfgen search` end to end: what a run holds, and that it can be stopped and taken up again."""

import csv
import re

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from cfgen.cli import INTERRUPTED, main
from cfgen.data.phantom import of_path, samples
from cfgen.data.samples import Sample
from cfgen.methods import DEFAULT_METHOD, METHODS
from cfgen.models.autoencoder import Autoencoder
from cfgen.models.bundle import load_bundle
from cfgen.models.classifier import Classifier
from cfgen.models.prior import Prior
from evaluation import plausibility
from evaluation.runs import read_run
from evaluation.search import work as module

COLUMNS = (
    "id,path,label,source,target,outcome,p_target_factual,p_target,steps,evaluations,"
    "prior_passes,decodes,seconds,patient,subgroup,draw"
)
QUICK = ("--settings.weight", 0.1, "--settings.steps", 15)
DESCENT = (*QUICK, "--settings.step_size", 0.03)


def cfgen(*arguments):
    return main([str(argument) for argument in arguments])


def rows_of(run):
    with (run / "samples.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def images_of(run):
    """Factual and counterfactual by id."""
    found = {}
    for shard in (run / "shards").glob("*.safetensors"):
        held = load_file(shard)
        triples = zip(held["id"].tolist(), held["factual"], held["image"], strict=True)
        found |= {i: (factual, image) for i, factual, image in triples}
    return found


def without_seconds(run):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows_of(run)]


def write_phantom(path, sample, size=64):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (of_path(sample.path, size).image[0] * 255).round().byte().numpy()
    Image.fromarray(pixels).save(path)


@pytest.fixture(autouse=True)
def few_real_images(monkeypatch):
    """Compare to a few real images only: what is measured is not the subject here."""
    monkeypatch.setattr(plausibility, "REAL_IMAGES", 8)


@pytest.fixture
def asked(tiny_bundle_path):
    """A quick search of six phantoms on the pixels."""
    given = ("--bundle", tiny_bundle_path, "--data", "phantom", "--split", "test", "--limit", 6)
    return ("search", *given, "--method", "pixel", *DESCENT)


@pytest.fixture(scope="module")
def three_classes(tmp_path_factory):
    """A bundle that tells causes apart, and phantoms named as the Kermany X-rays are."""
    root = tmp_path_factory.mktemp("three")
    classes = ["NORMAL", "BACTERIA", "VIRUS"]
    torch.manual_seed(1)
    for part in ("classifier", "judges/second"):
        model = Classifier(classes=classes, size=64, widths=[8, 16])
        with torch.no_grad():
            model.network.head[-1].weight.mul_(20)
        model.save_pretrained(root / "bundle" / part)
    autoencoder = Autoencoder(size=64, classes=classes, widths=[16, 32], latent_channels=4)
    autoencoder.set_statistics(torch.randn_like(autoencoder.class_means), torch.tensor(0.5))
    autoencoder.save_pretrained(root / "bundle/autoencoder")
    prior = Prior(classes=classes, channels=4, side=8, widths=[8, 16], layers=1)
    prior.save_pretrained(root / "bundle/prior")
    preprocessing = {"size": 64, "aspect": "pad", "interpolation": "bilinear", "intensity": "full"}
    described = {"classes": classes, "preprocessing": preprocessing}
    (root / "bundle/bundle.yaml").write_text(yaml.safe_dump(described))
    names = [
        "NORMAL/IM-0001-0001.png",
        "NORMAL/NORMAL2-IM-0002-0001.png",
        "PNEUMONIA/person1_bacteria_1.png",
        "PNEUMONIA/person1_bacteria_2.png",
        "PNEUMONIA/person2_virus_1.png",
        "PNEUMONIA/person3_virus_1.png",
    ]
    for name, sample in zip(names, samples({"test": 6}), strict=True):
        write_phantom(root / "films/test" / name, sample)
    return root


def test_a_run_is_written_as_the_format_says(asked, tiny_bundle_path, tmp_path):
    run = tmp_path / "run"
    assert cfgen(*asked, "--batch_size", 4, "--out", run) == 0
    assert {file.name for file in run.iterdir()} == {
        "config.yaml",
        "samples.csv",
        "skipped.csv",
        "shards",
    }
    assert (run / "samples.csv").read_text().splitlines()[0] == COLUMNS
    assert (run / "skipped.csv").read_text() == "path,reason\n"
    rows = rows_of(run)
    assert sorted(row["label"] for row in rows) == ["NORMAL"] * 3 + ["OPACITY"] * 3
    for row in rows:
        assert int(row["id"]) == Sample(row["path"], None, None).id
        assert {row["source"], row["target"]} == {"NORMAL", "OPACITY"}
        assert row["patient"] in row["path"]
        assert (row["prior_passes"], row["decodes"], row["draw"]) == ("0", "0", "")
        assert int(row["steps"]) <= 15
        assert 0 < int(row["evaluations"]) <= 18
        assert float(row["seconds"]) > 0
    shards = [load_file(shard) for shard in (run / "shards").iterdir()]
    assert sorted(len(shard["id"]) for shard in shards) == [2, 4]
    for shard in shards:
        assert set(shard) == {"id", "factual", "image"}
        assert shard["id"].dtype == torch.int64
        for name in ("factual", "image"):
            assert shard[name].dtype == torch.float32
            assert shard[name].shape == (len(shard["id"]), 1, 64, 64)
            assert 0 <= shard[name].min() <= shard[name].max() <= 1
    images = images_of(run)
    assert images.keys() == {int(row["id"]) for row in rows}
    for row in rows:
        assert torch.equal(images[int(row["id"])][0], of_path(row["path"], 64).image)
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["seed"] == 0
    assert {"cfgen", "torch"} <= config["versions"].keys()
    assert set(config["weights"]) == {"autoencoder", "classifier", "prior", "segmenter"}
    hashes = [*config["weights"].values(), config["manifest"]]
    assert all(re.fullmatch("[0-9a-f]{64}", text) for text in hashes)
    assert (config["bundle"], config["data"]) == (str(tiny_bundle_path), "phantom")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_says_what_the_classifier_says_of_the_stored_images(
    method, asked, tiny_bundle, tmp_path
):
    given = (*asked[:-8], "--method", method, "--settings.steps", 25)
    assert cfgen(*given, "--out", tmp_path / "run") == 0
    images = images_of(tmp_path / "run")
    for row in rows_of(tmp_path / "run"):
        factual, image = images[int(row["id"])]
        with torch.inference_mode():
            logits = tiny_bundle.classifier(torch.stack([factual, image]))
        target = tiny_bundle.classes.index(row["target"])
        before, after = logits.softmax(1)[:, target].tolist()
        assert float(row["p_target_factual"]) == pytest.approx(before, abs=1e-4)
        assert float(row["p_target"]) == pytest.approx(after, abs=1e-4)
        assert row["source"] == tiny_bundle.classes[int(tiny_bundle.classifier.decide(logits)[0])]
        assert after >= before - 1e-4
        assert (row["outcome"] == "reached") == (after >= 0.9 - 1e-4)
        assert int(row["evaluations"]) > 0
        assert (int(row["decodes"]) > 0) == (method != "pixel")


def test_the_method_is_the_default_one_where_none_is_given(asked, tmp_path):
    given = (*asked[:-8], "--limit", 1, "--settings.steps", 1)
    assert cfgen(*given, "--out", tmp_path / "run") == 0
    assert read_run(tmp_path / "run").config["method"] == DEFAULT_METHOD


def test_the_same_command_again_changes_nothing(asked, tmp_path, monkeypatch):
    run = tmp_path / "run"
    assert cfgen(*asked, "--out", run) == 0
    before = {file: file.read_bytes() for file in run.rglob("*.*")}
    monkeypatch.setattr(module, "write_shards", None)
    assert cfgen(*asked, "--out", run) == 0
    assert {file: file.read_bytes() for file in run.rglob("*.*")} == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("--method", "latent-shift"), "method: there 'pixel', asked 'latent-shift'"),
        (("--settings.weight", 0.7), "settings.weight: there 0.1, asked 0.7"),
        (("--limit", 4), "limit: there 6, asked 4"),
        (("--seed", 1), "seed: there 0, asked 1"),
    ],
)
def test_another_search_into_a_run_is_refused_with_the_difference(
    change, told, asked, tmp_path, capsys
):
    run = tmp_path / "run"
    assert cfgen(*asked, "--out", run) == 0
    before = (run / "samples.csv").read_bytes()
    again = [*asked, "--out", run]
    if change[0] == "--method":
        again = [*asked[:-6], "--out", run]
    assert cfgen(*again, *change) == 2
    err = capsys.readouterr().err
    assert told in err
    assert "--out" in err
    assert (run / "samples.csv").read_bytes() == before


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(
    stop, asked, tmp_path, monkeypatch
):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    asked = (*asked, "--batch_size", 1)
    assert cfgen(*asked, "--out", whole) == 0
    write, written = module.write_shards, []

    def stopping(*arguments):
        if len(written) == 1:
            raise stop
        written.append(write(*arguments))

    monkeypatch.setattr(module, "write_shards", stopping)
    if stop is KeyboardInterrupt:
        assert cfgen(*asked, "--out", broken) == INTERRUPTED
    else:
        with pytest.raises(stop):
            cfgen(*asked, "--out", broken)
    assert len(rows_of(broken)) == 4
    monkeypatch.setattr(module, "write_shards", write)
    assert cfgen("evaluate", broken) == 0
    assert "stopped at 4 of 6" in (broken / "summary.md").read_text()
    assert cfgen(*asked, "--out", broken) == 0
    assert_same(whole, broken)


def test_rows_that_were_lost_are_searched_again(asked, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for run in (whole, broken):
        assert cfgen(*asked, "--batch_size", 1, "--out", run) == 0
    text = (broken / "samples.csv").read_text()
    (broken / "samples.csv").write_text(text[: text.rstrip().rfind("\n") + 20])
    assert cfgen(*asked, "--batch_size", 1, "--out", broken) == 0
    assert_same(whole, broken)


def test_a_stopped_search_past_unreadable_files_keeps_its_batches(
    tiny_bundle_path, tmp_path, monkeypatch
):
    for sample in samples({"test": 8}):
        write_phantom(tmp_path / "films" / sample.path, sample)
    broken = sorted((tmp_path / "films").rglob("*.png"))[::3]
    for file in broken:
        file.write_bytes(file.read_bytes()[:100])
    asked = ("search", "--bundle", tiny_bundle_path, "--data", tmp_path / "films")
    asked = (*asked, "--method", "pixel", *DESCENT, "--batch_size", 1)
    assert cfgen(*asked, "--out", tmp_path / "whole") == 0
    write, written = module.write_shards, []

    def stopping(*arguments):
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(write(*arguments))

    monkeypatch.setattr(module, "write_shards", stopping)
    assert cfgen(*asked, "--out", tmp_path / "broken") == INTERRUPTED
    monkeypatch.setattr(module, "write_shards", write)
    assert cfgen(*asked, "--out", tmp_path / "broken") == 0
    assert_same(tmp_path / "whole", tmp_path / "broken")
    assert len(read_run(tmp_path / "broken").skipped) == len(broken)


def assert_same(whole, broken):
    assert without_seconds(whole) == without_seconds(broken)
    names = {shard.name for shard in (whole / "shards").iterdir()}
    assert {shard.name for shard in (broken / "shards").iterdir()} == names
    for name in names:
        assert (whole / "shards" / name).read_bytes() == (broken / "shards" / name).read_bytes()


@pytest.mark.parametrize("method", ["pixel", "latent", "latent-shift", "class-mean"])
def test_an_image_in_a_batch_is_searched_as_it_is_alone(method, asked, tmp_path):
    given = (*asked[:-8], "--method", method, "--settings.steps", 8)
    if method in ("pixel", "latent"):
        # So short a way that each step is better than the last: no ties for rounding to break.
        given = (*given, "--settings.step_size", 0.005)
    for size in (1, 8):
        assert cfgen(*given, "--batch_size", size, "--out", tmp_path / f"by-{size}") == 0
    alone, together = images_of(tmp_path / "by-1"), images_of(tmp_path / "by-8")
    assert alone.keys() == together.keys()
    for i, (_, image) in alone.items():
        torch.testing.assert_close(image, together[i][1], atol=1e-4, rtol=0)
    keys = ("id", "outcome", "steps", "evaluations", "decodes")
    ends = [
        {tuple(row[key] for key in keys) for row in rows_of(tmp_path / run)}
        for run in ("by-1", "by-8")
    ]
    assert ends[0] == ends[1]


def test_a_prediction_that_is_the_target_is_an_outcome(asked, tmp_path, tiny_bundle):
    run = tmp_path / "run"
    assert cfgen(*asked, "--target", "OPACITY", "--confidence", 0.45, "--out", run) == 0
    images, rows = images_of(run), rows_of(run)
    there = [row for row in rows if row["outcome"] == "already there"]
    assert 0 < len(there) < len(rows)
    assert {row["target"] for row in rows} == {"OPACITY"}
    for row in there:
        factual, image = images[int(row["id"])]
        assert torch.equal(factual, image)
        assert row["steps"] == "0"
        assert row["p_target"] == row["p_target_factual"]
    assert cfgen("evaluate", run) == 0
    assert cfgen("report", run) == 0


def test_a_run_whose_images_are_all_there_is_evaluated(asked, tmp_path, tiny_bundle):
    first = samples({"test": 2})[0]
    with torch.inference_mode():
        sure = tiny_bundle.classifier.predict(of_path(first.path, 64).image[None])
    write_phantom(tmp_path / "one.png", first)
    target = ("--target", tiny_bundle.classes[int(sure)], "--confidence", 0.01)
    given = (*asked, "--data", tmp_path / "one.png", "--split", "all", *target)
    run = tmp_path / "run"
    assert cfgen(*given, "--out", run) == 0
    assert [row["outcome"] for row in rows_of(run)] == ["already there"]
    assert cfgen("evaluate", run) == 0
    assert cfgen("report", run) == 0


@pytest.mark.parametrize("method", METHODS)
def test_any_other_class_is_a_target_for_every_method(method, three_classes, tmp_path):
    run = tmp_path / "run"
    asked = ("--bundle", three_classes / "bundle", "--data", three_classes / "films")
    asked = (*asked, "--method", method, "--target", "other", "--limit", 3, "--settings.steps", 25)
    assert cfgen("search", *asked, "--out", run) == 0
    bundle = load_bundle(three_classes / "bundle")
    images = images_of(run)
    for row in rows_of(run):
        assert row["target"] == "other"
        with torch.inference_mode():
            p = bundle.classifier(images[int(row["id"])][1][None]).softmax(1)[0]
        rest = 1 - float(p[bundle.classes.index(row["source"])])
        assert float(row["p_target"]) == pytest.approx(rest, abs=1e-4)
    assert cfgen("evaluate", run) == 0


def test_of_three_classes_the_runner_up_is_the_target(three_classes, tmp_path):
    run = tmp_path / "run"
    asked = ("--bundle", three_classes / "bundle", "--data", three_classes / "films")
    assert cfgen("search", *asked, "--method", "pixel", *DESCENT, "--out", run) == 0
    rows = rows_of(run)
    labels = {"bacteria": "BACTERIA", "virus": "VIRUS", "": "NORMAL"}
    assert all(row["label"] == labels[row["subgroup"]] for row in rows)
    assert len({row["patient"] for row in rows}) == 5
    bundle, images = load_bundle(three_classes / "bundle"), images_of(run)
    for row in rows:
        with torch.inference_mode():
            logits = bundle.classifier(images[int(row["id"])][0][None])[0]
        first, second = (bundle.classes[i] for i in logits.argsort(descending=True)[:2].tolist())
        assert (row["source"], row["target"]) == (first, second)
    assert cfgen("evaluate", run) == 0
    assert cfgen("report", run) == 0


@pytest.mark.parametrize("bright", [1, 255])
def test_nothing_changes_outside_the_mask_or_beyond_the_bound(bright, asked, tmp_path):
    allowed = torch.zeros(64, 64, dtype=torch.uint8)
    allowed[10:40, 5:30] = bright
    Image.fromarray(allowed.numpy()).save(tmp_path / "mask.png")
    confined = (*asked, "--mask", tmp_path / "mask.png", "--bound", 0.05)
    assert cfgen(*confined, "--out", tmp_path / "run") == 0
    changes = [image - factual for factual, image in images_of(tmp_path / "run").values()]
    for change in changes:
        assert not change[:, allowed == 0].any()
        assert change.abs().max() <= 0.05 + 1e-6
        assert change[:, allowed > 0].any()
    config = read_run(tmp_path / "run").config
    assert config["mask"] == str(tmp_path / "mask.png")


def test_a_mask_in_use_is_part_of_what_the_run_is(asked, tmp_path, capsys):
    half = torch.zeros(64, 64, dtype=torch.uint8)
    half[:32] = 255
    Image.fromarray(half.numpy()).save(tmp_path / "mask.png")
    assert cfgen(*asked, "--out", tmp_path / "run") == 0
    assert cfgen(*asked, "--mask", tmp_path / "mask.png", "--out", tmp_path / "run") == 2
    assert "mask" in capsys.readouterr().err


def test_a_classifier_of_ones_own_stands_in_for_the_bundles(
    asked, tiny_bundle_path, tmp_path, monkeypatch, capsys
):
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "class Brightness(torch.nn.Module):\n"
        "    def forward(self, images):\n"
        "        bright = 40 * (images.mean((1, 2, 3)) - 0.5)\n"
        "        return torch.stack([-bright, bright], 1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    run = tmp_path / "run"
    given = (*asked, "--classifier", "mine:Brightness")
    assert cfgen(*given, "--out", run) == 0
    images = images_of(run)
    for row in rows_of(run):
        factual, image = images[int(row["id"])]
        assert row["source"] == ("OPACITY" if factual.mean() > 0.5 else "NORMAL")
        odds = 80 * (float(image.mean()) - 0.5) * (1 if row["target"] == "OPACITY" else -1)
        after = float(torch.tensor(odds).sigmoid())
        assert float(row["p_target"]) == pytest.approx(after, abs=1e-4)
    assert cfgen("evaluate", run) == 0
    assert cfgen(*asked, "--out", run) == 2
    assert "classifier" in capsys.readouterr().err
    table = ("--weights", "[0.1]", "--settings.steps", 5, "--limit", 4)
    given = ("--bundle", tiny_bundle_path, "--data", "phantom", "--classifier", "mine:Brightness")
    sweep = ("sweep", *given, "--method", "pixel", *table, "--out", tmp_path / "sweep")
    assert cfgen(*sweep) == 0


def test_one_image_file_is_data_too(tiny_bundle_path, tmp_path):
    sample = samples({"test": 2})[0]
    write_phantom(tmp_path / "one.png", sample)
    given = ("--bundle", tiny_bundle_path, "--data", tmp_path / "one.png", "--split", "all")
    run = tmp_path / "run"
    assert cfgen("search", *given, "--method", "pixel", *DESCENT, "--out", run) == 0
    (row,) = rows_of(run)
    assert (row["path"], row["label"]) == ("one.png", "")
    assert cfgen("evaluate", run) == 0
    assert cfgen("report", run) == 0


def test_a_table_and_an_archive_are_data_too(tiny_bundle_path, tmp_path):
    import numpy as np

    chosen = samples({"test": 4})
    lines = ["path,label,patient,split"]
    for sample in chosen:
        write_phantom(tmp_path / sample.path, sample, size=96)
        lines.append(f"{sample.path},{sample.label},{sample.patient},test")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    stack = np.stack([(of_path(s.path, 28).image[0] * 255).byte().numpy() for s in chosen])
    labels = np.array([[0], [1], [0], [1]])
    parts = {f"{split}_images": stack for split in ("train", "val", "test")}
    parts |= {f"{split}_labels": labels for split in ("train", "val", "test")}
    np.savez(tmp_path / "films.npz", **parts)
    for data in ("table.csv", "films.npz"):
        run = tmp_path / f"run-{data}"
        given = ("--bundle", tiny_bundle_path, "--data", tmp_path / data, "--method", "pixel")
        assert cfgen("search", *given, *DESCENT, "--out", run) == 0
        assert [row["label"] for row in rows_of(run)].count("OPACITY") == 2


def test_weights_that_changed_make_another_run(asked, tiny_bundle_path, tmp_path, capsys):
    import shutil

    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle_path, bundle)
    given = [bundle if part == tiny_bundle_path else part for part in asked]
    assert cfgen(*given, "--out", tmp_path / "run") == 0
    weights = next((bundle / "classifier").glob("*.safetensors"))
    save_file({key: value + 1e-3 for key, value in load_file(weights).items()}, weights)
    assert cfgen(*given, "--out", tmp_path / "run") == 2
    assert "weights.classifier" in capsys.readouterr().err
