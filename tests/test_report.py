"""The page of a run: whole, self-contained, honest about what it leaves out."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from cfgen.data.phantom import draw
from evaluation.report.images import change_scale, coloured
from evaluation.report.main import report
from evaluation.runs import create_run, read_run, write_shards
from tests.report_runs import (
    CLASSES,
    FOLDER,
    HOSTILE,
    path_of,
    sample,
    smooth,
    write_measures,
    write_run,
)

VOID = {"meta", "img", "br", "hr", "input", "link"}


class Page(HTMLParser):
    """Collects tags, texts and data, and checks that each tag is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[tuple[str, dict]] = []
        self.text = ""
        self.inside: dict[str, str] = {}
        self.feed(text)
        self.close()
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag, f"line {self.getpos()[0]}: {tag} closes another"

    def handle_data(self, data):
        tag, attrs = self.open[-1] if self.open else ("", {})
        if tag in ("script", "style"):
            key = attrs.get("id", tag)
            self.inside[key] = self.inside.get(key, "") + data
        else:
            self.text += data

    def all(self, name: str, /, **wanted: str) -> list[dict]:
        fits = [attrs for tag, attrs in self.tags if tag == name]
        return [attrs for attrs in fits if wanted.items() <= attrs.items()]

    def data(self, key: str) -> dict:
        return json.loads(self.inside[key])

    def column(self, key: str) -> list:
        (found,) = [one for one in self.data("table")["columns"] if one["key"] == key]
        return found["values"]

    def cases(self) -> list[str]:
        return [key for key in self.inside if key.startswith("case-")]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "<i>run & '$(x)'")


@pytest.fixture
def evaluated(run: Path) -> Path:
    return write_measures(run)


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def decoded(uri: str, mode: str) -> np.ndarray:
    kind, data = uri.split(",", 1)
    assert kind == "data:image/webp;base64"
    return np.asarray(Picture.open(io.BytesIO(base64.b64decode(data))).convert(mode), float) / 255


def test_every_tag_is_closed_and_every_case_is_there(evaluated):
    path = report(evaluated)
    page = read(path)
    assert path == evaluated / "report.html"
    assert page.open == []
    assert page.column("file") == [path_of(k) for k in range(6)]
    assert sorted(page.cases()) == [f"case-{k}" for k in range(6)]
    assert not list(evaluated.glob("*.partial"))


def test_page_needs_no_other_file_and_forbids_every_request(evaluated):
    path = report(evaluated)
    text, page = path.read_text(encoding="utf-8"), read(path)
    assert not re.search(r"https?:|@import|url\((?!#)", text)
    assert all(attrs["src"].startswith("data:") for _, attrs in page.tags if "src" in attrs)
    links = {attrs["href"] for _, attrs in page.tags if "href" in attrs}
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert {link[1:] for link in links if link[0] == "#"} <= {
        attrs.get("id") for _, attrs in page.tags
    }
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert "default-src 'none'; img-src data:;" in policy["content"]
    assert "unsafe" not in policy["content"]


@pytest.mark.parametrize("kind", ["style", "script"])
def test_only_the_own_style_and_script_may_act(evaluated, kind):
    page = read(report(evaluated))
    digest = base64.b64encode(hashlib.sha256(page.inside[kind].encode()).digest()).decode()
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert f"{kind}-src 'sha256-{digest}'" in policy["content"]
    assert not any("style" in attrs for _, attrs in page.tags)


def test_hostile_names_are_text_and_never_markup(evaluated):
    path = report(evaluated)
    page, text = read(path), path.read_text(encoding="utf-8")
    acting = [attrs for attrs in page.all("script") if attrs.get("type") != "application/json"]
    assert len(acting) == 1
    assert not any(
        name.startswith("on") and name != "on" for _, attrs in page.tags for name in attrs
    )
    for bad in (FOLDER, "onclick=alert(3)>", "<b>broken", "<note>", "<reason>", "<i>run"):
        assert bad not in text
    assert page.column("file")[3] == HOSTILE
    assert page.column("source")[0] == CLASSES[1]
    assert page.data("case-0")["reasons"] == "a <reason>"
    for shown in ("test/<b>broken.png", "A <note>.", f"{CLASSES[1]} → NORMAL", "<i>run & "):
        assert shown in page.text


def test_no_patient_is_named(evaluated):
    text = report(evaluated).read_text(encoding="utf-8")
    assert "secret" not in text
    assert "the patient" not in text.lower()
    assert "Research tool, not for diagnosis." in read(report(evaluated)).text


def test_images_decode_to_what_the_run_stores(evaluated):
    held = read(report(evaluated)).data("case-0")
    factual, image = smooth(1)
    for shown, stored in ((held["factual"], factual), (held["found"][0]["image"], image)):
        error = np.abs(decoded(shown, "L") - stored[0, 0].numpy())
        assert error.mean() < 0.01
        assert error.max() < 0.05


def test_difference_is_exact_to_half_a_grey_level(evaluated):
    shown = decoded(read(report(evaluated)).data("case-0")["found"][0]["change"], "RGBA")
    factual, image = smooth(1)
    sign = np.where(shown[..., 0] > shown[..., 2], 1, -1)
    error = np.abs(sign * shown[..., 3] / 2 - (image - factual)[0, 0].numpy())
    assert error.max() <= 0.5 / 255 + 1e-6


