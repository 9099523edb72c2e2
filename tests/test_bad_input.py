"""What users give by mistake: each ends in a clear error with a remedy, or in skipped.csv."""

import csv
import errno
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from cfgen.cli import main
from cfgen.data.phantom import of_path, samples
from evaluation.runs import read_run

QUICK = ("--method", "pixel", "--settings.weight", 0.1, "--settings.steps", 4)


def cfgen(*arguments):
    return main([str(argument) for argument in arguments])


def pixels_of(sample, size=64):
    return (of_path(sample.path, size).image[0] * 255).round().byte().numpy()


def write_films(root, count=4):
    for sample in samples({"test": count}):
        path = root / sample.path
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels_of(sample)).save(path)
    return root


@pytest.fixture
def films(tmp_path):
    return write_films(tmp_path / "films")


@pytest.fixture
def bundle(tiny_bundle_path, tmp_path):
    """A copy of the tiny bundle, to be broken."""
    return Path(shutil.copytree(tiny_bundle_path, tmp_path / "bundle"))


def refused(capsys, *arguments):
    """Run a command that has to fail; return what it says on standard error."""
    assert cfgen(*arguments) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "expected" in err
    return err


def spoil(folder):
    """Put one of every kind of bad file into a class folder; return what is said of each."""
    good = pixels_of(samples({"test": 2})[0])
    rng = np.random.default_rng(0)
    Image.fromarray(good).save(folder / "cut.jpeg")
    (folder / "cut.jpeg").write_bytes((folder / "cut.jpeg").read_bytes()[:700])
    Image.fromarray(good).save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:-900])
    (folder / "empty.png").touch()
    (folder / "noise.jpg").write_bytes(rng.bytes(3000))
    (folder / "text.dcm").write_text("a letter to the radiologist")
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(folder / "colour.png")
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(folder / "flat.png")
    Image.fromarray(good[:4, :4]).save(folder / "small.png")
    Image.fromarray(good / np.float32(255) + np.float32("nan")).save(folder / "nan.tiff")
    return {
        "cut.jpeg": "truncated",
        "cut.png": "export or download it again",
        "empty.png": "empty",
        "noise.jpg": "none of JPEG, PNG, TIFF and DICOM",
        "text.dcm": "none of JPEG, PNG, TIFF and DICOM",
        "colour.png": "colour",
        "flat.png": "single value",
        "small.png": "4 x 4 pixels",
        "nan.tiff": "[0, 1]",
    }


def test_bad_files_are_listed_and_the_rest_is_searched(films, tiny_bundle_path, tmp_path):
    told = spoil(films / "test/NORMAL")
    run = tmp_path / "run"
    given = ("--bundle", tiny_bundle_path, "--data", films)
    assert cfgen("search", *given, *QUICK, "--batch_size", 3, "--out", run) == 0
    found = read_run(run)
    assert len(found.samples) == 4
    assert {Path(str(row["path"])).name for row in found.skipped} == told.keys()
    for row in found.skipped:
        assert told[Path(str(row["path"])).name] in row["reason"]
        assert str(films / str(row["path"])) in row["reason"]
    assert cfgen("evaluate", run) == 0
    assert json.loads((run / "summary.json").read_text())["skipped"] == len(told)
    assert cfgen("report", run) == 0
    assert "colour.png" in (run / "report.html").read_text()


def test_a_film_without_contrast_is_listed_by_its_path(films, bundle, tmp_path):
    described = yaml.safe_load((bundle / "bundle.yaml").read_text())
    described["preprocessing"]["intensity"] = "percentile"
    (bundle / "bundle.yaml").write_text(yaml.safe_dump(described))
    dark = np.full((64, 64), 30, np.uint8)
    dark[5, 5] = 31
    Image.fromarray(dark).save(films / "test/NORMAL/dark.png")
    given = ("--bundle", bundle, "--data", films, "--out", tmp_path / "run")
    assert cfgen("search", *given, *QUICK) == 0
    (row,) = read_run(tmp_path / "run").skipped
    assert row["path"] == "test/NORMAL/dark.png"
    assert "pixels of test/NORMAL/dark.png" in str(row["reason"])


