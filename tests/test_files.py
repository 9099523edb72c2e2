from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms
from skimage.io import imread

from cfgen.data.files import read_image
from cfgen.data.pixels import UnreadableImage
from cfgen.data.samples import choose
from cfgen.data.sources import open_source


@pytest.fixture
def grey8() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 20), dtype=np.uint8)


@pytest.fixture
def grey16() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 65536, (12, 20), dtype=np.uint16)


@pytest.fixture
def smooth() -> np.ndarray:
    rows, columns = np.mgrid[0:64, 0:48]
    return (127 + 80 * np.sin(rows / 9) * np.cos(columns / 7)).astype(np.uint8)


def _read(path: Path) -> np.ndarray:
    image = read_image(path)
    assert image.dtype == torch.float32
    assert image.shape[0] == 1
    return image[0].numpy()


def test_8_bit_png_is_divided_by_255(tmp_path: Path, grey8):
    Image.fromarray(grey8).save(tmp_path / "film.png")
    assert np.allclose(_read(tmp_path / "film.png"), grey8 / 255, atol=1e-7)


def test_16_bit_png_is_divided_by_65535(tmp_path: Path, grey16):
    Image.fromarray(grey16).save(tmp_path / "film.png")
    assert np.allclose(_read(tmp_path / "film.png"), grey16 / 65535, atol=1e-7)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_grey_content_in_other_modes_is_the_same_image(tmp_path: Path, grey8, mode):
    Image.fromarray(grey8).convert(mode).save(tmp_path / "film.png")
    assert np.allclose(_read(tmp_path / "film.png"), grey8 / 255, atol=1e-6)


def test_palette_of_greys_is_looked_up(tmp_path: Path, grey8):
    image = Image.fromarray(255 - grey8).convert("P")
    image.putpalette([255 - value for value in range(256) for _ in "rgb"])
    indices = np.asarray(image)
    image.save(tmp_path / "film.png")
    assert np.allclose(_read(tmp_path / "film.png"), (255 - indices) / 255, atol=1e-6)


def test_1_bit_png_is_black_and_white(tmp_path: Path, grey8):
    Image.fromarray(grey8 > 127).save(tmp_path / "film.png")
    assert np.array_equal(_read(tmp_path / "film.png"), grey8 > 127)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_agrees_with_skimage(tmp_path: Path, smooth, mode, progressive):
    path = tmp_path / "film.jpeg"
    Image.fromarray(smooth).convert(mode).save(path, quality=90, progressive=progressive)
    expected = imread(path)
    expected = expected.mean(axis=-1) if expected.ndim == 3 else expected
    assert np.allclose(_read(path), expected / 255, atol=1e-6)


def test_small_chroma_noise_of_a_jpeg_is_grey(tmp_path: Path, smooth):
    noise = np.random.default_rng(0).integers(-1, 2, (*smooth.shape, 3))
    path = tmp_path / "film.jpg"
    Image.fromarray((smooth[..., None] + noise).astype(np.uint8)).save(path, quality=85)
    assert np.abs(_read(path) - smooth / 255).mean() < 0.02


def test_exif_orientation_is_applied(tmp_path: Path, grey8):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    Image.fromarray(grey8).save(tmp_path / "film.png", exif=exif)
    assert np.allclose(_read(tmp_path / "film.png"), np.rot90(grey8, -1) / 255, atol=1e-7)


def test_content_decides_not_the_suffix(tmp_path: Path, grey8):
    Image.fromarray(grey8).save(tmp_path / "film.dcm", format="PNG")
    assert np.allclose(_read(tmp_path / "film.dcm"), grey8 / 255, atol=1e-7)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_of_8_and_16_bits(tmp_path: Path, grey8, grey16, compression):
    for pixels, white in ((grey8, 255), (grey16, 65535)):
        path = tmp_path / f"{white}.tiff"
        Image.fromarray(pixels).save(path, compression=compression)
        assert np.allclose(_read(path), pixels / white, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_tiff_in_range_is_left_as_it_is(tmp_path: Path, dtype):
    pixels = np.random.default_rng(0).random((12, 20)).astype(dtype)
    tifffile.imwrite(tmp_path / "film.tif", pixels)
    assert np.array_equal(_read(tmp_path / "film.tif"), pixels.astype(np.float32))


def test_tiff_with_white_as_zero_is_inverted(tmp_path: Path, grey8):
    tifffile.imwrite(tmp_path / "film.tif", grey8, photometric="miniswhite")
    assert np.allclose(_read(tmp_path / "film.tif"), 1 - grey8 / 255, atol=1e-6)


def test_rgb_tiff_with_grey_content(tmp_path: Path, grey8):
    tifffile.imwrite(tmp_path / "film.tif", np.stack([grey8] * 3, -1), photometric="rgb")
    assert np.allclose(_read(tmp_path / "film.tif"), grey8 / 255, atol=1e-6)


def _encoded(kind: str, pixels: np.ndarray, **options: bool) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ],
)
def test_a_cut_file_is_never_half_an_image(tmp_path: Path, smooth, kind, options):
    whole = _encoded(kind, smooth, **options)
    path = tmp_path / "film"
    path.write_bytes(whole)
    expected = _read(path)
    for length in range(1, len(whole), 37):
        for filler in (b"", bytes(len(whole) - length)):  # cut short, or the rest never arrived
            if kind == "TIFF" and filler and not options:
                continue  # an uncompressed TIFF has no checksum, and black is a valid value
            path.write_bytes(whole[:length] + filler)
            try:
                found = _read(path)
            except UnreadableImage as error:
                assert str(path) in str(error)  # noqa: PT017 - either outcome is right
            else:
                assert np.array_equal(found, expected)


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_truncated_files_are_refused(tmp_path: Path, grey16, kind, cut):
    pixels = (np.tile(grey16, (4, 4)) >> 8).astype(np.uint8)
    whole = _encoded(kind, pixels)
    (tmp_path / "film").write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(UnreadableImage, match=r"film.*again"):
        read_image(tmp_path / "film")


