"""A reader study: blinded, sealed, answered in a real browser, and scored as worked out by hand."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import time
from itertools import product
from pathlib import Path

import pytest
import torch
from PIL import Image

from cfgen.cli import main
from evaluation.reading.form import FORM, png, write_form
from evaluation.reading.items import COUNTERFACTUAL, FACTUAL, UNRELATED, choose_items
from evaluation.reading.key import KEY, read_key
from evaluation.reading.main import reading
from evaluation.speed.chromium import PATIENCE, chromium, find_chromium
from tests.written_runs import CLASSES, sample, write

COLUMNS = "study,reader,item,answer,confidence,finding,seconds"
PROGRAM = find_chromium()
HOSTILE = '</script><b id="x">&"NORMAL", 1'


def film(bright, seed):
    """Noise around a brightness, so that every image is another one."""
    noise = torch.rand((1, 32, 32), generator=torch.Generator().manual_seed(seed)) / 4
    return noise + (0.7 if bright else 0.1)


def a_run(path, count=24, patients=None, classes=CLASSES, **changes):
    found = []
    for i in range(count):
        factual, image = film(i % 2, i), film(1 - i % 2, 1000 + i)
        patient = f"p{patients[i] if patients else i}"
        names = {key: classes[place] for key, place in
                 (("label", i % 2), ("source", i % 2), ("target", 1 - i % 2))}  # fmt: skip
        found.append(sample(i, factual, image, patient=patient, **names, **changes))
    return write(path, found, batch=5, classes=list(classes))


@pytest.fixture
def study(tmp_path):
    a_run(tmp_path / "run")
    reading(tmp_path / "run", out=tmp_path / "study")
    return tmp_path / "study"


def films(folder):
    page = (folder / FORM).read_text()
    data = json.loads(re.search(r'id="study">(.+?)</script>', page)[1])
    return [base64.b64decode(one["source"].partition(",")[2]) for one in data["films"]]


def answer(folder, path, reader, tell):
    """Write a reader's answers: `tell` maps what an image is to them."""
    key = read_key(folder)
    lines = [COLUMNS]
    for item, row in key.rows.items():
        told = tell(row)
        if told:
            lines.append(",".join([key.study, reader, item, *map(str, told), "1.0"]))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_half_of_a_set_is_altered_and_no_patient_is_shown_twice(tmp_path):
    run = a_run(tmp_path / "run", count=40, patients=[i // 2 for i in range(40)])
    items = choose_items(run, 16, seed=0)
    kinds = [item.kind for item in items]
    assert [kinds.count(kind) for kind in (COUNTERFACTUAL, FACTUAL, UNRELATED)] == [8, 4, 4]
    assert len({item.group for item in items}) == len(items) == 16
    for kind in (COUNTERFACTUAL, FACTUAL, UNRELATED):
        assert {item.finding for item in items if item.kind == kind} == set(CLASSES)


def test_an_image_is_the_one_that_its_key_says(tmp_path):
    run = a_run(tmp_path / "run")
    stored = {int(i): (a, b) for ids, *ab in run.images() for i, a, b in zip(ids, *ab, strict=True)}
    for item in choose_items(run, 24, seed=0):
        factual, image = stored[int(re.search(r"\d+", item.path)[0])]
        assert torch.equal(item.image, image if item.kind == COUNTERFACTUAL else factual)
        bright = float(item.image.mean()) > 0.5
        assert item.finding == CLASSES[bright]
        assert (item.finding == item.target) == (item.kind != FACTUAL)


def test_the_order_is_the_seeds_and_not_the_runs(tmp_path):
    run = a_run(tmp_path / "run")
    orders = [[item.path for item in choose_items(run, 24, seed)] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


def test_only_reached_cases_that_were_right_are_altered(tmp_path):
    with pytest.raises(ValueError, match=r"got 0 and \d+ from"):
        choose_items(a_run(tmp_path / "spent", outcome="spent"), 24, seed=0)
    bare = [sample(i, film(0, i), film(1, i), label=None) for i in range(8)]
    run = write(tmp_path / "bare", bare, classes=list(CLASSES))
    with pytest.raises(ValueError, match="whose labels are known"):
        choose_items(run, 24, seed=0)


def test_images_of_the_data_stand_in_where_a_run_has_no_real_one(tiny_bundle_path, tmp_path):
    """All cases go to OPACITY, so that an opacity has to come from the data of the run."""
    names = {"label": "NORMAL", "source": "NORMAL", "target": "OPACITY"}
    samples = [sample(i, film(0, i), film(1, i), patient=f"p{i}", **names) for i in range(6)]
    preprocessing = {"size": 64, "aspect": "pad", "interpolation": "bilinear", "intensity": "full"}
    run = write(
        tmp_path / "run", samples, classes=["NORMAL", "OPACITY"], bundle=str(tiny_bundle_path),
        data="phantom", split="test", preprocessing=preprocessing,
    )  # fmt: skip
    items = choose_items(run, 8, seed=0)
    assert [item.finding for item in items if item.kind == UNRELATED] == ["OPACITY"] * 2
    assert all("phantom" in item.path or "OPACITY" in item.path for item in items
               if item.kind == UNRELATED)  # fmt: skip


def test_files_tell_nothing_but_what_they_show(study):
    key = read_key(study)
    shown = films(study)
    assert len(shown) == len(key.rows) == 24
    for data in shown:
        with Image.open(io.BytesIO(data)) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (32, 32))
            assert picture.info == {}
    page = re.sub(r"data:image/png;base64,[^\"]+", "", (study / FORM).read_text())
    for word in ("test/", ".png", "counterfactual", "factual", "unrelated", "p1"):
        assert word not in page
    assert [path.name for path in (study / "form").iterdir()] == ["reading.html"]
    assert "http" not in page.replace("http-equiv", "")


def test_images_are_rounded_and_not_cut():
    image = torch.tensor([[[0.0, 0.499 / 255, 0.501 / 255, 1.0]]])
    with Image.open(io.BytesIO(png(image))) as picture:
        assert list(picture.tobytes()) == [0, 0, 1, 255]


def test_a_key_that_was_changed_is_refused(study):
    key = study / KEY
    key.write_text(key.read_text().replace("factual", "counterfactual", 1))
    with pytest.raises(ValueError, match="changed since"):
        read_key(study)


def test_a_study_is_not_overwritten(study, tmp_path):
    with pytest.raises(ValueError, match="would be lost"):
        reading(tmp_path / "run", out=study)


@pytest.mark.parametrize("given", [{}, {"out": Path("x"), "score": [Path("y")]}])
def test_a_study_is_either_made_or_scored(tmp_path, given):
    with pytest.raises(ValueError, match="either --out"):
        reading(tmp_path, **given)


def scores(folder):
    with (folder / "scores" / "scores.csv").open(newline="") as file:
        return {(row["measure"], row["subset"], row["reader"]): row for row in csv.DictReader(file)}


def test_readers_who_know_everything_and_one_who_guesses_are_told_from_each_other(study, tmp_path):
    def knows(row):
        altered = row["kind"] == COUNTERFACTUAL
        return ("altered" if altered else "real", 5, row["finding"])

    def guesses(_row):
        return ("real", 3, CLASSES[0])

    paths = [
        answer(study, tmp_path / "a.csv", "knows", knows),
        answer(study, tmp_path / "b.csv", "guesses", guesses),
    ]
    code = main(["reading", str(study), "--score", *map(str, paths)])
    assert code == 0
    found = scores(study)
    area = {name: found["told apart: AUC", "all", name]
            for name in ("knows", "guesses", "all readers")}  # fmt: skip
    assert float(area["knows"]["value"]) == 1.0
    assert float(area["knows"]["p"]) < 0.001
    assert float(area["guesses"]["value"]) == 0.5
    assert float(area["guesses"]["p"]) == 1.0
    assert float(area["all readers"]["value"]) == 0.75
    assert float(area["all readers"]["low"]) == 0.5
    assert float(area["all readers"]["high"]) == 1.0
    called = found["altered ones called altered", "all", "all readers"]
    assert (float(called["value"]), called["images"]) == (0.5, "12")
    named = found["finding named", "counterfactuals", "guesses"]
    assert float(named["value"]) == 0.5
    assert float(found["finding named", "counterfactuals", "knows"]["value"]) == 1.0
    # One names everything and the other nothing apart: agreement as chance has it.
    kappa = found["finding: Cohen's kappa", "answered by all", "all readers"]
    assert float(kappa["value"]) == pytest.approx(0.0, abs=1e-12)


def test_a_finding_that_is_never_seen_in_counterfactuals_is_a_difference(study, tmp_path):
    def blind(row):
        other = CLASSES[1 - CLASSES.index(row["finding"])]
        return ("real", 1, other if row["kind"] == COUNTERFACTUAL else row["finding"])

    text = reading(study, score=[answer(study, tmp_path / "a.csv", "one", blind)])
    subset = "counterfactuals less real images of their targets"
    row = scores(study)["finding named", subset, "all readers"]
    assert (float(row["value"]), row["images"]) == (-1.0, "24")
    assert float(row["p"]) < 0.001
    assert "-1.00 [-1.00, -1.00]" in text
    assert "not told from real ones beyond chance" in text
    assert "Each reader" not in text


def test_three_readers_agree_by_fleiss_and_every_answer_is_kept(study, tmp_path):
    def alike(row):
        return ("altered" if int(row["item"]) % 3 else "real", 2, row["finding"])

    paths = [answer(study, tmp_path / f"{name}.csv", name, alike) for name in "abc"]
    reading(study, score=paths)
    found = scores(study)
    for measure in ("real or altered", "finding"):
        key = (f"{measure}: Fleiss' kappa", "answered by all", "all readers")
        assert float(found[key]["value"]) == 1.0
    with (study / "scores" / "readings.csv").open(newline="") as file:
        kept = list(csv.DictReader(file))
    assert len(kept) == 3 * 24
    assert all((row["kind"] == COUNTERFACTUAL) <= (row["shows"] in CLASSES) for row in kept)
    known = json.loads((study / "scores" / "scores.json").read_text())
    assert known["readers"] == {"a": 24, "b": 24, "c": 24}


def test_a_reader_who_stopped_early_counts_with_what_there_is(study, tmp_path):
    def some(row):
        return ("altered", 4, row["finding"]) if int(row["item"]) <= 10 else None

    reading(study, score=[answer(study, tmp_path / "a.csv", "one", some)])
    assert scores(study)["told apart: AUC", "all", "all readers"]["images"] == "10"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (",real,", ",perhaps,", "expected one of real, altered as answer, got 'perhaps'"),
        (",3,", ",7,", "as confidence, got '7'"),
        (",DARK,", ",HAPPY,", "as finding, got 'HAPPY'"),
        (",001,", ",999,", "expected one of 001 to 024 as item"),
        (",one,", ",,", "expected a reader"),
        (",002,", ",001,", "expected one answer of one to image 001"),
        ("study,", "etude,", "expected the columns study,reader"),
    ],
)
def test_answers_that_cannot_be_are_refused(study, tmp_path, old, new, said):
    path = answer(study, tmp_path / "a.csv", "one", lambda _: ("real", 3, "DARK"))
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=re.escape(said)):
        reading(study, score=[path])


