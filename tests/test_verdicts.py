"""Verdicts of runs: the files beside a run, calibration, the check on phantoms not seen there."""

import csv
import json
import re
import shutil

import pytest
import torch

from cfgen.cli import main
from cfgen.data.phantom import of_path, others_of_path
from cfgen.evidence import FEATURES, Evidence
from cfgen.models.bundle import find_bundle, load_bundle
from cfgen.verdict import Verdict, VerdictModel, read_model
from cfgen.witnesses import witnesses_of
from evaluation import plausibility
from evaluation.runs import create_run, read_run, write_shards
from evaluation.verdicts import main as verdict_study
from evaluation.verdicts.giving import (
    count_verdicts,
    evidence_of,
    gather_evidence,
    read_evidence,
    read_verdicts,
    write_verdicts,
)

MODEL = VerdictModel(
    features=("high_frequency", "survives_reencoding", "judges_follow"),
    means=(0.5, 0.5, 0.5),
    scales=(0.2, 0.5, 0.5),
    classes=(Verdict.SEMANTIC, Verdict.ADVERSARIAL),
    weights=((-1.0, 1.0, 1.0), (1.0, -1.0, -1.0)),
    biases=(0.0, 0.0),
    threshold=0.6,
    calibration={},
    seen=("phantom-20000000",),
)


