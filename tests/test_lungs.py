import csv
import shutil

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from cfgen.cli import main
from cfgen.data.phantom import of_path, samples
from cfgen.models.segmenter import Segmenter
from evaluation.lungs import areas, lungs, overlay


@pytest.fixture
def bundle(tiny_bundle_path, tmp_path):
    """The tiny bundle with an untrained segmenter, of its own."""
    path = shutil.copytree(tiny_bundle_path, tmp_path / "copy")
    torch.manual_seed(0)
    Segmenter(side=16, widths=[4, 8]).save_pretrained(path / "segmenter")
    return path


@pytest.fixture
def films(tmp_path):
    for sample in samples({"test": 6}):
        path = tmp_path / "films" / sample.path
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = (of_path(sample.path, 64).image[0] * 255).round().byte().numpy()
        Image.fromarray(pixels).save(path)
    return tmp_path / "films"


def test_areas_are_those_of_each_class():
    masks = torch.zeros(4, 1, 10, 10, dtype=torch.bool)
    for place, count in enumerate((10, 20, 30, 50)):
        masks[place].view(-1)[:count] = True
    rows = list(csv.DictReader(areas(masks, ["B", "A", "A", "B"]).splitlines()))
    assert [(row["class"], row["films"]) for row in rows] == [("A", "2"), ("B", "2")]
    for row, shares in zip(rows, ([0.2, 0.3], [0.1, 0.5]), strict=True):
        assert float(row["mean"]) == pytest.approx(np.mean(shares), abs=1e-4)
        assert float(row["std"]) == pytest.approx(np.std(shares), abs=1e-4)
        for name, at in (("p5", 5), ("p95", 95)):
            assert float(row[name]) == pytest.approx(np.percentile(shares, at), abs=1e-4)


def test_an_outline_is_drawn_round_the_mask_and_nowhere_else():
    images = torch.zeros(2, 1, 64, 64)
    masks = torch.zeros(2, 1, 64, 64, dtype=torch.bool)
    masks[0, :, 16:48, 16:48] = True
    figure = overlay(images, masks, ["one", "none"])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    coloured = np.ptp(pixels, axis=2) > 60
    middle = coloured.shape[1] // 2
    assert coloured[:, :middle].sum() > 50
    assert not coloured[:, middle:].any()


def test_a_note_and_captions_with_dollars_are_no_mathematics():
    images = torch.zeros(1, 1, 8, 8)
    figure = overlay(images, images > 0, ["$a_b"], "$1 and $2")
    FigureCanvasAgg(figure).draw()
    assert figure.texts[0].get_text() == r"\$1 and \$2"


def test_the_command_writes_figure_and_areas(bundle, films, tmp_path, capsys):
    out = tmp_path / "out"
    code = main([
        "lungs", "--bundle", str(bundle), "--data", str(films), "--split", "test",
        "--count", "4", "--out", str(out),
    ])  # fmt: skip
    assert code == 0
    table = (out / "areas.csv").read_text()
    assert table.strip() in capsys.readouterr().out
    assert [row["films"] for row in csv.DictReader(table.splitlines())] == ["3", "3"]
    with Image.open(out / "lungs.jpeg") as picture:
        assert picture.format == "JPEG"
        assert picture.width > picture.height


def test_an_unreadable_film_is_named_and_left_out(bundle, films, tmp_path, capsys):
    next(films.glob("test/NORMAL/*")).write_bytes(b"no picture")
    table = lungs(str(bundle), str(films), tmp_path / "out", split="test")
    assert "skipped: " in capsys.readouterr().err
    assert [row["films"] for row in csv.DictReader(table.splitlines())] == ["2", "3"]


def test_a_figure_of_nothing_is_refused(bundle, films, tmp_path):
    with pytest.raises(ValueError, match="count of 1 or more, got 0"):
        lungs(str(bundle), str(films), tmp_path / "out", count=0)
