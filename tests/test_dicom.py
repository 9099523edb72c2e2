from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_windowing
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    generate_uid,
)

from cfgen.data import dicom
from cfgen.data.files import read_image
from cfgen.data.pixels import UnreadableImage


@pytest.fixture
def stored() -> np.ndarray:
    """12 bits, with both ends of their range."""
    pixels = np.random.default_rng(0).integers(0, 4096, (16, 24), dtype=np.uint16)
    pixels[0, :2] = (0, 4095)
    return pixels


def _dataset(pixels: np.ndarray, bits: int = 12, **elements: Any) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = elements.pop("syntax", ExplicitVRLittleEndian)
    dataset = FileDataset("film.dcm", Dataset(), file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def _lut(first: int, bits: int, entries: np.ndarray) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.add_new("LUTData", "US", [int(entry) for entry in entries])
    return item


def _read(tmp_path: Path, dataset: Dataset) -> np.ndarray:
    path = tmp_path / "film.dcm"
    dataset.save_as(path, enforce_file_format=True)
    image = read_image(path)
    assert image.dtype == torch.float32
    assert image.min() >= 0
    assert image.max() <= 1
    return image[0].numpy()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_without_a_window_the_stored_bits_are_the_scale(tmp_path: Path, stored, syntax):
    found = _read(tmp_path, _dataset(stored // 2, syntax=syntax))
    assert np.allclose(found, (stored // 2) / 4095, atol=1e-6)


def test_the_suffix_does_not_matter(tmp_path: Path, stored):
    _dataset(stored).save_as(tmp_path / "IM000001", enforce_file_format=True)
    assert torch.equal(read_image(tmp_path / "IM000001"), dicom.read_dicom(tmp_path / "IM000001"))


def test_monochrome1_is_inverted(tmp_path: Path, stored):
    found = _read(tmp_path, _dataset(stored, PhotometricInterpretation="MONOCHROME1"))
    assert np.allclose(found, 1 - stored / 4095, atol=1e-6)


def test_signed_pixels_are_scaled_by_their_own_range(tmp_path: Path, stored):
    signed = stored.astype(np.int16) - 2048
    assert np.allclose(_read(tmp_path, _dataset(signed)), (signed + 2048) / 4095, atol=1e-6)


@pytest.mark.parametrize("slope", [2.5, -1.0])
def test_rescaling_alone_keeps_the_scale_and_follows_its_sign(tmp_path: Path, stored, slope):
    found = _read(tmp_path, _dataset(stored, RescaleSlope=slope, RescaleIntercept=-1024))
    expected = stored / 4095 if slope > 0 else 1 - stored / 4095
    assert np.allclose(found, expected, atol=1e-6)


def test_linear_window_is_that_of_the_standard(tmp_path: Path, stored):
    """PS3.3 C.11.2.1.2.1, as its three cases are written there, with y from 0 to 1."""
    center, width = 2000, 1500
    expected = np.select(
        [
            stored <= center - 0.5 - (width - 1) / 2,
            stored > center - 0.5 + (width - 1) / 2,
        ],
        [0.0, 1.0],
        (stored - (center - 0.5)) / (width - 1) + 0.5,
    )
    found = _read(tmp_path, _dataset(stored, WindowCenter=center, WindowWidth=width))
    assert np.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("rescaled", [False, True])
def test_windows_agree_with_pydicom(tmp_path: Path, stored, function, rescaled):
    elements = {"RescaleSlope": 2, "RescaleIntercept": -1000} if rescaled else {}
    dataset = _dataset(
        stored, WindowCenter=1800, WindowWidth=900, VOILUTFunction=function, **elements
    )
    values = 2.0 * stored - 1000 if rescaled else stored
    low, high = (-1000, 2 * 4095 - 1000) if rescaled else (0, 4095)
    expected = (apply_windowing(values, dataset) - low) / (high - low)
    assert np.allclose(_read(tmp_path, dataset), expected, atol=1e-6)


def test_the_first_of_several_windows_counts(tmp_path: Path, stored):
    one = _read(tmp_path, _dataset(stored, WindowCenter=2000, WindowWidth=1500))
    two = _read(tmp_path, _dataset(stored, WindowCenter=[2000, 500], WindowWidth=[1500, 300]))
    assert np.array_equal(one, two)


def test_a_window_of_width_one_is_a_threshold(tmp_path: Path, stored):
    found = _read(tmp_path, _dataset(stored, WindowCenter=2000, WindowWidth=1))
    assert np.array_equal(found, stored > 1999.5)


@pytest.mark.parametrize(
    ("function", "width"), [("LINEAR", 0), ("SIGMOID", 0), ("LINEAR_EXACT", -3), ("CUBIC", 9)]
)
def test_impossible_windows_are_refused(tmp_path: Path, stored, function, width):
    dataset = _dataset(stored, WindowCenter=1, WindowWidth=width, VOILUTFunction=function)
    with pytest.raises(UnreadableImage, match=r"window.*film\.dcm|CUBIC.*film\.dcm"):
        _read(tmp_path, dataset)


@pytest.mark.parametrize("bits", [8, 12])
def test_voi_lut_comes_before_a_window(tmp_path: Path, stored, bits):
    entries = np.round((2**bits - 1) * np.linspace(0, 1, 3000) ** 2)
    dataset = _dataset(stored, WindowCenter=1, WindowWidth=2)
    dataset.VOILUTSequence = [_lut(500, bits, entries)]
    expected = entries[np.clip(stored.astype(int) - 500, 0, 2999)] / (2**bits - 1)
    assert np.allclose(_read(tmp_path, dataset), expected, atol=1e-6)


def test_modality_lut_comes_before_the_window(tmp_path: Path, stored):
    entries = np.arange(4096)[::-1]
    dataset = _dataset(stored, WindowCenter=2000, WindowWidth=1500)
    dataset.ModalityLUTSequence = [_lut(0, 16, entries)]
    expected = dicom.window(4095 - stored.astype(int), 2000.0, 1500.0, "LINEAR")
    assert np.allclose(_read(tmp_path, dataset), expected, atol=1e-6)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black(tmp_path: Path, stored, photometric):
    stored[2:4] = 4000
    dataset = _dataset(stored, PhotometricInterpretation=photometric, WindowCenter=1000)
    dataset.WindowWidth = 500
    dataset.PixelPaddingValue = 4000
    found = _read(tmp_path, dataset)
    assert np.all(found[2:4] == 0)
    assert found[4:].max() == 1


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_lossless_compression_changes_nothing(tmp_path: Path, stored, syntax):
    pixels = np.tile(stored, (4, 4))
    dataset = _dataset(pixels)
    dataset.compress(syntax)
    assert dataset.file_meta.TransferSyntaxUID == syntax
    assert np.allclose(_read(tmp_path, dataset), pixels / 4095, atol=1e-6)


@pytest.mark.parametrize("copy", ["RLE", "jp2klossless", "jpeg_ls_lossless", "bigendian"])
def test_pydicoms_compressed_copies_of_one_image_are_the_same_image(copy):
    original, compressed = (
        get_testdata_file(f"{name}.dcm", download=False)
        for name in ("MR_small", f"MR_small_{copy}")
    )
    assert torch.equal(read_image(Path(str(compressed))), read_image(Path(str(original))))


def test_baseline_jpeg_is_decoded(tmp_path: Path):
    pixels = np.add.outer(np.arange(32), 3 * np.arange(48)).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=95)
    dataset = _dataset(pixels, bits=8, syntax=JPEGBaseline8Bit)
    dataset.PixelData = encapsulate([buffer.getvalue()])
    dataset["PixelData"].VR = "OB"
    assert np.abs(_read(tmp_path, dataset) - pixels / 255).max() < 0.02


def test_grey_content_in_rgb_is_read_and_colour_is_refused(tmp_path: Path, stored):
    grey = (stored >> 4).astype(np.uint8)
    dataset = _dataset(grey, bits=8, SamplesPerPixel=3, PhotometricInterpretation="RGB")
    dataset.PlanarConfiguration = 0
    dataset.PixelData = np.stack([grey] * 3, axis=-1).tobytes()
    assert np.allclose(_read(tmp_path, dataset), grey / 255, atol=1e-6)
    dataset.PixelData = np.stack([grey, grey, 255 - grey], axis=-1).tobytes()
    with pytest.raises(UnreadableImage, match=r"colour photograph in .*film\.dcm"):
        _read(tmp_path, dataset)


def test_palette_colours_are_refused(tmp_path: Path, stored):
    with pytest.raises(UnreadableImage, match="PALETTE COLOR pixels"):
        _read(tmp_path, _dataset(stored, PhotometricInterpretation="PALETTE COLOR"))


def test_several_frames_are_refused(tmp_path: Path, stored):
    dataset = _dataset(np.stack([stored, stored]), NumberOfFrames=2)
    with pytest.raises(UnreadableImage, match=r"2 frames in .*film\.dcm; export one"):
        _read(tmp_path, dataset)


def test_a_file_without_pixels_is_refused(tmp_path: Path, stored):
    dataset = _dataset(stored)
    del dataset.PixelData
    with pytest.raises(UnreadableImage, match="without pixel data"):
        _read(tmp_path, dataset)


def test_a_truncated_file_is_refused(tmp_path: Path, stored):
    path = tmp_path / "film.dcm"
    _dataset(stored).save_as(path, enforce_file_format=True)
    whole = path.read_bytes()
    for length in (200, 400, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableImage, match=r"film\.dcm"):
            read_image(path)


def test_without_pydicom_the_extra_is_named(tmp_path: Path, stored, monkeypatch):
    path = tmp_path / "film.dcm"
    _dataset(stored).save_as(path, enforce_file_format=True)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    monkeypatch.delitem(sys.modules, "cfgen.data.dicom")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'cfgen\[dicom\]'"):
        read_image(path)
    assert pydicom.__version__  # the rest of the tests still has it
