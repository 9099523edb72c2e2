"""`cfgen explain` end to end: one file of any kind, figures and text, clear refusals."""

import csv
import re
import shutil
import sys

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from cfgen.cli import main
from cfgen.data.phantom import of_path, samples

QUICK = ("--method", "pixel", "--settings.weight", 0.1, "--settings.steps", 10)


def cfgen(*arguments):
    return main([str(argument) for argument in arguments])


def pixels_of(seed, bits=8, size=80):
    film = of_path(samples({"test": 8})[seed].path, size).image[0].numpy()
    return (film * (2**bits - 1)).round().astype(np.uint8 if bits == 8 else np.uint16)


def write_dicom(path, stored, photometric):
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import (
        DigitalXRayImageStorageForPresentation,
        ExplicitVRLittleEndian,
        generate_uid,
    )

    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID = generate_uid()
    film.SOPClassUID = DigitalXRayImageStorageForPresentation
    film.Rows, film.Columns = stored.shape
    film.SamplesPerPixel, film.PixelRepresentation = 1, 0
    film.PhotometricInterpretation = photometric
    film.BitsAllocated, film.BitsStored, film.HighBit = 16, 16, 15
    film.PixelData = stored.tobytes()
    film.save_as(path, enforce_file_format=True)


def text_of(out):
    return (out / "explanation.md").read_text()


def probabilities(out):
    lines = [line for line in text_of(out).splitlines() if line.startswith("| p(")]
    return {line.split("(")[1].split(")")[0]: float(line.split("|")[2]) for line in lines}


def test_a_jpeg_is_explained(tiny_bundle_path, tmp_path, capsys):
    Image.fromarray(pixels_of(1)).save(tmp_path / "chest.jpeg", quality=95)
    out = tmp_path / "deep/out"
    given = ("--bundle", tiny_bundle_path, "--target", "NORMAL", "--out", out)
    assert cfgen("explain", tmp_path / "chest.jpeg", *given, *QUICK) == 0
    told = capsys.readouterr().out
    assert told.strip() == text_of(out).strip()
    assert told.startswith("# chest.jpeg: ")
    words = ("NORMAL", "OPACITY", "judge second", "not for diagnosis", "L2 norm", "not checked")
    for word in words:
        assert word in told
    assert sum(probabilities(out).values()) == pytest.approx(1, abs=2e-3)
    for name in ("panels.png", "layers.png", "change.png", "strengths.png", "morph.webp"):
        with Image.open(out / name) as drawn:
            assert min(drawn.size) > 200
    with (out / "layers.csv").open() as file:
        layers = list(csv.DictReader(file))
    assert len(layers) > 2
    changes = [float(layer["change"]) for layer in layers]
    assert changes == sorted(changes, reverse=True)
    assert changes[0] > 0


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_dicom_file_says_what_the_same_film_as_png_says(photometric, tiny_bundle_path, tmp_path):
    stored = pixels_of(3, bits=16)
    Image.fromarray(stored).save(tmp_path / "film.png")
    inverted = photometric == "MONOCHROME1"
    write_dicom(tmp_path / "film.dcm", 65535 - stored if inverted else stored, photometric)
    found = []
    for name in ("film.png", "film.dcm"):
        out = tmp_path / f"out-{name}"
        given = ("--bundle", tiny_bundle_path, "--target", "OPACITY", "--out", out)
        assert cfgen("explain", tmp_path / name, *given, *QUICK) == 0
        found.append(probabilities(out))
    assert found[0] == pytest.approx(found[1], abs=2e-3)


