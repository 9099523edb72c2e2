"""DICOM images become what a viewer would show of them, as float32 (1, h, w) in [0, 1].

This module needs pydicom, an extra; `cfgen.data.files` imports it when it meets a DICOM file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer, Real

from cfgen.data.pixels import check_pixels, grey_of, refuse
from cfgen.types import Image

try:
    from pydicom import Dataset, dcmread
    from pydicom.pixels.processing import apply_modality_lut
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "expected pydicom to read DICOM files, got none; do pip install 'cfgen[dicom]'"
    ) from error

Stored = Integer[np.ndarray, "height width"]
Values = Real[np.ndarray, "height width"]
Shown = Float[np.ndarray, "height width"]


def read_dicom(path: Path) -> Image:
    """Read a single-frame DICOM image.

    The order is that of the standard (PS3.3 C.11, PS3.4 N.2): decode the pixels, apply the modality
    LUT or rescaling, then the VOI LUT or, without one, the first window, which maps to [0, 1];
    without either, the range that the stored bits can express maps to [0, 1]. MONOCHROME1 is
    inverted, so that bright is always dense, and padding pixels are black.

    Args:
        path: the file. `cfgen.data.files.read_image` reads any kind of file and checks more.

    Returns:
        The image, (1, h, w) in [0, 1].

    Raises:
        UnreadableImage: if it has no pixels, several frames, or colours.
    """
    dataset = dcmread(path)
    if "PixelData" not in dataset:
        raise refuse(path, "a DICOM file without pixel data", "give the image itself")
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise refuse(path, f"{dataset.NumberOfFrames} frames", "export one frame as a file")
    check_pixels(path, dataset.Rows, dataset.Columns)
    return torch.from_numpy(_shown(dataset, path).astype(np.float32))[None]


def _shown(dataset: Dataset, path: Path) -> Shown:
    photometric = str(dataset.PhotometricInterpretation)
    if dataset.SamplesPerPixel == 3:
        return grey_of(dataset.pixel_array / (2.0**dataset.BitsStored - 1), path)
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise refuse(path, f"{photometric} pixels", "export it as MONOCHROME2")
    stored = dataset.pixel_array.astype(np.int64)
    shown = _displayed(stored, dataset, path)
    if photometric == "MONOCHROME1":
        shown = 1 - shown
    return np.where(_is_padding(stored, dataset), 0, shown)


def _displayed(stored: Stored, dataset: Dataset, path: Path) -> Shown:
    values = apply_modality_lut(stored, dataset)
    if dataset.get("VOILUTSequence"):
        return _look_up(values, dataset.VOILUTSequence[0])
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
        center, width = _first(dataset.WindowCenter), _first(dataset.WindowWidth)
        if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
            raise refuse(path, f"the VOI LUT function {function}", "export it with a window")
        if width < 1 if function == "LINEAR" else width <= 0:
            raise refuse(path, f"the window width {width:g}", "correct it, or remove the window")
        return window(values, center, width, function)
    bits = dataset.BitsStored
    lowest = -(2 ** (bits - 1)) if dataset.PixelRepresentation else 0
    ends = apply_modality_lut(np.array([[lowest, lowest + 2**bits - 1]]), dataset)
    low, high = float(ends.min()), float(ends.max())
    return np.clip((values - low) / (high - low), 0, 1)


def window(values: Values, center: float, width: float, function: str) -> Shown:
    """Map values to [0, 1] by a VOI window, c its center and w its width.

    LINEAR clips (x - (c - 0.5)) / (w - 1) + 0.5 (PS3.3 C.11.2.1.2.1), LINEAR_EXACT clips
    (x - c) / w + 0.5, SIGMOID is 1 / (1 + exp(-4 (x - c) / w)) (C.11.2.1.3).

    >>> window(np.array([[0, 1024, 2048, 4095]]), 2048.0, 4096.0, "LINEAR").round(3)
    array([[0.  , 0.25, 0.5 , 1.  ]])
    """
    if function == "SIGMOID":
        return 0.5 + 0.5 * np.tanh(2 * (values - center) / width)  # the same, without overflow
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0, 1)


def _look_up(values: Values, item: Dataset) -> Shown:
    # Not pydicom's `apply_voi`: its indices have the type of the entries, so that with 8-bit
    # entries they wrap at 256.
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):
        data = np.frombuffer(data, dtype="<u2" if len(data) >= 2 * (entries or 2**16) else "u1")
    table = np.asarray(data, dtype=np.float64)[: entries or 2**16]
    index = np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)
    return np.clip(table[index] / (2**bits - 1), 0, 1)


def _is_padding(stored: Stored, dataset: Dataset) -> Bool[np.ndarray, "height width"]:
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros_like(stored, dtype=bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = sorted((int(value), int(value if limit is None else limit)))
    return (stored >= ends[0]) & (stored <= ends[1])


def _first(value: float | Sequence[float]) -> float:
    return float(value[0] if isinstance(value, Sequence) else value)