def test_a_thousand_cases_of_128_pixels_stay_under_40_megabytes(tmp_path):
    count = 16
    create_run(tmp_path / "run", {"bundle": "none", "method": "noisy"})
    factual = torch.stack([draw(seed, 128).image for seed in range(count)])
    noise = 0.05 * torch.randn(factual.shape, generator=torch.Generator().manual_seed(0))
    rows = [sample(k) | {"id": k, "path": f"{k}.png"} for k in range(count)]
    write_shards(
        tmp_path / "run", rows, torch.arange(count), factual, (factual + noise).clamp(0, 1)
    )
    page = read(report(tmp_path / "run"))
    assert sum(len(page.inside[key]) for key in page.cases()) / count < 40e3


def test_brighter_is_vermillion_and_darker_is_blue_as_opaque_as_large():
    brighter, darker, none, beyond = coloured(torch.tensor([[[0.2, -0.1, 0.0, 0.9]]]))[0].tolist()
    assert brighter == [213, 94, 0, 102]
    assert darker == [0, 114, 178, 52]
    assert none[3] == 0
    assert beyond[3] == 254


def test_scale_passes_over_one_outlier(tmp_path):
    factual = torch.full((40, 1, 8, 8), 0.5)
    change = torch.full((40, 1, 1, 1), 0.1)
    change[7] = 0.45
    create_run(tmp_path / "run", {"bundle": "none", "method": "pixel"})
    rows = [sample(k) | {"id": k, "path": f"{k}.png"} for k in range(40)]
    write_shards(tmp_path / "run", rows, torch.arange(40), factual, factual + change)
    found = read_run(tmp_path / "run")
    assert change_scale(found, set(range(40))) == pytest.approx(0.1)
    assert change_scale(found, {7}) == pytest.approx(0.45)


ENDINGS = (
    "judges follow|no judge follows|no judge could tell|not reached|already there|skipped"
    "|reached, not measured|semantic|adversarial|uncertain|classifier-specific"
)


def bars(page: Page) -> dict[str, str]:
    return dict(re.findall(rf"({ENDINGS}) (\d+) \d+ %", page.text))


def test_what_failed_is_counted_beside_what_worked(evaluated):
    page = read(report(evaluated))
    assert bars(page) == {
        "judges follow": "1",
        "no judge follows": "2",
        "no judge could tell": "1",
        "not reached": "1",
        "already there": "1",
        "skipped": "1",
        "semantic": "1",
        "classifier-specific": "0",
        "adversarial": "3",
        "uncertain": "1",
    }
    assert "How 7 files ended" in page.text
    assert page.column("result") == [
        "no judge could tell",
        "judges follow",
        "no judge follows",
        "no judge follows",
        "not reached",
        "already there",
    ]
    buttons = page.all("button", **{"data-column": "result"})
    assert {attrs["data-value"] for attrs in buttons} == set(page.column("result"))


def test_summary_gives_subsets_with_n_and_intervals(evaluated):
    page = read(report(evaluated))
    summary = json.loads((evaluated / "summary.json").read_text())
    ssim = summary["subsets"]["all attempted"]["metrics"]["ssim"]
    assert "all attemptedn = 5" in page.text
    assert f"{ssim['mean']:.3f} ({ssim['low']:.3f} to {ssim['high']:.3f}) n = 4" in page.text


def test_every_measure_is_a_column_with_what_is_not_known_left_out(evaluated):
    page = read(report(evaluated))
    columns = {one["key"]: one for one in page.data("table")["columns"]}
    assert page.column("ssim") == [0.95, 0.94, None, 0.92, 0.91, 0.9]
    assert columns["ssim"]["kind"] == "number"
    assert columns["judge_other_follows"]["kind"] == "flag"
    assert columns["verdict"]["kind"] == "choice"
    assert page.column("subgroup") == ["girls"] * 2 + ["boys"] * 4
    assert "draw" not in columns
    assert {"valid", "l2", "steps", "judge_other_p_target", "outcome", "target"} <= set(columns)


def test_limit_says_how_many_are_left_out_and_takes_them_from_everywhere(evaluated):
    page = read(report(evaluated, limit=3))
    assert sorted(page.cases()) == ["case-0", "case-1", "case-2"]
    assert page.column("file") == [path_of(k) for k in (0, 2, 4)]
    assert (
        "3 of 6 cases are on this page, evenly spaced through the run; 3 are left out" in page.text
    )
    assert bars(page)["judges follow"] == "1"
    with pytest.raises(ValueError, match="expected a limit of at least 1"):
        report(evaluated, limit=0)


def test_run_that_was_not_evaluated_says_so(run):
    page = read(report(run))
    assert page.open == []
    assert f"Not measured yet. Run cfgen evaluate {run}" in page.text
    assert bars(page) == {
        "reached, not measured": "4",
        "not reached": "1",
        "already there": "1",
        "skipped": "1",
    }
    assert "SSIM" not in page.text
    assert page.all("section", id="measured") == []


def test_skipped_files_are_listed_with_their_reasons(run):
    text = read(report(run)).text
    assert "1 file could not be read" in text
    assert "test/<b>broken.pngcut short; copy it again" in text


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
    row = sample(5) | {"id": 5, "label": None, "target": "other", "draw": 0}
    write_shards(path, [row], torch.tensor([5]), factual, factual.clone())
    page = read(report(path))
    assert page.open == []
    assert "label" not in {one["key"] for one in page.data("table")["columns"]}
    assert page.column("draw") == [0]
    assert page.column("direction") == ["NORMAL → other"]
    assert "config.yaml does not name the command" in page.text
