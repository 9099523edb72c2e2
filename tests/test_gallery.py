import numpy as np
import pytest
import torch
from PIL import Image

from cfgen.data.phantom import of_path
from evaluation.gallery import gallery
from evaluation.phantoms import phantoms
from evaluation.runs import create_run, write_shards


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture) / 255


def a_run(path, count=5):
    create_run(path, {"method": "pixel"})
    images = torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    rows = [
        {"id": i, "path": f"test/A/film-{i}.png", "target": "B", "p_target_factual": 0.1,
         "p_target": 0.95, "outcome": "reached"}
        for i in range(count)
    ]  # fmt: skip
    write_shards(path, rows, torch.arange(count), images, 1 - images)
    return path


def test_the_first_cases_become_a_figure_that_grows_with_their_number(tmp_path):
    run = a_run(tmp_path / "run")
    gallery(run, count=1, out=tmp_path / "one.png")
    assert gallery(run, count=4) == run / "gallery.png"
    with Image.open(tmp_path / "one.png") as one, Image.open(run / "gallery.png") as four:
        assert four.height > one.height


def test_another_run_stands_beside_if_it_has_the_same_images(tmp_path):
    run, other = a_run(tmp_path / "run"), a_run(tmp_path / "other")
    gallery(run, count=2, out=tmp_path / "one.png")
    gallery(run, count=2, beside=other, out=tmp_path / "two.png")
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        assert two.width > 1.5 * one.width
    few = a_run(tmp_path / "few", count=1)
    with pytest.raises(ValueError, match="got none for 1 of 2"):
        gallery(run, count=2, beside=few)


def test_a_gallery_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="count of 1 or more"):
        gallery(a_run(tmp_path / "run"), count=0)


def test_phantoms_are_written_with_what_is_known_of_them(tmp_path):
    sheet = phantoms(tmp_path, count=4, size=64, shortcut=1.0)
    assert sheet == tmp_path / "sheet.png"
    files = sorted((tmp_path / "test").glob("*/*.png"))
    assert [file.parent.name for file in files] == ["NORMAL"] * 2 + ["OPACITY"] * 2
    for file in files:
        phantom = of_path(f"test/{file.parent.name}/{file.name}", size=64)
        written = pixels(file)
        assert np.abs(written - phantom.image[0].numpy()).max() <= 0.5 / 255 + 1e-6
        for name in ("truth", "lungs", "opacity", "marker"):
            known = pixels(tmp_path / name / file.parent.name / file.name)
            assert np.abs(known - getattr(phantom, name)[0].float().numpy()).max() < 0.003