def test_the_target_may_be_the_class_that_is_seen_already(tiny_bundle_path, tmp_path, tiny_bundle):
    sample = samples({"test": 2})[0]
    factual = of_path(sample.path, 64).image
    Image.fromarray((factual[0] * 255).round().byte().numpy()).save(tmp_path / "film.png")
    (tmp_path / "sure.py").write_text(
        "import torch\n"
        "class Sure(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.blur = torch.nn.Conv2d(1, 1, 3)\n"
        "    def forward(self, images):\n"
        "        bright = self.blur(images).mean((1, 2, 3))\n"
        "        return torch.stack([bright + 9, bright - 9], 1)\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        given = ("--bundle", tiny_bundle_path, "--target", "NORMAL", "--classifier", "sure:Sure")
        assert cfgen("explain", tmp_path / "film.png", *given, *QUICK, "--out", tmp_path / "o") == 0
    finally:
        sys.path.remove(str(tmp_path))
    text = text_of(tmp_path / "o")
    assert text.startswith("# film.png: already there")
    assert re.search(r"\| classifier decides for +\| NORMAL +\| NORMAL +\|", text)
    assert "L2 norm 0.00" in text


def photograph(path):
    colours = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(colours).save(path)


def noise(path):
    path.write_bytes(np.random.default_rng(0).bytes(2000))


def cut_jpeg(path):
    Image.fromarray(pixels_of(0)).save(path)
    path.write_bytes(path.read_bytes()[:900])


def grey_field(path):
    Image.fromarray(np.full((64, 64), 128, np.uint8)).save(path)


def bad_floats(path):
    import tifffile

    film = pixels_of(0) / np.float32(255)
    film[3, 4] = np.nan
    tifffile.imwrite(path, film)


@pytest.mark.parametrize(
    ("name", "make", "told"),
    [
        ("photo.jpg", photograph, "give a grey X-ray"),
        ("noise.png", noise, "convert it"),
        ("cut.jpg", cut_jpeg, "download it again"),
        ("empty.png", lambda path: path.touch(), "download it again"),
        ("field.png", grey_field, "leave it out"),
        ("nan.tif", bad_floats, "[0, 1]"),
        ("folder.png", lambda path: path.mkdir(), "check the path"),
        ("nowhere.png", lambda _path: None, "check the path"),
        ("cut.dcm", lambda path: path.write_bytes(b"\0" * 128 + b"DICM"), "give the image itself"),
    ],
)
def test_what_is_no_film_is_refused_by_name_with_a_remedy(
    name, make, told, tiny_bundle_path, tmp_path, capsys
):
    make(tmp_path / name)
    given = ("--bundle", tiny_bundle_path, "--target", "NORMAL", "--out", tmp_path / "out")
    assert cfgen("explain", tmp_path / name, *given, *QUICK) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("cfgen explain: expected ")
    assert str(tmp_path / name) in err
    assert told in err


def test_a_film_without_contrast_is_refused_by_name(tiny_bundle_path, tmp_path, capsys):
    import shutil

    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle_path, bundle)
    described = yaml.safe_load((bundle / "bundle.yaml").read_text())
    described["preprocessing"]["intensity"] = "percentile"
    (bundle / "bundle.yaml").write_text(yaml.safe_dump(described))
    film = np.full((64, 64), 30, np.uint8)
    film[5, 5] = 31
    Image.fromarray(film).save(tmp_path / "dark.png")
    assert cfgen("explain", tmp_path / "dark.png", "--bundle", bundle, "--out", tmp_path / "o") == 2
    err = capsys.readouterr().err
    assert "contrast" in err
    assert str(tmp_path / "dark.png") in err


def test_dicom_without_its_extra_says_what_to_install(
    tiny_bundle_path, tmp_path, monkeypatch, capsys
):
    write_dicom(tmp_path / "film.dcm", pixels_of(3, bits=16), "MONOCHROME2")
    monkeypatch.delitem(sys.modules, "cfgen.data.dicom", raising=False)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    given = ("--bundle", tiny_bundle_path, "--out", tmp_path / "out")
    assert cfgen("explain", tmp_path / "film.dcm", *given) == 2
    assert "cfgen[dicom]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--target", "TUBERCULOSIS"), "NORMAL, OPACITY"),
        (("--method", "pixels"), "latent-shift"),
        (("--settings.lambda", 0.1), "weight"),
        (("--classifier", "no.such:thing"), "no.such:thing"),
    ],
)
def test_what_is_not_to_be_had_is_told_with_what_there_is(
    given, told, tiny_bundle_path, tmp_path, capsys
):
    Image.fromarray(pixels_of(0)).save(tmp_path / "film.png")
    asked = ("--bundle", tiny_bundle_path, "--out", tmp_path / "out")
    assert cfgen("explain", tmp_path / "film.png", *asked, *given) == 2
    err = capsys.readouterr().err
    assert "expected" in err
    assert told in err