def test_colour_photograph_is_refused(tmp_path: Path, smooth):
    photograph = np.stack([smooth, smooth // 2, 255 - smooth], axis=-1)
    for name in ("photo.jpg", "photo.png", "photo.tif"):
        Image.fromarray(photograph).save(tmp_path / name)
        with pytest.raises(UnreadableImage, match=rf"colour photograph in .*{name}; give a grey"):
            read_image(tmp_path / name)


def test_a_small_coloured_stamp_is_colour_too(tmp_path: Path, smooth):
    stamped = np.stack([smooth] * 3, axis=-1)
    stamped[:6, :6] = (255, 0, 0)
    Image.fromarray(stamped).save(tmp_path / "film.png")
    with pytest.raises(UnreadableImage, match="colour"):
        read_image(tmp_path / "film.png")


def test_cmyk_is_refused(tmp_path: Path, smooth):
    Image.fromarray(smooth).convert("CMYK").save(tmp_path / "film.jpg")
    with pytest.raises(UnreadableImage, match="mode CMYK"):
        read_image(tmp_path / "film.jpg")


def test_transparent_image_is_refused(tmp_path: Path, smooth):
    image = Image.fromarray(smooth)
    image.putalpha(128)
    image.save(tmp_path / "film.png")
    with pytest.raises(UnreadableImage, match="transparent"):
        read_image(tmp_path / "film.png")


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.1, 1.5])
def test_float_tiff_out_of_range_is_refused(tmp_path: Path, wrong):
    pixels = np.full((12, 20), 0.5, dtype=np.float32)
    pixels[3, 4] = wrong
    tifffile.imwrite(tmp_path / "film.tif", pixels)
    with pytest.raises(UnreadableImage, match=r"\[0, 1\] in .*film\.tif; rescale"):
        read_image(tmp_path / "film.tif")


def test_signed_tiff_is_refused(tmp_path: Path, grey8):
    tifffile.imwrite(tmp_path / "film.tif", grey8.astype(np.int16))
    with pytest.raises(UnreadableImage, match="int16"):
        read_image(tmp_path / "film.tif")


def test_several_pages_or_frames_are_refused(tmp_path: Path, grey8):
    pages = [Image.fromarray(grey8), Image.fromarray(255 - grey8)]
    for name in ("film.tif", "film.png"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        with pytest.raises(UnreadableImage, match=r"pages|several frames"):
            read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty file"),
        (b"path,label\n", "none of JPEG, PNG, TIFF and DICOM"),
        (b"\xff\xd8\xff\xe0 not a JPEG", "film"),
        (b"\x89PNG\r\n\x1a\n not a PNG", "film"),
        (b"II*\0 not a TIFF", "film"),
        (bytes(128) + b"DICM not a DICOM file", "film"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, content, message):
    (tmp_path / "film.png").write_bytes(content)
    with pytest.raises(UnreadableImage, match=message) as caught:
        read_image(tmp_path / "film.png")
    assert "film.png" in str(caught.value)
    assert ";" in str(caught.value)  # the remedy


def test_missing_file_and_folder_are_refused(tmp_path: Path):
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(UnreadableImage, match="no file"):
            read_image(path)


def test_tiny_and_constant_images_are_refused(tmp_path: Path, grey8):
    Image.fromarray(grey8[:7]).save(tmp_path / "tiny.png")
    with pytest.raises(UnreadableImage, match=r"7 x 20 pixels in .*tiny\.png; give at least 8"):
        read_image(tmp_path / "tiny.png")
    Image.new("L", (20, 20), 255).save(tmp_path / "white.png")
    with pytest.raises(UnreadableImage, match=r"single value 1 in .*white\.png"):
        read_image(tmp_path / "white.png")


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, grey8, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("cfgen.data.pixels.MAX_PIXELS", 100)
    for name in ("film.png", "film.tif"):
        Image.fromarray(grey8).save(tmp_path / name)
        with pytest.raises(UnreadableImage, match=r"12 x 20 pixels .*scale it down"):
            read_image(tmp_path / name)


def test_a_broken_colour_profile_does_no_harm(tmp_path: Path, grey8):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(grey8).save(tmp_path / "film.png", icc_profile=profile[:50])
    assert np.allclose(_read(tmp_path / "film.png"), grey8 / 255, atol=1e-7)


@pytest.mark.xrays
def test_xrays_are_read_as_skimage_reads_them(xrays: Path):
    source = open_source(str(xrays))
    for sample in choose(source.of("test"), 8):
        expected = imread(xrays / sample.path)
        found = source.load(sample)
        assert found.shape == (1, 224, 224)
        assert np.abs(found[0].numpy() - expected.reshape(224, 224, -1).mean(-1) / 255).max() < 0.01
