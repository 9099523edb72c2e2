"""Writes images as DICOM Secondary Captures that nobody takes for a patient's X-ray.

This module needs pydicom, an extra.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt16

from cfgen.data.burning import WARNING, burned
from cfgen.types import Image

try:
    from pydicom import Dataset, dcmread
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "expected pydicom to write DICOM files, got none; do pip install 'cfgen[dicom]'"
    ) from error

PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
"""Elements of a source that are copied where they are asked for."""
_LONG_TEXT, _SHORT_TEXT = 1024, 64

Bits = Literal[8, 16]


@dataclass(frozen=True)
class Series:
    """A new study with one series, which images that belong together share.

    Attributes:
        study: its UID.
        series: the series' UID.
        made: when.
    """

    study: str = field(default_factory=lambda: _new_uid())
    series: str = field(default_factory=lambda: _new_uid())
    made: datetime = field(default_factory=datetime.now)


def write_secondary_capture(
    path: Path,
    image: Image,
    description: str,
    *,
    series: Series | None = None,
    number: int = 1,
    source: Path | None = None,
    keep_patient: bool = False,
    bits: Bits = 16,
) -> str:
    r"""Write an image as a Secondary Capture (PS3.3 A.8.1), marked as synthetic in every way.

    The pixels are MONOCHROME2 of 8 or 16 bits, `WARNING` burned into the bottom of them; an image
    too small for that is enlarged by repeating its pixels. ImageType is DERIVED\SECONDARY,
    Modality OT, BurnedInAnnotation and SyntheticData YES. All identifiers are new, and nothing of
    a source is copied unless it is asked for.

    Args:
        path: the file; an earlier one is replaced.
        image: (1, h, w) in [0, 1].
        description: how it was made, for DerivationDescription; cut after 1,024 letters.
        series: where it belongs; a new study and series by default.
        number: its place in the series.
        source: a DICOM file that it was made from.
        keep_patient: whether name, ID, birth date and sex of the source's patient are copied, and
            the source is referred to.
        bits: stored for each pixel.

    Returns:
        The new SOP instance UID.

    Raises:
        ValueError: the patient is to be kept without a source that is a DICOM file.

    Example:
        >>> import tempfile, torch
        >>> folder = Path(tempfile.mkdtemp())
        >>> uid = write_secondary_capture(folder / "a.dcm", torch.rand(1, 64, 64), "a test")
        >>> dcmread(folder / "a.dcm").SOPInstanceUID == uid
        True
    """
    group = series or Series()
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = _new_uid()
    _describe(dataset, group, number, description)
    _identify(dataset, _patient_source(source) if keep_patient else None)
    _draw(dataset, image, bits)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return str(dataset.SOPInstanceUID)


def _describe(dataset: Dataset, group: Series, number: int, description: str) -> None:
    """Say what the image is: a derived, synthetic one of a study of its own."""
    day, time = group.made.strftime("%Y%m%d"), group.made.strftime("%H%M%S")
    dataset.StudyID = "SYNTHETIC"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = group.study, group.series
    dataset.StudyDate = dataset.ContentDate = dataset.DateOfSecondaryCapture = day
    dataset.StudyTime = dataset.ContentTime = dataset.TimeOfSecondaryCapture = time
    dataset.ReferringPhysicianName = dataset.AccessionNumber = ""
    dataset.StudyDescription = dataset.SeriesDescription = WARNING
    dataset.Modality, dataset.ConversionType = "OT", "WSD"
    dataset.SeriesNumber, dataset.InstanceNumber = 1, number
    dataset.PatientOrientation = dataset.Laterality = ""
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.BurnedInAnnotation = dataset.SyntheticData = "YES"
    dataset.DerivationDescription = _plain(description, _LONG_TEXT)
    dataset.ImageComments = WARNING
    dataset.SecondaryCaptureDeviceManufacturer = "cfgen"
    dataset.SecondaryCaptureDeviceSoftwareVersions = _plain(version("cfgen"), _SHORT_TEXT)


def _identify(dataset: Dataset, source: Dataset | None) -> None:
    """Copy whose image the source is, or say that nobody's identity was kept."""
    for name in PATIENT:
        setattr(dataset, name, "" if source is None else source.get(name, ""))
    if source is None:
        dataset.PatientName, dataset.PatientID = "SYNTHETIC^COUNTERFACTUAL", "SYNTHETIC"
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = "no element of a source was copied"
        return
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    dataset.SourceImageSequence = [reference]


def _patient_source(source: Path | None) -> Dataset:
    known = None
    if source is not None and source.is_file():
        with source.open("rb") as file:
            known = (
                dcmread(source, stop_before_pixels=True)
                if file.read(132)[128:] == b"DICM"
                else None
            )
    if known is None:
        raise ValueError(
            f"expected a DICOM file to keep the patient of, got {source or 'none'}; leave the "
            "patient out, or name the file that the image was made from."
        )
    return known


def _draw(dataset: Dataset, image: Image, bits: Bits) -> None:
    """Store the pixels, the warning burned into them."""
    largest = 2**bits - 1
    pixels = burned(image[0].detach().cpu().clamp(0, 1).double().numpy())
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    # This window maps all that the bits can express, so that viewers do not choose their own.
    dataset.WindowCenter, dataset.WindowWidth = 2 ** (bits - 1), 2**bits
    stored: UInt16[np.ndarray, "height width"] = np.rint(pixels * largest).astype("<u2")
    data = stored.astype("u1").tobytes() if bits == 8 else stored.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"


def _plain(text: str, length: int) -> str:
    """Return a text as an element can hold it: backslashes would part it in two."""
    letters = (letter if letter.isprintable() and letter != "\\" else " " for letter in text)
    return "".join(letters)[:length]


def _new_uid() -> str:
    return str(generate_uid(prefix=None))
