"""The benchmark: scores of maps whose place is known, and the whole of it by one command."""

import csv
from functools import partial

import pytest
import torch

from cfgen import methods
from cfgen.cli import main
from cfgen.data import phantom
from cfgen.data.phantom import of_path, samples
from cfgen.goals import make_goal
from cfgen.saliency import input_gradient
from evaluation import plausibility
from evaluation.batches import batches
from evaluation.benchmark import main as module
from evaluation.benchmark.ground import by_chance, on_ground, saliency_maps, scored_by
from evaluation.benchmark.main import benchmark
from evaluation.benchmark.tables import Score, score_csv, score_figure, score_table
from evaluation.measured import Measured
from evaluation.measures.image import on_opacity
from evaluation.study.marker import on_marker
from tests.written_runs import sample, write

SIZE = 64


def phantoms(path, shortcut=0.0, **config):
    """Eight phantoms and their true counterfactuals, of which the last asks for what it is."""
    given = []
    for i, one in enumerate(samples({"test": 8}, shortcut)):
        drawn = of_path(one.path, SIZE)
        other = phantom.CLASSES[1 - drawn.label]
        target = one.label if i == 7 else other
        names = {"path": one.path, "label": one.label, "source": one.label, "target": target}
        given.append(sample(i, drawn.image, drawn.truth, **names))
    run = write(path, given, **config)
    return Measured(path.name, run, {}, {row["id"]: row for row in run.samples})


def opacity_of(batch):
    return torch.stack([of_path(str(row["path"]), SIZE).opacity for row in batch.rows])


def test_a_map_of_the_opacity_itself_is_perfect_and_its_negative_nowhere(tmp_path):
    measured = phantoms(tmp_path / "run")
    found = on_ground(measured, scored_by(lambda batch: -2.0 * opacity_of(batch)))
    assert {target: block["iou_opacity"]["n"] for target, block in found.items()} == {
        "NORMAL": 3,
        "OPACITY": 4,
    }
    for block in found.values():
        assert [block[name]["mean"] for name in block] == [1, 1, 1]
    found = on_ground(measured, scored_by(lambda batch: (~opacity_of(batch)).float()))
    assert [known["mean"] for known in found["NORMAL"].values()] == [0, 0, 0]


def test_noise_scores_as_chance_does(tmp_path):
    measured = phantoms(tmp_path / "run")
    generator = torch.Generator().manual_seed(0)

    def noise(batch, opacity):
        """The mean over many maps of noise: one alone is far from its expectation."""
        draws = [
            on_opacity(torch.randn(batch.image.shape, generator=generator), opacity)
            for _ in range(30)
        ]
        return {name: torch.stack([draw[name] for draw in draws]).mean(0) for name in draws[0]}

    found, chance = on_ground(measured, noise), on_ground(measured, by_chance)
    for name in ("energy_in_opacity", "iou_opacity"):
        expected = chance["NORMAL"][name]["mean"]
        assert 0 < expected < 0.3
        assert found["NORMAL"][name]["mean"] == pytest.approx(expected, rel=0.15)


def test_saliency_is_of_the_runs_classifier_and_targets(tiny_bundle_path, tiny_bundle, tmp_path):
    measured = phantoms(tmp_path / "run", bundle=str(tiny_bundle_path))
    (batch, *_) = batches(measured.run, 64, "cpu")
    goal = make_goal(tiny_bundle.classifier, batch.factual)
    expected = input_gradient(goal.log_odds, batch.factual)
    maps = saliency_maps(measured, "input gradient")
    assert torch.allclose(maps(batch), expected)
    assert expected.any()


def test_maps_are_scored_on_the_marker_as_changes_are(tmp_path):
    measured = phantoms(tmp_path / "run", shortcut=1.0)

    def marker(batch):
        return torch.stack([of_path(str(row["path"]), SIZE).marker for row in batch.rows]).float()

    removed, added = on_marker(measured, marker)
    assert (removed.share.mean, removed.share.n) == (1, 3)
    assert added.share.n == 0
    assert on_marker(measured)[0].share.mean < 0.05


def scores():
    def estimate(mean):
        return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n": 9}

    return [
        Score("clean", "prior", "NORMAL", {"valid": estimate(1.0), "iou_opacity": estimate(0.5)}),
        Score("clean", "chance", "NORMAL", {"iou_opacity": estimate(0.25)}),
        Score("clean", "prior", "OPACITY", {"iou_opacity": estimate(0.75)}),
    ]


def test_tables_and_figure_show_a_target_at_a_time():
    text = score_table(scores(), "NORMAL")
    assert ".50 [.40, .60]" in text
    assert ".75" not in text
    assert "SSIM" not in text
    assert "clean,chance,NORMAL,iou_opacity,0.25,0.15,0.35,9" in score_csv(scores())
    (axes,) = score_figure(scores(), "NORMAL").axes
    (container,) = axes.containers
    assert container[0].get_xdata().tolist() == [0.5, 0.25]
    with pytest.raises(ValueError, match="scores to ELSEWHERE"):
        score_figure(scores(), "ELSEWHERE")


def test_the_benchmark_is_made_by_one_command(tiny_bundle_path, tmp_path, monkeypatch, capsys):
    few = {
        "prior": methods.METHODS["latent-shift"],
        "class-mean": methods.METHODS["class-mean"],
    }
    monkeypatch.setattr(methods, "METHODS", few)
    monkeypatch.setattr(module, "METHODS", few)
    monkeypatch.setattr(phantom, "samples", partial(samples, {"train": 2, "test": 4}))
    monkeypatch.setattr(plausibility, "REAL_IMAGES", 1)
    out = tmp_path / "out"
    command = ["benchmark", "--bundle", str(tiny_bundle_path), "--data", "phantom"]
    command += ["--marker", str(tiny_bundle_path), "--out", str(out)]
    assert main(command) == 0
    first = capsys.readouterr().out
    assert (out / "benchmark.md").read_text() == first.removesuffix("\n")
    assert (out / "benchmark.png").is_file()
    with (out / "benchmark.csv").open() as file:
        rows = list(csv.DictReader(file))
    classifiers = {"clean", "clean, marked phantoms", "shortcut, marked phantoms"}
    assert {row["classifier"] for row in rows} == classifiers
    names = {*few, "input gradient", "integrated gradients", "chance"}
    assert {row["method"] for row in rows if row["measure"] == "iou_opacity"} == names
    marked = {row["classifier"] for row in rows if row["measure"] == "on_marker"}
    assert marked == classifiers - {"clean"}
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert main(command) == 0
    assert capsys.readouterr().out == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == stamps


def test_other_data_than_phantoms_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected phantoms, got films"):
        benchmark("phantom-64", "films", tmp_path / "out")
