"""The folder that `cfgen explain` writes: pages, moving pictures, and the warning that leads."""

import io
import re
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image, ImageSequence

from cfgen.cli import main
from cfgen.data.phantom import draw
from evaluation.explain import morph

HOSTILE = "<img src=x> & $x$ {{ 7 * 7 }} 胸.png"
PARTS = ("explanation.html", "explanation.pdf", "explanation.md", "panels.png", "change.png")


def save(path, image):
    Image.fromarray((image[0].numpy() * 255).round().astype(np.uint8)).save(path)


def explain(image, out, *more):
    given = [image, "--bundle", "phantom-64", "--out", out, *more]
    assert main(["explain", *map(str, given)]) == 0
    return out


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    """A phantom under a hostile name, explained by the default method, two draws."""
    folder = tmp_path_factory.mktemp("explained")
    save(folder / HOSTILE, draw(20_000_001, 64, 1).image)
    return explain(folder / HOSTILE, folder / "out", "--draws", 2)


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """The same phantom upside down, by a quick method."""
    folder = tmp_path_factory.mktemp("strange")
    save(folder / "film.png", draw(20_000_001, 64, 1).image.flip(-2))
    return explain(folder / "film.png", folder / "out", "--method", "class-mean")


class Page(HTMLParser):
    """What a page is made of."""

    VOID = frozenset({"meta", "img", "input", "br", "source"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def test_the_folder_holds_every_part(explained):
    names = {file.name for file in explained.iterdir()}
    others = {"strengths.png", "layers.png", "layers.csv", "morph.webp", "draws.png"}
    assert {*PARTS, *others} <= names
    assert not any(name.endswith(".partial") for name in names)


def test_the_page_needs_nothing_else_and_escapes_the_name(explained):
    text = (explained / "explanation.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object"}
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "href"):
            assert attributes.get(name, "data:").startswith("data:")
        assert not [name for name in attributes if name.startswith("on")]
        if tag == "img":
            assert attributes["alt"]
    assert "url(" not in text
    assert "default-src 'none'" in text
    assert HOSTILE in page.words
    heading = (explained / "explanation.md").read_text(encoding="utf-8").splitlines()[0]
    assert heading.startswith(r"# \<img src=x\> & \$x\$ \{\{ 7 \* 7 \}\} 胸.png: ")
    assert "light-dark(" in text
    assert "@media print" in text


def test_every_page_says_the_same_sentences(explained):
    sentences = (explained / "explanation.md").read_text(encoding="utf-8").splitlines()[4]
    page = " ".join(Page((explained / "explanation.html").read_text(encoding="utf-8")).words)
    told = [one for one in re.split(r"(?<=\.) (?=[A-Z0-9])", sentences) if len(one) > 20]
    assert len(told) >= 3
    for one in told:
        assert one in page
    assert "patient" not in page.lower()
    assert "the model" in page.lower()


def test_the_pdf_is_one_page_of_a4(explained):
    pdf = (explained / "explanation.pdf").read_bytes()
    assert len(re.findall(rb"/Type /Page\b(?!s)", pdf)) == 1
    (box,) = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", pdf)
    assert [float(side) for side in box] == pytest.approx([595.3, 841.9], abs=0.5)


def test_the_loop_goes_there_and_back_through_the_codes(explained):
    with Image.open(explained / "morph.webp") as file:
        assert file.info["loop"] == 0
        frames = [np.asarray(one.convert("L"), float) for one in ImageSequence.Iterator(file)]
    assert len(frames) == 2 * morph.STEPS
    assert min(frames[0].shape) >= morph.SIDE
    films = [frame[: morph.SIDE] for frame in frames]
    far = [np.abs(film - films[0]).mean() for film in films]
    assert max(far) == pytest.approx(far[morph.STEPS], rel=0.05)
    assert far[morph.STEPS] > 4 * far[2]
    bars = [(frame[-3] > 150).mean() for frame in frames]
    assert bars[0] < 0.02
    assert bars[morph.STEPS] > 0.98
    assert bars[morph.STEPS // 2] == pytest.approx(0.5, abs=0.03)


def test_the_loops_ends_are_the_two_images():
    dark, bright = np.full((64, 64), 40, np.uint8), np.full((64, 64), 200, np.uint8)
    with Image.open(io.BytesIO(morph.webp([dark, bright]))) as file:
        frames = [np.asarray(one.convert("L")).mean() for one in ImageSequence.Iterator(file)]
    assert frames == pytest.approx([40, 200], abs=3)


def test_the_film_is_an_mp4_that_can_be_read_again(tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="needs cfgen[video]").get_ffmpeg_exe()
    drawn = [np.full((65, 64), level, np.uint8) for level in (40, 120, 200)]
    (tmp_path / "film.mp4").write_bytes(morph.mp4(drawn))
    decode = [ffmpeg, "-v", "error", "-i", tmp_path / "film.mp4", "-f", "rawvideo"]
    decode += ["-pix_fmt", "gray", "-fps_mode", "passthrough", "-"]
    raw = subprocess.run(decode, check=True, capture_output=True).stdout
    film = np.frombuffer(raw, np.uint8).reshape(-1, 64, 64)
    still = morph.PAUSE // morph.FRAME
    assert len(film) == 3 * (2 * still + 2)
    assert film[0].mean() == pytest.approx(40, abs=6)
    assert film[still + 1].mean() == pytest.approx(200, abs=6)


def test_without_the_extra_there_is_no_film(tmp_path, monkeypatch):
    monkeypatch.setattr("evaluation.explain.morph.find_spec", lambda _name: None)
    save(tmp_path / "film.png", draw(20_000_002, 64).image)
    out = explain(tmp_path / "film.png", tmp_path / "out", "--method", "class-mean")
    assert not (out / "morph.mp4").exists()
    assert (out / "morph.webp").exists()


def test_an_image_unlike_the_training_images_is_said_to_be_so_first(strange):
    lines = (strange / "explanation.md").read_text().splitlines()
    assert lines[2].startswith("**This image is unlike the training images of phantom-64")
    assert "Believe none of it" in lines[6]
    page = Page((strange / "explanation.html").read_text())
    kinds = [attributes.get("role") or tag for tag, attributes in page.tags]
    assert kinds.index("alert") == kinds.index("h1") + 1
    text = " ".join(page.words)
    assert text.index("unlike the training images") < text.index("The model decides")
    assert "lungs were not outlined" in text


def test_a_familiar_image_has_no_warning(explained):
    text = (explained / "explanation.md").read_text(encoding="utf-8")
    assert "like the training images of phantom-64" in text
    assert "unlike" not in text
    assert 'role="alert"' not in (explained / "explanation.html").read_text(encoding="utf-8")


def test_the_python_call_tells_of_familiarity_as_well():
    import cfgen

    film = draw(20_000_001, 64, 1).image
    upright = cfgen.explain(film, "phantom-64", method="class-mean")
    turned = cfgen.explain(film.rot90(1, (-2, -1)), "phantom-64", method="class-mean")
    assert upright.familiarity.familiar
    assert not turned.familiarity.familiar
    assert upright.target == "NORMAL"
