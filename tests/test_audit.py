"""An audit against numbers that are known because the run was written by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from cfgen.cli import main
from cfgen.data import phantom
from cfgen.models.classifier import Classifier
from evaluation.audit import groups
from evaluation.audit.groups import is_marked
from evaluation.audit.lines import cells, read_lines
from evaluation.audit.main import audit
from evaluation.audit.maps import kinds_of, patterns
from evaluation.report.main import report
from evaluation.runs import Run
from evaluation.tables import csv_text
from tests.written_runs import SIZE, brightness_classifier, flat, sample, write


class _Models:
    classifier: Classifier = brightness_classifier()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Eight dark images: A's need .4 in the left half, B's twice that; the last of each stays."""
    monkeypatch.setattr(groups, "load_bundle", lambda *_: _Models)
    given, measures = [], []
    for i in range(8):
        group = "AB"[i // 4]
        step = 0.9 if group == "B" else 0.6
        image = flat(0.1 + step, 0.5)
        if i % 4 == 3:
            image = flat(0.1, 0.1 + 0.01)
        factual = flat(0.1)
        given.append(sample(i, factual, image, subgroup=group, patient=f"p{i // 2}"))
        length = float((image - factual).square().sum().sqrt())
        lungs = {"energy_in_lungs": 0.25, "inside_ratio": 0.5}
        measures.append({"id": i, "valid": int(i % 4 != 3), "l2": length, **lungs})
    written = write(tmp_path / "run", given)
    (written.path / "metrics.csv").write_text(csv_text(measures, tuple(measures[0])))
    (written.path / "summary.json").write_text(json.dumps({"direction": {}, "judges": []}))
    return written.path


def numbers(path):
    return {(one.row, one.measure): one for one in read_lines(path)}


def test_arrivals_lengths_and_the_shortcut_check_are_known(run):
    text = audit(run)
    assert (run / "audit.md").read_text() == text
    found = numbers(run)
    # A's images end at a mean of .6, B's at .75; those that stay are dark still.
    bright = found["DARK → BRIGHT", "arrived at BRIGHT"]
    assert (bright.mean, bright.n) == (6 / 8, 8)
    assert found["DARK → BRIGHT", "at neither"].mean == 0
    half = SIZE * SIZE / 2
    short, far = (math.sqrt(half * (step**2 + 0.4**2)) for step in (0.6, 0.9))
    valid, every = ("DARK → BRIGHT, of the valid", "DARK → BRIGHT, of all attempted")
    assert found[valid, "50 % within"].mean == pytest.approx(short, rel=1e-4)
    assert found[valid, "75 % within"].mean == pytest.approx(far, rel=1e-4)
    assert found[every, "75 % within"].mean == pytest.approx(far, rel=1e-4)
    assert found[every, "95 % within"].mean is None
    assert found[valid, "5 % within"].n == 6
    outside, area = ("change outside the lungs", "their outside's area")
    assert found["to BRIGHT", outside].mean == pytest.approx(0.75)
    assert found["to BRIGHT", area].mean == pytest.approx(0.5)
    assert "border shift" not in text


def test_subgroups_are_held_against_the_rest(run):
    audit(run)
    found = numbers(run)
    half = SIZE * SIZE / 2
    short, far = (math.sqrt(half * (step**2 + 0.4**2)) for step in (0.6, 0.9))
    apart = found["B minus the rest, to BRIGHT", "L2 of the valid"]
    assert apart.mean == pytest.approx(far - short, rel=1e-4)
    # Every valid one of a subgroup is alike: the interval has no width.
    assert (apart.low, apart.high) == pytest.approx((apart.mean, apart.mean))
    assert found["A, to BRIGHT", "valid"].mean == 0.75
    assert found["B minus the rest, to BRIGHT", "valid"].mean == 0
    # Evaluations are i + 1.
    assert found["A minus the rest, to BRIGHT", "evaluations"].mean == -4
    left = [0.6**2 / (0.6**2 + 0.4**2)] * 3 + [0]
    key = ("A, to BRIGHT", "change in the left half")
    assert found[key].mean == pytest.approx(np.mean(left), rel=1e-4)
    assert found["A, to BRIGHT", "change in the upper half"].mean == pytest.approx(0.5)


def test_the_same_run_has_the_same_audit(run):
    first = audit(run), (run / "audit.csv").read_text()
    assert (audit(run), (run / "audit.csv").read_text()) == first


def test_kinds_are_those_that_were_planted_whatever_their_strength():
    generator = torch.Generator().manual_seed(0)
    kinds = torch.zeros(3, 1, SIZE, SIZE)
    kinds[0, :, :16, :16], kinds[1, :, 16:, 16:], kinds[2, :, :16, 16:] = 1, 1, -1
    planted = torch.tensor([0] * 12 + [1] * 8 + [2] * 5)
    strengths = torch.rand(25, 1, 1, 1, generator=generator) + 0.1
    noise = 0.02 * torch.randn(25, 1, SIZE, SIZE, generator=generator)
    labels, width = kinds_of(strengths * (kinds[planted] + noise))
    assert labels.tolist() == planted.tolist()
    assert width > 0.8
    alone, nothing = kinds_of(torch.randn(25, 1, SIZE, SIZE, generator=generator))
    assert set(alone.tolist()) == {0}
    assert math.isnan(nothing)


def test_the_mean_change_is_of_what_was_attempted_and_changed(tmp_path):
    given = [
        sample(0, flat(0.2), flat(0.4)),
        sample(1, flat(0.2), flat(0.8)),
        sample(2, flat(0.2), flat(0.2)),
        sample(3, flat(0.2), flat(1.0), outcome="already there"),
        sample(4, flat(0.8), flat(0.5)),
    ]
    known = {one.target: one for one in patterns(write(tmp_path / "run", given))}
    assert list(known) == ["BRIGHT", "DARK"]
    assert known["BRIGHT"].mean.mean() == pytest.approx(0.4, rel=1e-3)
    assert known["DARK"].mean.mean() == pytest.approx(-0.3, rel=1e-3)
    assert known["DARK"].magnitude.mean() == pytest.approx(0.3, rel=1e-3)
    assert (known["BRIGHT"].sizes, known["DARK"].sizes) == ([2], [1])


def test_the_report_shows_an_audit_where_there_is_one(run):
    assert "The audit of the model" not in report(run).read_text()
    audit(run)
    page = report(run).read_text()
    assert "The audit of the model" in page
    heads, rows = cells(read_lines(run), "Subgroups")
    assert all(f"<td>{row['']}</td>" in page for row in rows)
    assert all(f'<th scope="col">{head}</th>' in page for head in heads)


def test_what_cannot_be_audited_is_refused(run, tmp_path, capsys):
    (run / "metrics.csv").unlink()
    assert main(["audit", str(run)]) == 2
    assert f"run `cfgen evaluate {run}` first" in capsys.readouterr().err


def test_only_phantoms_with_markers_are_marked():
    known = {data: is_marked(Run(Path("x"), {"data": data}, [], [], ())) for data in DATA}
    assert known == dict(zip(DATA, [True, False, False, False], strict=True))


DATA = ("phantom:0.9", "phantom", "phantom:0", "films/phantom:0.9")


def test_the_share_on_the_marker_is_in_the_audit_of_marked_phantoms(tmp_path, monkeypatch):
    class Models:
        classifier = brightness_classifier(classes=phantom.CLASSES)

    monkeypatch.setattr(groups, "load_bundle", lambda *_: Models)
    given, measures = [], []
    for i, one in enumerate(phantom.samples({"test": 6}, 1.0)):
        drawn = phantom.of_path(one.path, SIZE)
        image = (drawn.image - 0.2 * drawn.marker - 0.001).clamp(0, 1)
        target = phantom.CLASSES[1 - drawn.label]
        names = {"path": one.path, "label": one.label, "source": one.label, "target": target}
        given.append(sample(i, drawn.image, image, **names))
        measures.append({"id": i, "valid": 1, "l2": 1.0})
    written = write(tmp_path / "run", given, data="phantom:1.0")
    (written.path / "metrics.csv").write_text(csv_text(measures, tuple(measures[0])))
    (written.path / "summary.json").write_text(json.dumps({"direction": {}, "judges": []}))
    audit(written.path)
    found = numbers(written.path)
    removed = found["marker to be removed", "change on the marker"]
    assert removed.n == 3
    assert removed.mean > 0.9 > found["marker to be removed", "the marker's area"].mean