def test_where_no_file_can_be_read_the_search_says_so(films, tiny_bundle_path, tmp_path, capsys):
    for file in films.rglob("*.png"):
        file.write_bytes(file.read_bytes()[:60])
    given = ("--bundle", tiny_bundle_path, "--data", films, "--out", tmp_path / "run")
    err = refused(capsys, "search", *given, *QUICK)
    assert "readable" in err
    assert "none of 4" in err
    assert "skipped.csv" in err
    with (tmp_path / "run/skipped.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    write_films(films)
    assert cfgen("search", *given, *QUICK) == 0
    assert len(read_run(tmp_path / "run").samples) == 4


def test_a_class_that_the_bundle_does_not_know_is_named(films, tiny_bundle_path, tmp_path, capsys):
    (films / "test/OPACITY").rename(films / "test/EFFUSION")
    given = ("--bundle", tiny_bundle_path, "--data", films, "--out", tmp_path / "run")
    err = refused(capsys, "search", *given)
    assert "EFFUSION" in err
    assert "NORMAL, OPACITY" in err


def test_a_folder_of_one_class_is_enough_for_a_bundle_of_two(films, tiny_bundle_path, tmp_path):
    shutil.rmtree(films / "test/OPACITY")
    given = ("--bundle", tiny_bundle_path, "--data", films, "--out", tmp_path / "run")
    assert cfgen("search", *given, *QUICK) == 0
    assert cfgen("evaluate", tmp_path / "run") == 0


def test_nothing_that_is_wrong_with_the_question_leaves_a_run(
    films, tiny_bundle_path, tmp_path, capsys
):
    mask = tmp_path / "mask.png"
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(mask)
    wrong = {
        ("--split", "validation"): "test",
        ("--method", "pixels"): "latent-shift",
        ("--settings.lambda", 0.5): "weight",
        ("--settings.distance", "l3"): "l2",
        ("--settings.decoding", "half"): "residual",
        ("--settings.steps", "many"): "steps",
        ("--settings.steps", 2.5): "steps",
        ("--settings.weight", -1): "weight",
        ("--settings.weight", "nan"): "weight",
        ("--target", "FRACTURE"): "NORMAL, OPACITY",
        ("--confidence", 1.5): "between 0 and 1",
        ("--confidence", 0): "between 0 and 1",
        ("--bound", 0): "(0, 1]",
        ("--bound", -0.5): "(0, 1]",
        ("--limit", 0): "limit",
        ("--batch_size", 0): "batch",
        ("--evaluations", 2): "3 evaluations",
        ("--mask", mask): str(mask),
        ("--mask", tmp_path / "no-mask.png"): "no-mask.png",
        ("--classifier", "nobody.wrote:this"): "nobody.wrote:this",
        ("--classifier", "json:no_such"): "json:no_such",
        ("--classifier", "datetime:datetime.now"): "datetime",
        ("--bundle", "kermani-128"): "kermani-128",
        ("--bundle", films): "bundle.yaml",
        ("--data", tmp_path / "nowhere"): "nowhere",
        ("--data", "phantom:2"): "phantom:0.9",
        ("--data", tmp_path): "SPLIT/CLASS",
    }
    for given, told in wrong.items():
        asked = ("--bundle", tiny_bundle_path, "--data", films, *QUICK, "--out", tmp_path / "run")
        err = refused(capsys, "search", *asked, *given)
        assert told in err, (given, err)
        assert not (tmp_path / "run").exists(), given


@pytest.mark.parametrize("method", ["latent", "latent-shift", "class-mean"])
def test_a_latent_method_without_autoencoder_says_what_is_missing(
    method, films, bundle, tmp_path, capsys
):
    shutil.rmtree(bundle / "autoencoder")
    given = ("--bundle", bundle, "--data", films, "--out", tmp_path / "run")
    err = refused(capsys, "search", *given, "--method", method)
    assert str(bundle / "autoencoder") in err
    assert "cfgen train" in err
    assert not (tmp_path / "run").exists()
    assert cfgen("search", *given, *QUICK) == 0
    assert cfgen("evaluate", tmp_path / "run") == 0


def foreign_kind(bundle):
    shutil.rmtree(bundle / "classifier")
    shutil.copytree(bundle / "autoencoder", bundle / "classifier")


def foreign_weights(bundle):
    name = next((bundle / "classifier").glob("*.safetensors")).name
    shutil.copy(next((bundle / "autoencoder").glob("*.safetensors")), bundle / "classifier" / name)


def cut_weights(bundle):
    weights = next((bundle / "classifier").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:500])


