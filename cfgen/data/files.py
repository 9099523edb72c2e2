"""Image files become float32 (1, h, w) in [0, 1]; what cannot be read raises one exception."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from jaxtyping import Shaped
from tifffile import COMPRESSION, PHOTOMETRIC, TiffFile, TiffPage

from cfgen.data.pixels import Grey, UnreadableImage, check_pixels, check_values, grey_of, refuse
from cfgen.data.samples import Sample
from cfgen.types import Image

SUFFIXES = frozenset({".dcm", ".dicom", ".ima", ".jpeg", ".jpg", ".png", ".tif", ".tiff"})

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_UNPACKED_BY_TIFFFILE = (
    COMPRESSION.NONE,
    COMPRESSION.ADOBE_DEFLATE,
    COMPRESSION.DEFLATE,
    COMPRESSION.PACKBITS,
)


def read_image(path: Path) -> Image:
    """Read a grey image from a JPEG, PNG, TIFF or DICOM file.

    What the file holds decides how it is read, not its suffix. 8-bit values are divided by 255,
    16-bit ones by 65535, so that an image keeps the scale of its bit depth; for DICOM see
    `cfgen.data.dicom.read_dicom`. Colour files are read where their channels agree. An EXIF
    orientation is applied.

    Args:
        path: the file.

    Returns:
        The image, (1, h, w) in [0, 1].

    Raises:
        UnreadableImage: if the file is missing, empty, truncated, no image, in colour, of several
            frames, smaller than 8 pixels, larger than 100 megapixels, or of one value only.
    """
    try:
        grey = _read(path)
    except (UnreadableImage, ModuleNotFoundError):
        raise
    except Exception as error:  # decoders raise nearly anything on a broken file
        reason = " ".join(str(error).split())
        raise UnreadableImage(
            f"expected a readable image, got {path} ({type(error).__name__}: {reason}); "
            "export or download it again, or leave it out"
        ) from error
    return torch.from_numpy(check_values(grey, path))[None]


def file_of(root: Path, sample: Sample) -> Path:
    """Where a sample's file is; an absolute path stays as it is."""
    return root / sample.path


def load_file(root: Path, sample: Sample) -> Image:
    """Read the file of a sample whose path is relative to `root`."""
    return read_image(file_of(root, sample))


def _read(path: Path) -> Grey:
    if not path.is_file():
        raise refuse(path, "no file", "check the path")
    with path.open("rb") as file:
        head = file.read(132)
    if not head:
        raise refuse(path, "an empty file", "export or download it again")
    if head[128:] == b"DICM":
        from cfgen.data.dicom import read_dicom

        return read_dicom(path)[0].numpy()
    if head.startswith(_TIFF):
        return _read_tiff(path)
    if head.startswith((_JPEG, _PNG)):
        return _read_jpeg_or_png(path)
    raise refuse(path, "none of JPEG, PNG, TIFF and DICOM", "convert it to a grey PNG")


def _read_jpeg_or_png(path: Path) -> Grey:
    data = path.read_bytes()
    if data.startswith(_JPEG) and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        # Decoders fill what is missing with grey and say nothing, so look for the end marker.
        raise refuse(path, "a truncated JPEG", "export or download it again")
    if data.startswith(_PNG):
        with PIL.Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            image.verify()  # the checksums, which reading alone does not look at
    with warnings.catch_warnings():
        # Pillow's own limit only warns; the one below is an error for every kind of file.
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        with PIL.Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            check_pixels(path, image.height, image.width)
            if getattr(image, "n_frames", 1) > 1:
                raise refuse(path, "several frames", "save one frame as a file")
            image.load()
            upright = PIL.ImageOps.exif_transpose(image)
    if upright.mode in ("I;16", "I;16B", "I"):
        return np.asarray(upright, dtype=np.float32) / 65535
    if upright.mode in ("P", "PA"):
        upright = upright.convert("RGBA")
    if upright.mode == "1":
        upright = upright.convert("L")
    if upright.mode not in ("L", "LA", "RGB", "RGBA"):
        raise refuse(path, f"an image of mode {upright.mode}", "save it as a grey PNG")
    return grey_of(np.asarray(upright, dtype=np.float32) / 255, path)


def _read_tiff(path: Path) -> Grey:
    with TiffFile(path) as file:
        if len(file.pages) != 1:
            raise refuse(path, f"{len(file.pages)} pages", "save one page as a file")
        page = file.pages.first
        if not page.dataoffsets:
            raise refuse(path, "a truncated TIFF", "export or download it again")
        check_pixels(path, page.imagelength, page.imagewidth)
        bits, photometric = page.bitspersample, page.photometric
        values = _tiff_values(page, path)
    if photometric not in (
        PHOTOMETRIC.MINISBLACK,
        PHOTOMETRIC.MINISWHITE,
        PHOTOMETRIC.RGB,
    ):
        raise refuse(path, f"{PHOTOMETRIC(photometric).name} colours", "save it as a grey PNG")
    if values.dtype.kind == "f":
        scaled = values.astype(np.float32)
        if not (np.isfinite(scaled).all() and scaled.min() >= 0 and scaled.max() <= 1):
            raise refuse(
                path, "floating-point values that are not all in [0, 1]", "rescale them to [0, 1]"
            )
    elif values.dtype.kind in "ub" and bits <= 16:
        scaled = values.astype(np.float32) / (2**bits - 1)
    else:
        raise refuse(path, f"{values.dtype} values", "save it as an 8- or 16-bit PNG")
    grey = grey_of(scaled, path)
    return 1 - grey if photometric == PHOTOMETRIC.MINISWHITE else grey


def _tiff_values(page: TiffPage, path: Path) -> Shaped[np.ndarray, ...]:
    if page.compression in _UNPACKED_BY_TIFFFILE or page.photometric == PHOTOMETRIC.MINISWHITE:
        return page.asarray()
    # tifffile needs imagecodecs for LZW and rarer ones; Pillow knows most of them by itself.
    with PIL.Image.open(path, formats=("TIFF",)) as image:
        return np.asarray(image)
