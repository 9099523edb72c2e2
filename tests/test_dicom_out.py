"""DICOM out: read back, whole by the standard, and nobody's."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys

import numpy as np
import pydicom
import pytest
import torch
from pydicom.data import get_testdata_file
from pydicom.uid import UID

from cfgen.cli import main
from cfgen.data.burning import WARNING
from cfgen.data.dicom_out import PATIENT, Series, write_secondary_capture
from cfgen.data.files import read_image
from tests.written_runs import CLASSES, flat, sample, write

TYPE_1 = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality",
    "ConversionType", "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData", "ImageType",
)  # fmt: skip
TYPE_2 = (
    *PATIENT, "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber",
    "SeriesNumber", "InstanceNumber",
)  # fmt: skip
"""Of the Secondary Capture Image IOD, PS3.3 A.8.1: with a value, and there but perhaps empty."""


def noise(size=240):
    return torch.rand((1, size, size + 40), generator=torch.Generator().manual_seed(0))


def written(path, image, *arguments, **options):
    write_secondary_capture(path, image, *(arguments or ("by a test",)), **options)
    return pydicom.dcmread(path)


@pytest.mark.parametrize("bits", [8, 16])
def test_what_is_written_is_read_back_but_for_the_warning(tmp_path, bits):
    image = noise()
    dataset = written(tmp_path / "a.dcm", image, bits=bits)
    found = read_image(tmp_path / "a.dcm")
    assert found.shape == image.shape
    off = (found - image).abs()[0]
    burned = off > 0.5 / (2**bits - 1) + 1e-6
    rows = burned.any(1).nonzero()
    # The warning lies near the lower edge, in a tenth of the image at most.
    assert rows.min() > 0.85 * image.shape[1]
    assert 0.005 < burned.float().mean() < 0.1
    assert dataset.pixel_array.dtype == {8: np.uint8, 16: np.uint16}[bits]


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_the_warning_can_be_read_on_any_ground(tmp_path, level):
    write_secondary_capture(tmp_path / "a.dcm", torch.full((1, 240, 280), level), "by a test")
    found = read_image(tmp_path / "a.dcm")[0]
    strip = found[-24:]
    assert (strip > 0.9).sum() > 300
    assert (strip < 0.1).sum() > 300


def test_a_small_image_is_enlarged_by_repeating_its_pixels(tmp_path):
    image = noise(60)[..., :60]
    write_secondary_capture(tmp_path / "a.dcm", image, "by a test")
    found = read_image(tmp_path / "a.dcm")
    times = found.shape[-1] // 60
    assert found.shape == (1, 60 * times, 60 * times)
    upper = image.repeat_interleave(times, 1).repeat_interleave(times, 2)[:, : 50 * times]
    assert torch.allclose(found[:, : 50 * times], upper, atol=1e-5)


def test_required_elements_are_there_and_it_says_what_it_is(tmp_path):
    dataset = written(tmp_path / "a.dcm", noise())
    for name in TYPE_1:
        assert dataset.get(name) not in (None, "", b""), name
    for name in TYPE_2:
        assert name in dataset
    assert dataset.SOPClassUID.name == "Secondary Capture Image Storage"
    assert list(dataset.ImageType) == ["DERIVED", "SECONDARY"]
    assert (dataset.Modality, dataset.PhotometricInterpretation) == ("OT", "MONOCHROME2")
    assert dataset.BurnedInAnnotation == dataset.SyntheticData == "YES"
    assert dataset.SeriesDescription == WARNING
    assert dataset.DerivationDescription == "by a test"
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert len(dataset.PixelData) == 2 * dataset.Rows * dataset.Columns


def test_identifiers_are_new_and_a_series_is_shared(tmp_path):
    series = Series()
    one = written(tmp_path / "a.dcm", noise(), series=series, number=1)
    two = written(tmp_path / "b.dcm", noise(), series=series, number=2)
    alone = written(tmp_path / "c.dcm", noise())
    assert one.SeriesInstanceUID == two.SeriesInstanceUID != alone.SeriesInstanceUID
    assert one.StudyInstanceUID == two.StudyInstanceUID != alone.StudyInstanceUID
    assert len({one.SOPInstanceUID, two.SOPInstanceUID, alone.SOPInstanceUID}) == 3
    for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        assert UID(one[name].value).is_valid
    assert (one.InstanceNumber, two.InstanceNumber) == (1, 2)


@pytest.fixture
def source(tmp_path):
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName, dataset.PatientID = "Müller^Ada", "4711"
    dataset.PatientBirthDate, dataset.PatientSex = "19700102", "F"
    dataset.save_as(tmp_path / "source.dcm")
    return tmp_path / "source.dcm"


def test_nothing_of_the_patient_is_kept_unless_asked_for(tmp_path, source):
    written(tmp_path / "a.dcm", noise(), source=source)
    data = (tmp_path / "a.dcm").read_bytes()
    known = pydicom.dcmread(source)
    for secret in ("ller", "4711", "19700102", known.SOPInstanceUID, known.StudyInstanceUID):
        assert secret.encode() not in data
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    assert dataset.PatientIdentityRemoved == "YES"
    assert (dataset.PatientBirthDate, dataset.PatientSex) == ("", "")


def test_the_patient_is_kept_where_asked_for(tmp_path, source):
    dataset = written(tmp_path / "a.dcm", noise(), source=source, keep_patient=True)
    known = pydicom.dcmread(source)
    assert str(dataset.PatientName) == "Müller^Ada"
    assert [dataset[name].value for name in PATIENT] == [known[name].value for name in PATIENT]
    assert "PatientIdentityRemoved" not in dataset
    (reference,) = dataset.SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == known.SOPInstanceUID
    assert dataset.StudyInstanceUID != known.StudyInstanceUID


def test_no_patient_is_kept_of_what_is_no_dicom_file(tmp_path):
    (tmp_path / "film.png").write_bytes(b"no DICOM")
    for source in (None, tmp_path / "film.png", tmp_path / "none"):
        with pytest.raises(ValueError, match="expected a DICOM file to keep the patient of"):
            written(tmp_path / "a.dcm", noise(), source=source, keep_patient=True)


def test_hostile_descriptions_stay_one_value(tmp_path):
    dataset = written(tmp_path / "a.dcm", noise(), "a\\b\n\x07" + "x" * 2000)
    assert str(dataset.DerivationDescription).startswith("a b  xxx")
    assert len(dataset.DerivationDescription) == 1024


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed")
@pytest.mark.parametrize("keep", [False, True])
def test_dciodvfy_finds_no_error(tmp_path, source, keep):
    written(tmp_path / "a.dcm", noise(), source=source, keep_patient=keep)
    done = subprocess.run(
        ["dciodvfy", str(tmp_path / "a.dcm")], capture_output=True, text=True, timeout=60
    )
    lines = (done.stdout + done.stderr).splitlines()
    assert "SCImage" in lines
    # SyntheticData is younger than some copies of the tool.
    errors = [line for line in lines if "Error" in line and "(0x0008,0x001c)" not in line]
    assert errors == []


def a_run(path, **config):
    found = [sample(i, flat(0.2), flat(0.8), outcome="reached" if i else "spent", patient=f"p{i}")
             for i in range(5)]  # fmt: skip
    return write(path, found, batch=2, classes=list(CLASSES), **config)


def test_a_run_becomes_one_series_without_its_names(tmp_path):
    a_run(tmp_path / "run")
    assert main(["dicom", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["1", "2", "3", "4"]
    files = sorted((tmp_path / "out").glob("*.dcm"))
    datasets = [pydicom.dcmread(file) for file in files]
    assert [file.name for file in files] == [row["file"] for row in rows]
    assert len({dataset.SeriesInstanceUID for dataset in datasets}) == 1
    for row, dataset in zip(rows, datasets, strict=True):
        assert dataset.SOPInstanceUID == row["sop_instance_uid"]
        assert "called it 'BRIGHT'" in dataset.DerivationDescription
        assert dataset.pixel_array[0, 0] == round(0.8 * 65535)
        assert (
            re.search(rb"test/\d|p[1-4]\b", (tmp_path / "out" / row["file"]).read_bytes()) is None
        )
    assert main(["dicom", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 2
    assert [pydicom.dcmread(file) for file in files] == datasets


def test_a_run_keeps_patients_where_its_data_are_dicom_files(tmp_path, source):
    for name in ("DARK", "BRIGHT"):
        place = tmp_path / "films" / "test" / name
        place.mkdir(parents=True)
        shutil.copy(source, place / "1.dcm")
    row = sample(1, flat(0.2), flat(0.8), path="test/DARK/1.dcm")
    data = str(tmp_path / "films")
    write(tmp_path / "run", [row], classes=list(CLASSES), data=data)
    out = str(tmp_path / "out")
    assert main(["dicom", str(tmp_path / "run"), "--out", out, "--keep_patient", "true"]) == 0
    assert pydicom.dcmread(tmp_path / "out" / "0001.dcm").PatientID == "4711"


def test_a_run_that_reached_nothing_or_knows_no_patient_is_refused(tmp_path, capsys):
    write(tmp_path / "run", [sample(1, flat(0.2), flat(0.3), outcome="spent")])
    assert main(["dicom", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 2
    assert "got none of 1" in capsys.readouterr().err
    a_run(tmp_path / "more", data=None)
    keep = ["--keep_patient", "true"]
    assert main(["dicom", str(tmp_path / "more"), "--out", str(tmp_path / "out"), *keep]) == 2
    assert "leave --keep_patient out" in capsys.readouterr().err


def test_without_its_extra_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    a_run(tmp_path / "run")
    monkeypatch.delitem(sys.modules, "cfgen.data.dicom_out", raising=False)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert main(["dicom", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 2
    assert "pip install 'cfgen[dicom]'" in capsys.readouterr().err