def test_answers_of_another_study_are_refused(study, tmp_path):
    a_run(tmp_path / "other", count=12)
    reading(tmp_path / "other", out=tmp_path / "second")
    path = answer(tmp_path / "second", tmp_path / "a.csv", "one", lambda _: ("real", 3, "DARK"))
    with pytest.raises(ValueError, match="expected answers of the study"):
        reading(study, score=[path])


def test_hostile_names_of_classes_stay_text(tmp_path):
    page = write_form(tmp_path, [film(0, 0)], [HOSTILE], "abc").read_text()
    assert "<b id=" not in page
    assert page.count("</script>") == 2


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")
def test_a_reader_answers_by_keyboard_and_what_is_saved_is_scored(tmp_path):
    classes = (HOSTILE, "B")
    a_run(tmp_path / "run", count=8, classes=classes)
    study = tmp_path / "study"
    reading(tmp_path / "run", out=study)
    key = read_key(study)
    choices = list(product("ra", "15", "qw"))
    with chromium(PROGRAM) as page:
        page.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        page.open(study / FORM)
        begin(page, "reader-1")
        page.press("Enter")
        assert page.run("missing.textContent").startswith("Still to say: real or altered")
        for place, keys in enumerate(choices[:5]):
            press(page, place, *keys)
        # Closed in the middle, and taken up where it was left.
        page.open(study / FORM)
        begin(page, "reader-1")
        assert page.run("document.getElementById('place').textContent") == "6"
        for place, keys in enumerate(choices[5:], start=5):
            press(page, place, *keys)
        page.wait("!done.hidden")
        page.press("Enter")
        saved = downloaded(tmp_path / f"answers-{key.study[:8]}-reader-1.csv")
        assert saved == page.run("document.getElementById('csv').value")
    rows = list(csv.DictReader(io.StringIO(saved)))
    expected = [
        ({"r": "real", "a": "altered"}[a], c, classes["qw".index(f)]) for a, c, f in choices
    ]
    assert [(row["answer"], row["confidence"], row["finding"]) for row in rows] == expected
    assert [row["item"] for row in rows] == list(key.rows)
    (tmp_path / "saved.csv").write_text(saved)
    assert "1 reader (reader-1), 8 images" in reading(study, score=[tmp_path / "saved.csv"])


def downloaded(path):
    """Wait for a download to be whole; return what it holds."""
    end = time.monotonic() + PATIENCE
    while not path.is_file() or list(path.parent.glob("*.crdownload")):
        assert time.monotonic() < end, sorted(path.parent.iterdir())
        time.sleep(0.02)
    return path.read_text(encoding="utf-8")


def begin(page, code):
    page.run("reader.focus ? 0 : document.getElementById('reader').focus()")
    page.write(code)
    page.press("Enter")
    page.wait("!read.hidden")


def press(page, place, *keys):
    page.wait(f"document.getElementById('place').textContent === '{place + 1}'")
    for key in (*keys, "Enter"):
        page.press(key)