def test_a_place_that_cannot_be_written_is_told_before_the_search(
    tiny_bundle_path, tmp_path, monkeypatch, capsys
):
    Image.fromarray(pixels_of(0)).save(tmp_path / "film.png")
    (tmp_path / "file").touch()
    monkeypatch.setattr("evaluation.explain.main.find", None)
    given = ("--bundle", tiny_bundle_path, "--out", tmp_path / "file/out")
    assert cfgen("explain", tmp_path / "film.png", *given) == 2
    assert str(tmp_path / "file/out") in capsys.readouterr().err


def test_what_the_file_holds_counts_and_not_how_it_is_called(tiny_bundle_path, tmp_path):
    Image.fromarray(pixels_of(1)).save(tmp_path / "film.png")
    (tmp_path / "film").write_bytes((tmp_path / "film.png").read_bytes())
    given = ("--bundle", tiny_bundle_path, "--out", tmp_path / "out")
    assert cfgen("explain", tmp_path / "film", *given, *QUICK) == 0


def test_explaining_into_a_run_leaves_the_run_as_it_is(tiny_bundle_path, tmp_path, monkeypatch):
    monkeypatch.setattr("evaluation.plausibility.REAL_IMAGES", 8)
    run = tmp_path / "run"
    given = ("--bundle", tiny_bundle_path, "--data", "phantom", "--limit", 2)
    assert cfgen("search", *given, *QUICK, "--out", run) == 0
    assert cfgen("evaluate", run) == 0
    before = {file: file.read_bytes() for file in run.rglob("*.*")}
    Image.fromarray(pixels_of(1)).save(tmp_path / "film.png")
    given = ("--bundle", tiny_bundle_path, "--out", run)
    assert cfgen("explain", tmp_path / "film.png", *given, *QUICK) == 0
    assert {file: file.read_bytes() for file in before} == before
    assert (run / "explanation.md").is_file()


def test_the_python_call_says_the_same_as_the_command(tiny_bundle_path, tmp_path):
    import cfgen as package

    Image.fromarray(pixels_of(1)).save(tmp_path / "film.png")
    given = ("--bundle", tiny_bundle_path, "--target", "OPACITY", "--out", tmp_path / "out")
    assert cfgen("explain", tmp_path / "film.png", *given, *QUICK) == 0
    settings = {"weight": 0.1, "steps": 10}
    found = package.explain(tmp_path / "film.png", tiny_bundle_path, "OPACITY", "pixel", settings)
    assert found.factual.shape == (1, 64, 64)
    assert torch.equal(found.before.sum().round(decimals=4), torch.tensor(1.0))
    command = probabilities(tmp_path / "out")
    assert dict(zip(found.classes, found.before.tolist(), strict=True)) == pytest.approx(
        command, abs=1e-3
    )


def test_an_explanation_leads_with_its_verdict(tiny_bundle_path, tmp_path, monkeypatch):
    from tests.test_verdicts import MODEL

    Image.fromarray(pixels_of(1)).save(tmp_path / "film.png")
    given = ("--bundle", tiny_bundle_path, *QUICK, "--out", tmp_path / "out")
    monkeypatch.setattr("cfgen.explanation.find_model", lambda _path: None)
    assert cfgen("explain", tmp_path / "film.png", *given) == 0
    assert text_of(tmp_path / "out").splitlines()[2].startswith("**No verdict**")
    monkeypatch.setattr("cfgen.explanation.find_model", lambda _path: MODEL)
    assert cfgen("explain", tmp_path / "film.png", *given) == 0
    text = text_of(tmp_path / "out")
    assert text.splitlines()[2].startswith("**Verdict: ")
    assert "calibrated on phantoms only): " in text.splitlines()[2]
    assert "| prior_error " in text
    assert "| not known |" not in text


def test_what_no_model_can_say_is_not_known(tiny_bundle_path, tmp_path, monkeypatch):
    from tests.test_verdicts import MODEL

    bare = shutil.copytree(tiny_bundle_path, tmp_path / "bare")
    shutil.rmtree(bare / "prior")
    monkeypatch.setattr("cfgen.explanation.find_model", lambda _path: MODEL)
    Image.fromarray(pixels_of(1)).save(tmp_path / "film.png")
    given = ("--bundle", bare, *QUICK, "--out", tmp_path / "out")
    assert cfgen("explain", tmp_path / "film.png", *given) == 0
    (line,) = (line for line in text_of(tmp_path / "out").splitlines() if "prior_error" in line)
    assert "not known" in line
