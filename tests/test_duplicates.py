from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cfgen.data.duplicates import find_duplicates
from cfgen.data.pixels import UnreadableImage
from cfgen.data.sources import open_source


def _write(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def test_identical_files_are_found_within_and_across_splits(tmp_path: Path):
    seeds = {"train/A/1": 0, "train/A/2": 1, "train/B/3": 0, "test/A/4": 0, "test/B/5": 2}
    for name, seed in (seeds | {"test/B/6": 2, "test/B/7": 3}).items():
        _write(tmp_path / f"{name}.png", seed)
    assert find_duplicates(open_source(str(tmp_path))) == [
        ("test/A/4.png", "train/A/1.png", "train/B/3.png"),
        ("test/B/5.png", "test/B/6.png"),
    ]


def test_identical_images_of_an_archive_are_found(tmp_path: Path):
    arrays = {}
    for seed, split in enumerate(("train", "val", "test")):
        images = np.random.default_rng(seed).integers(0, 256, (3, 28, 28), dtype=np.uint8)
        arrays |= {f"{split}_images": images, f"{split}_labels": np.array([[0], [1], [0]])}
    arrays["test_images"][2] = arrays["train_images"][1]
    np.savez(tmp_path / "chests.npz", **arrays)
    source = open_source(str(tmp_path / "chests.npz"))
    assert find_duplicates(source) == [("test/00002.png", "train/00001.png")]


def test_a_drawn_source_has_none():
    assert find_duplicates(open_source("phantom")) == []


def test_a_missing_file_is_named(tmp_path: Path):
    _write(tmp_path / "A" / "1.png", 0)
    _write(tmp_path / "B" / "2.png", 1)
    source = open_source(str(tmp_path))
    (tmp_path / "B" / "2.png").unlink()
    with pytest.raises(UnreadableImage, match=r"2\.png"):
        find_duplicates(source)


@pytest.mark.xrays
def test_the_xrays_have_duplicates_within_a_split_only(xrays: Path):
    groups = find_duplicates(open_source(str(xrays)))
    assert groups
    for group in groups:
        first = (xrays / group[0]).read_bytes()
        assert all((xrays / path).read_bytes() == first for path in group)
    assert any(len({path.split("/")[0] for path in group}) == 1 for group in groups)