def cfgen(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def bundle_path(tiny_bundle_path, tmp_path_factory):
    """The tiny bundle, sharpened, with a verdict model."""
    path = tmp_path_factory.mktemp("verdicts") / "bundle"
    shutil.copytree(tiny_bundle_path, path)
    classifier = load_bundle(path).classifier
    classifier.calibrate(0.03, [0.5, 0.5])
    classifier.save_pretrained(path / "classifier")
    return path


@pytest.fixture(scope="module")
def runs(bundle_path, tmp_path_factory):
    """Twelve phantoms searched on the pixels and along the class means."""
    out = tmp_path_factory.mktemp("runs")
    given = ("--bundle", bundle_path, "--data", "phantom", "--limit", 12)
    for method, steps in (("pixel", 40), ("class-mean", 40)):
        settings = ("--method", method, "--settings.steps", steps)
        assert cfgen("search", *given, *settings, "--out", out / method) == 0
    return [out / "pixel", out / "class-mean"]


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """The shipped bundle, its counterfactuals on the pixels, and the true ones as if searched."""
    out = tmp_path_factory.mktemp("studied")
    shutil.copytree(find_bundle("phantom-64"), out / "bundle")
    (out / "bundle/verdict.json").unlink(missing_ok=True)
    given = ("--bundle", out / "bundle", "--data", "phantom", "--limit", 16, "--method", "pixel")
    assert cfgen("search", *given, "--out", out / "pixel") == 0
    searched = read_run(out / "pixel")
    create_run(out / "truth", searched.config | {"method": "truth"})
    drawn = [of_path(str(row["path"]), 64) for row in searched.samples]
    factual, truth = (torch.stack([getattr(p, name) for p in drawn]) for name in ("image", "truth"))
    ids = torch.tensor([row["id"] for row in searched.samples])
    write_shards(out / "truth", searched.samples, ids, factual, truth)
    return out


@pytest.fixture
def run(runs, tmp_path):
    """A copy of the run on the pixels that a test may write into."""
    shutil.copytree(runs[0], tmp_path / "run")
    return read_run(tmp_path / "run")


def test_evidence_is_stored_and_read_as_it_was_gathered(run, bundle_path):
    witnesses = witnesses_of(load_bundle(bundle_path))
    rows = gather_evidence(run, witnesses, batch_size=5)
    assert [row["id"] for row in rows] == [row["id"] for row in run.samples]
    read = read_evidence(run)
    torch.testing.assert_close(evidence_of(read), evidence_of(rows), equal_nan=True)
    again = gather_evidence(run, witnesses, batch_size=12)
    # Rounding differs from batch to batch, and the random start divides by a gradient.
    torch.testing.assert_close(
        torch.stack(evidence_of(again)),
        torch.stack(evidence_of(rows)),
        atol=5e-3,
        rtol=5e-3,
        equal_nan=True,
    )
    asked = evidence_of(rows)
    assert asked.high_frequency.isfinite().all()
    assert asked.prior_error.isfinite().all()
    assert ((asked.judges_asked == 0) == asked.judges_follow.isnan()).all()


def test_evidence_of_other_samples_or_of_an_older_kind_is_not_read(run, bundle_path):
    assert read_evidence(run) is None
    gather_evidence(run, witnesses_of(load_bundle(bundle_path)))
    path = run.path / "evidence.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    assert read_evidence(run) is None
    path.write_text("".join([lines[0].replace("flips", "flops"), *lines[1:]]))
    assert read_evidence(run) is None


def test_every_sample_gets_a_verdict_and_those_at_their_target_count_for_none(run):
    blank = dict.fromkeys(Evidence._fields, None) | {"flips": 1.0, "judges_asked": 4.0}
    rows = [{"id": row["id"], **blank, "judges_follow": k % 2} for k, row in enumerate(run.samples)]
    run.samples[0]["outcome"] = "already there"
    written = write_verdicts(run, MODEL, rows)
    stored = read_verdicts(run)
    assert [stored[row["id"]]["verdict"] for row in run.samples] == [
        "uncertain", *["semantic", "adversarial"] * 5, "semantic",
    ]  # fmt: skip
    assert written[0]["reasons"] == "the target was there from the start"
    assert stored[run.samples[1]["id"]]["reasons"].startswith("4 of 4 judges follow (not known")
    assert count_verdicts(run, stored) == {
        "semantic": 6, "classifier-specific": 0, "adversarial": 5, "uncertain": 0,
    }  # fmt: skip
    run.samples.pop()
    assert read_verdicts(run) == {}


def test_evaluation_gives_verdicts_and_leads_with_them(run, bundle_path, monkeypatch):
    monkeypatch.setattr(plausibility, "REAL_IMAGES", 8)
    (bundle_path / "verdict.json").write_text(MODEL.to_json())
    try:
        assert cfgen("evaluate", run.path) == 0
        assert cfgen("report", run.path) == 0
    finally:
        (bundle_path / "verdict.json").unlink()
    summary = json.loads((run.path / "summary.json").read_text())
    verdicts = read_verdicts(run)
    assert summary["verdicts"] == count_verdicts(run, verdicts)
    assert list(summary["verdicts"]) == [str(verdict) for verdict in Verdict]
    text = (run.path / "summary.md").read_text()
    assert "**Verdict** on 12 counterfactuals: " in text
    assert "calibrated on phantoms only" in text
    page = (run.path / "report.html").read_text()
    assert page.index("Verdicts on 12 counterfactuals") < page.index('<section id="cases">')
    for name, count in summary["verdicts"].items():
        assert re.search(rf'data-value="{name}".+?<b>{count}</b>', page, re.DOTALL)
    assert all(row["reasons"].split("; ")[0] in page for row in verdicts.values())


def test_calibration_writes_a_model_and_the_check_leaves_its_phantoms_out(
    studied, tmp_path, capsys
):
    bundle_path, runs = studied / "bundle", [studied / "pixel", studied / "truth"]
    try:
        assert cfgen("verdict", *runs, "--into", bundle_path) == 0
        told = capsys.readouterr().out
        model = read_model(bundle_path / "verdict.json")
        assert f"calibrated on {len(model.seen)} phantoms" in told
        for name in model.features:
            assert f"| {name} " in told
        assert model.calibration["note"] == "calibrated on phantoms only"
        confusion = model.calibration["confusion"]
        total = sum(count for row in confusion.values() for count in row.values())
        assert total == model.calibration["n"]
        assert confusion["semantic"]["semantic"] > 5
        assert confusion["adversarial"]["adversarial"] > 5
        assert set(model.features) <= set(FEATURES)
        assert cfgen("verdict", *runs, "--out", tmp_path / "all") == 2
        assert "expected phantoms that the verdicts were not calibrated" in capsys.readouterr().err
        stored = json.loads((bundle_path / "verdict.json").read_text())
        stored["seen"] = stored["seen"][:3]
        (bundle_path / "verdict.json").write_text(json.dumps(stored))
        assert cfgen("verdict", *runs, "--out", tmp_path / "out") == 0
    finally:
        (bundle_path / "verdict.json").unlink(missing_ok=True)
    text = (tmp_path / "out/verdicts.md").read_text()
    assert text.strip() == capsys.readouterr().out.strip()
    assert "not seen in calibration" in text
    for words in ("pixel (pixel)", "truth (truth)", "aim 0.7", "aim 0.9"):
        assert words in text
    assert (tmp_path / "out/verdicts.png").is_file()
    with (runs[0] / "evidence.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 16


def test_any_opacity_that_a_normal_chest_could_have_is_a_truth(monkeypatch):
    monkeypatch.setattr(verdict_study, "OTHERS", 3)
    path = "test/NORMAL/phantom-20000300-s0.0.png"
    for possible in (of_path(path), *others_of_path(path, 3)):
        nearly = 0.9 * possible.truth + 0.1 * possible.image
        assert torch.equal(verdict_study.nearest_truth(path, nearly).truth, possible.truth)
    path = "test/OPACITY/phantom-20000301-s0.0.png"
    other = others_of_path(path, 1)[0]
    assert torch.equal(
        verdict_study.nearest_truth(path, other.image).opacity, of_path(path).opacity
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((), "either --into BUNDLE, to calibrate, or --out DIR"),
        (("--into", "phantom-64", "--out", "somewhere"), "got both"),
        (("--into", "nonesuch"), "expected a bundle"),
    ],
)
def test_what_is_not_asked_as_it_should_be_is_told(given, told, runs, capsys):
    assert cfgen("verdict", runs[0], *given) == 2
    assert told in capsys.readouterr().err


def test_images_without_a_truth_cannot_calibrate(run, bundle_path, capsys):
    config = (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").write_text(config.replace("data: phantom", "data: some/folder"))
    assert cfgen("verdict", run.path, "--into", bundle_path) == 2
    assert "expected runs over phantoms, whose truth is known" in capsys.readouterr().err