def no_weights(bundle):
    next((bundle / "classifier").glob("*.safetensors")).unlink()


def pickled_weights(bundle):
    next((bundle / "classifier").glob("*.safetensors")).unlink()
    torch.save({"a": torch.ones(1)}, bundle / "classifier/diffusion_pytorch_model.bin")


def broken_config(bundle):
    (bundle / "classifier/config.json").write_text("{")


def other_classes(bundle):
    config = json.loads((bundle / "classifier/config.json").read_text())
    config["classes"] = ["HEALTHY", "ILL"]
    (bundle / "classifier/config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    "spoil_bundle",
    [
        foreign_kind,
        foreign_weights,
        cut_weights,
        no_weights,
        pickled_weights,
        broken_config,
        other_classes,
    ],
)
def test_a_foreign_or_broken_checkpoint_is_refused_by_name(
    spoil_bundle, films, bundle, tmp_path, capsys
):
    spoil_bundle(bundle)
    given = ("--bundle", bundle, "--data", films, "--out", tmp_path / "run")
    err = refused(capsys, "search", *given, *QUICK)
    assert str(bundle / "classifier") in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "described",
    [
        "",
        "classes: [NORMAL, OPACITY]\n",
        "[1, 2",
        "classes: [NORMAL, OPACITY]\npreprocessing: {size: 64, sharpen: 1}\n",
        "classes: [NORMAL, OPACITY]\npreprocessing: {size: 64, aspect: bent}\n",
    ],
)
def test_a_broken_bundle_file_is_refused_by_name(described, films, bundle, tmp_path, capsys):
    (bundle / "bundle.yaml").write_text(described)
    given = ("--bundle", bundle, "--data", films, "--out", tmp_path / "run")
    err = refused(capsys, "search", *given, *QUICK)
    assert str(bundle / "bundle.yaml") in err


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_classifier_with_other_outputs_than_classes_is_refused(
    outputs, films, tiny_bundle_path, tmp_path, monkeypatch, capsys
):
    (tmp_path / f"with_{outputs}.py").write_text(
        "import torch\n"
        "def make():\n"
        f"    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4096, {outputs}))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    given = ("--bundle", tiny_bundle_path, "--data", films, "--out", tmp_path / "run")
    err = refused(capsys, "search", *given, *QUICK, "--classifier", f"with_{outputs}:make")
    assert f"with_{outputs}:make" in err
    assert not (tmp_path / "run").exists()


def test_an_output_folder_below_a_file_is_refused(films, tiny_bundle_path, tmp_path, capsys):
    (tmp_path / "file").touch()
    out = tmp_path / "file/run"
    given = ("--bundle", tiny_bundle_path, "--data", films)
    err = refused(capsys, "search", *given, *QUICK, "--out", out)
    assert str(out) in err
    assert "--out" in err


def test_a_folder_of_something_else_is_never_written_into(
    films, tiny_bundle_path, tmp_path, capsys
):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").write_text("results")
    for out in (tmp_path / "thesis", films, tmp_path / "thesis/chapter.tex"):
        given = ("--bundle", tiny_bundle_path, "--data", films, "--out", out)
        assert str(out) in refused(capsys, "search", *given, *QUICK)
    assert [file.name for file in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]


def fill_disk(monkeypatch, after):
    """Let so many files be written whole, then run out of space."""
    sync, written = os.fsync, []

    def syncing(file):
        written.append(file)
        if len(written) > after:
            os.ftruncate(file, os.fstat(file).st_size // 2)
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(file)

    monkeypatch.setattr(os, "fsync", syncing)


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_space(
    after, films, tiny_bundle_path, tmp_path, monkeypatch, capsys
):
    run = tmp_path / "run"
    given = ("--bundle", tiny_bundle_path, "--data", films, "--out", run, "--batch_size", 2)
    with monkeypatch.context() as patched:
        fill_disk(patched, after)
        err = refused(capsys, "search", *given, *QUICK)
    assert "No space left" in err
    assert "--out" in err
    assert str(run) in err
    assert not list(run.rglob("*.partial"))
    assert cfgen("search", *given, *QUICK) == 0
    assert len(read_run(run).samples) == 4


def test_a_full_disk_does_not_spoil_what_is_evaluated(
    films, tiny_bundle_path, tmp_path, monkeypatch, capsys
):
    run = tmp_path / "run"
    given = ("--bundle", tiny_bundle_path, "--data", films, "--out", run)
    assert cfgen("search", *given, *QUICK) == 0
    assert cfgen("evaluate", run) == 0
    before = {file: file.read_bytes() for file in run.rglob("*.*")}
    with monkeypatch.context() as patched:
        fill_disk(patched, 0)
        assert "No space left" in refused(capsys, "evaluate", run)
    assert {file: file.read_bytes() for file in run.rglob("*.*")} == before


@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_what_is_no_run_is_refused_by_name(command, films, tmp_path, capsys):
    for path in (tmp_path / "nowhere", films, next(films.rglob("*.png"))):
        assert str(path) in refused(capsys, command, path)


def test_runs_are_evaluated_before_they_are_compared(films, tiny_bundle_path, tmp_path, capsys):
    run = tmp_path / "run"
    given = ("--bundle", tiny_bundle_path, "--data", films, "--out", run)
    assert cfgen("search", *given, *QUICK) == 0
    capsys.readouterr()
    err = refused(capsys, "compare", run, "--out", tmp_path / "table")
    assert f"cfgen evaluate {run}" in err


def test_an_evaluation_says_where_bundle_judges_and_data_have_gone(films, bundle, tmp_path, capsys):
    run = tmp_path / "run"
    given = ("--bundle", bundle, "--data", films, "--out", run)
    assert cfgen("search", *given, *QUICK) == 0
    capsys.readouterr()
    assert str(films) in refused(capsys, "evaluate", run, "--judges", films)
    assert "batch" in refused(capsys, "evaluate", run, "--batch_size", 0)
    films.rename(tmp_path / "moved")
    assert cfgen("evaluate", run) == 0
    notes = json.loads((run / "summary.json").read_text())["notes"]
    assert any(str(films) in note for note in notes)
    bundle.rename(tmp_path / "gone")
    capsys.readouterr()
    assert str(bundle) in refused(capsys, "evaluate", run)


def test_a_folder_of_dicom_without_its_extra_stops_the_search(
    films, tiny_bundle_path, tmp_path, monkeypatch, capsys
):
    (films / "test/NORMAL/film.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 64)
    monkeypatch.delitem(sys.modules, "cfgen.data.dicom", raising=False)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    given = ("--bundle", tiny_bundle_path, "--data", films, "--out", tmp_path / "run")
    assert "cfgen[dicom]" in refused(capsys, "search", *given, *QUICK)
    monkeypatch.undo()
    assert cfgen("search", *given, *QUICK) == 0
    assert len(read_run(tmp_path / "run").skipped) == 1
