"""A row of a study is searched and evaluated once, and again only where something is new."""

import shutil
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from cfgen.data import phantom
from cfgen.data.phantom import samples
from evaluation import plausibility
from evaluation.measured import difference, judged_by, pairs, read_measured
from evaluation.runs import read_run
from evaluation.search import search
from evaluation.study import making
from evaluation.study.making import Setting, make_run
from evaluation.study.plan import Planned

ROW = Planned("shift", "methods", "class-mean", {"steps": 2})


@pytest.fixture
def setting(tiny_bundle_path, tmp_path, monkeypatch):
    monkeypatch.setattr(phantom, "samples", partial(samples, {"train": 2, "test": 4}))
    monkeypatch.setattr(plausibility, "REAL_IMAGES", 2)
    return Setting(str(tiny_bundle_path), "phantom", "test", 4, None, 2, tmp_path / "study")


@pytest.fixture
def evaluated(monkeypatch):
    """Names of the runs that are evaluated, in turn."""
    names = []

    def counted(run, *arguments):
        names.append(run.name)
        return plausibility.evaluate(run, *arguments)

    monkeypatch.setattr(making, "evaluate", counted)
    return names


def written(path):
    return {file: file.stat().st_mtime_ns for file in path.rglob("*.safetensors")}


def test_a_second_call_makes_nothing_anew(setting, evaluated):
    first = make_run(ROW, setting)
    shards, metrics = written(first.run.path), (first.run.path / "metrics.csv").stat().st_mtime_ns
    again = make_run(ROW, setting)
    assert evaluated == ["shift"]
    assert written(first.run.path) == shards
    assert (first.run.path / "metrics.csv").stat().st_mtime_ns == metrics
    assert (again.rows, again.summary) == (first.rows, first.summary)


def test_a_run_that_grew_is_evaluated_again(setting, evaluated, monkeypatch):
    def stopped(*arguments, **named):
        """Search, and leave what a stop before the second batch would have left."""
        path = search(*arguments, **named)
        *_, last = read_run(path).shards
        lost = [f"{i}," for i in load_file(last)["id"].tolist()]
        last.unlink()
        lines = (path / "samples.csv").read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(tuple(lost))]
        (path / "samples.csv").write_text("".join(kept))
        return path

    with monkeypatch.context() as patched:
        patched.setattr(making, "search", stopped)
        begun = make_run(ROW, setting)
    assert (len(begun.rows), begun.summary["samples"]) == (2, 2)
    assert begun.summary["notes"] == [
        "The search was stopped at 2 of 4 samples; the same command goes on."
    ]
    grown = make_run(ROW, setting)
    assert evaluated == ["shift", "shift"]
    assert (len(grown.rows), grown.summary["samples"]) == (4, 4)
    assert grown.summary["notes"] == []
    assert begun.rows.keys() < grown.rows.keys()


def test_other_judges_are_asked_anew_and_the_same_ones_not(
    setting, evaluated, tiny_bundle_path, tmp_path
):
    assert make_run(ROW, setting).summary["judges"] == ["second"]
    shutil.copytree(tiny_bundle_path / "judges/second", tmp_path / "panel/third")
    asked = replace(setting, judges=tmp_path / "panel")
    found = make_run(ROW, asked)
    assert found.summary["judges"] == ["third"]
    assert "judge_third_follows" in judged_by(found)
    make_run(ROW, asked)
    assert evaluated == ["shift", "shift"]
    make_run(ROW, setting)
    assert evaluated == ["shift"] * 3


def test_a_row_of_another_limit_or_setting_is_refused_and_left_alone(setting, evaluated):
    first = make_run(ROW, setting)
    shards = written(first.run.path)
    with pytest.raises(ValueError, match="limit: there 4, asked 2"):
        make_run(ROW, replace(setting, limit=2))
    with pytest.raises(ValueError, match=r"settings.steps: there 2, asked 3"):
        make_run(ROW._replace(settings={"steps": 3}), setting)
    assert written(first.run.path) == shards
    assert evaluated == ["shift"]


def test_a_bundle_without_border_judge_or_segmenter_leaves_those_measures_out(setting):
    found = make_run(ROW, setting)
    assert judged_by(found) == [
        "judge_second_follows", "panel_follows", "ssim", "ssim_outside", "inside_ratio",
    ]  # fmt: skip
    both = list(pairs(found, found))
    nothing = difference(both, "border_shift")
    assert (nothing.n, nothing.mean != nothing.mean) == (0, True)
    assert found.metric("border_shift", "classified correctly") is None
    assert found.mean("border_shift", "classified correctly", "NOWHERE") is None


def test_a_measured_run_has_its_samples_and_its_numbers_together(setting):
    found = make_run(ROW, setting)
    read = read_measured(found.run.path)
    assert list(read.rows) == [row["id"] for row in found.run.samples]
    for ids, factual, image in found.run.images():
        change = (image - factual).double().flatten(1)
        for i, own in zip(ids.tolist(), torch.linalg.vector_norm(change, dim=1), strict=True):
            assert read.rows[i]["l2"] == pytest.approx(float(own), rel=1e-5)
            assert read.rows[i]["path"].startswith("test/")
