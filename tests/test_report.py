"""The page of a run: whole, self-contained, honest about what it leaves out."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from evaluation.report import report
from evaluation.runs import create_run, write_shard, write_skipped
from evaluation.summary import summarise

HOSTILE = 'test/NORMAL/<script>alert("1")<script>.png'
VOID = {"meta", "img", "br", "hr", "input", "link"}


class Page(HTMLParser):
    """Collects tags with their attributes, and checks that each is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"line {self.getpos()[0]}: {tag} closes another"

    def handle_data(self, data):
        if self.open[-1:] not in (["script"], ["style"]):
            self.text += data

    def all(self, name: str, /, **wanted: str) -> list[dict]:
        fits = [attrs for tag, attrs in self.tags if tag == name]
        return [attrs for attrs in fits if wanted.items() <= attrs.items()]


def smooth(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ramps, and the same with one half brighter and the other darker."""
    ramp = torch.linspace(0.25, 0.75, 32).expand(count, 1, 32, 32).clone()
    step = torch.cat([torch.full((16,), 0.2), torch.full((16,), -0.2)])
    return ramp, ramp + step[:, None]


def sample(k: int, path: str) -> dict:
    label, other = ("NORMAL", "PNEUMONIA")[:: 1 if k % 2 else -1]
    outcome = "already there" if k == 5 else "budget spent" if k == 4 else "reached"
    return {
        "id": k,
        "path": path,
        "label": label,
        "source": label,
        "target": other,
        "outcome": outcome,
        "p_target_factual": 0.02,
        "p_target": 0.5 if k == 4 else 0.95,
        "steps": 3,
        "evaluations": 4,
        "prior_passes": 0,
        "decodes": 3,
        "seconds": 0.1,
    }


def measures(k: int) -> dict:
    """Of six samples 0 to 3 are valid; the judge misreads 0 and follows 1 of the other three."""
    return {
        "id": k,
        "valid": int(k != 4),
        "flip": None if k == 5 else int(k != 4),
        "ssim": 0.9 + k / 100,
        "l2": 1.5 + k,
        "judge_other_factual_right": int(k != 0),
        "judge_other_p_target": 0.3,
        "judge_other_follows": None if k in (0, 5) else int(k == 1),
        "judge_other_follows_valid": None if k in (0, 4, 5) else int(k == 1),
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "latent"
    create_run(
        path,
        {
            "bundle": "phantom-64",
            "classifier": None,
            "data": "some/folder",
            "split": "test",
            "method": "latent",
            "target": None,
            "weights": {"classifier": "0123abcd"},
        },
    )
    factual, image = smooth(6)
    rows = [sample(k, HOSTILE if k == 3 else f"test/case{k}.png") for k in range(6)]
    for part in (slice(0, 4), slice(4, 6)):
        ids = torch.arange(6)[part]
        write_shard(path, rows[part], ids, factual[part], image[part])
    write_skipped(path, [{"path": "test/<b>broken.png", "reason": "cut short; copy it again"}])
    return path


@pytest.fixture
def evaluated(run: Path) -> Path:
    measured = [measures(k) for k in range(6)]
    with (run / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(measured[0]))
        writer.writeheader()
        writer.writerows(measured)
    samples = [{"patient": None, **sample(k, f"case{k}")} for k in range(6)]
    summary = summarise(samples, measured) | {"notes": ["A <note>."], "frechet": {}}
    (run / "summary.json").write_text(json.dumps(summary))
    return run


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def decoded(uri: str) -> np.ndarray:
    kind, data = uri.split(",", 1)
    assert kind == "data:image/webp;base64"
    return np.asarray(Picture.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), float) / 255


def test_every_tag_is_closed_and_every_case_is_there(evaluated):
    path = report(evaluated)
    page = read(path)
    assert path == evaluated / "report.html"
    assert page.open == []
    assert len(page.all("article")) == 6
    assert {attrs["title"] for attrs in page.all("h3") if "title" in attrs} == {
        HOSTILE,
        *(f"test/case{k}.png" for k in (0, 1, 2, 4, 5)),
    }
    assert not list(evaluated.glob("*.partial"))


def test_page_needs_no_other_file_and_no_network(evaluated):
    path = report(evaluated)
    text, page = path.read_text(encoding="utf-8"), read(path)
    assert not re.search(r"https?:|@import|url\(", text)
    sources = [attrs["src"] for _, attrs in page.tags if "src" in attrs]
    assert len(sources) == 6 * 3 + 1
    assert all(source.startswith("data:") for source in sources)
    assert {attrs["href"] for _, attrs in page.tags if "href" in attrs} == {"#cases"}
    assert page.all("link") == []


def test_images_have_alternative_texts_and_buttons_have_names(evaluated):
    page = read(report(evaluated))
    cases = [attrs for attrs in page.all("img") if attrs["src"] != "data:,"]
    assert len({attrs["alt"] for attrs in cases}) == 18
    assert all(
        attrs["aria-label"].startswith("Enlarge: ")
        for attrs in page.all("button", **{"class": "view"})
    )


def test_hostile_names_are_text_and_never_markup(evaluated):
    path = report(evaluated)
    page = read(path)
    assert len(page.all("script")) == 1
    assert 'alert("1")' not in path.read_text(encoding="utf-8")
    assert '<script>alert("1")<script>' in page.text
    assert "test/<b>broken.png" in page.text
    assert "A <note>." in page.text


def test_images_decode_to_what_the_run_stores(evaluated):
    page = read(report(evaluated))
    factual, image = smooth(1)
    for words, stored in (("original", factual), ("counterfactual", image)):
        (shown,) = page.all("img", alt=f"{words} of case0")
        error = np.abs(decoded(shown["src"]) - stored[0, 0].numpy()[..., None])
        assert error.mean() < 0.01
        assert error.max() < 0.05


def test_difference_is_red_where_brighter_and_blue_where_darker(evaluated):
    (shown,) = read(report(evaluated)).all("img", alt="difference of case0")
    brighter, darker = np.split(decoded(shown["src"]), 2)
    assert brighter[2:-2, :, 0].min() > brighter[2:-2, :, 2].max() + 0.1
    assert darker[2:-2, :, 2].min() > darker[2:-2, :, 0].max() + 0.1


def test_difference_scale_is_stated(evaluated):
    text = read(report(evaluated)).text
    assert "darker, \N{MINUS SIGN}0.200" in text
    assert "brighter, +0.200" in text


def test_findings_are_counted_over_the_images_that_had_a_way_to_go(evaluated):
    text = " ".join(read(report(evaluated)).text.split())
    assert "In 4 of 5 images the search found a change" in text
    assert "1 more showed the target from the start" in text
    assert (
        "The judge other, another classifier that the search never saw, follows 1 of the 3" in text
    )
    assert "may be noise that only this classifier sees" in text
    assert "Research tool, not for diagnosis." in text
    assert "what moves this model, not what causes disease" in text


def test_summary_gives_subsets_with_n_and_intervals(evaluated):
    text = " ".join(read(report(evaluated)).text.split())
    summary = json.loads((evaluated / "summary.json").read_text())
    ssim = summary["subsets"]["all attempted"]["metrics"]["ssim"]
    assert "all attemptedn = 5" in text
    assert f"{ssim['mean']:.3f} ({ssim['low']:.3f} to {ssim['high']:.3f})" in text


def test_verdicts_of_judges_stand_at_each_case(evaluated):
    page = read(report(evaluated))
    verdicts = re.findall(r"other (?:misreads|follows|does not follow)|other: nothing", page.text)
    ours = verdicts[-6:]
    assert ours == [
        "other misreads",
        "other follows",
        "other does not follow",
        "other does not follow",
        "other does not follow",
        "other: nothing",
    ]
    assert [attrs["data-judge"].strip() for attrs in page.all("article")] == [
        "", "0:yes", "0:no", "0:no", "0:no", "",
    ]  # fmt: skip
    assert [attrs["data-ssim"] for attrs in page.all("article")][:2] == ["0.9", "0.91"]


def test_limit_says_how_many_are_left_out_and_takes_them_from_everywhere(evaluated):
    page = read(report(evaluated, limit=3))
    assert len(page.all("article")) == 3
    assert [
        attrs["alt"][12:] for attrs in page.all("img") if attrs["alt"].startswith("original")
    ] == [
        "case0",
        "case2",
        "case4",
    ]
    assert "3 of 6 cases are shown, evenly spaced through the run; 3 are left out." in page.text
    with pytest.raises(ValueError, match="expected a limit of at least 1"):
        report(evaluated, limit=0)


def test_run_that_was_not_evaluated_says_so(run):
    page = read(report(run))
    text = " ".join(page.text.split())
    assert page.open == []
    assert len(page.all("article")) == 6
    assert f"Not measured yet: run cfgen evaluate {run}" in text
    assert "reached its goal in 4 of 5 images" in text
    assert "SSIM" not in text
    assert page.all("select", name="judge") == []


def test_skipped_files_are_listed_with_their_reasons(run):
    text = read(report(run)).text
    assert "1 file could not be read" in text
    assert "cut short; copy it again" in text


def test_settings_and_hashes_stand_at_the_foot(run):
    assert "classifier: 0123abcd" in read(report(run)).text


def test_measures_of_another_run_are_refused(evaluated):
    with (evaluated / "metrics.csv").open("a") as file:
        file.write("77,1,1,0.9,1,1,0.3,1,1\n")
    with pytest.raises(ValueError, match=r"got 7 rows of other ids; run `cfgen evaluate"):
        report(evaluated)


def test_page_that_cannot_be_written_is_an_error_that_names_it(run):
    (run / "report.html").mkdir()
    with pytest.raises(
        ValueError, match=r"expected a place that can be written, got .*report\.html"
    ):
        report(run)
    assert not (run / "report.html.partial").exists()


def test_identical_images_and_an_unknown_label_are_shown(tmp_path):
    path = tmp_path / "same"
    create_run(path, {"bundle": "phantom-64", "method": "pixel", "data": "phantom"})
    factual, _ = smooth(1)
    row = sample(5, "phantom/5") | {"label": None, "target": "other", "draw": 0}
    write_shard(path, [row], torch.tensor([5]), factual, factual.clone())
    page = read(report(path))
    assert page.open == []
    assert "True label unknown" in page.text
    assert "→ other" in page.text
