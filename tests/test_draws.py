"""Several counterfactuals of an image: ids, seeds, and that batches do not matter."""

import csv
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from cfgen.cli import main
from cfgen.data.phantom import of_path, samples
from cfgen.data.samples import Sample
from cfgen.methods import search as search_batch
from cfgen.types import Limits
from evaluation.measures.draws import diversity_of_draws
from evaluation.runs import read_run
from evaluation.search import task as module
from evaluation.sections import sections


def cfgen(*arguments):
    return main([str(argument) for argument in arguments])


def at_random(bundle, goal, factual, method, settings, region, seeds, limits=Limits()):  # noqa: B008
    """A search that adds noise of its own seed to each image."""
    found = search_batch(bundle, goal, factual, method, settings, region, seeds, limits)
    noise = [
        torch.randn(factual.shape[1:], generator=torch.Generator().manual_seed(seed))
        for seed in seeds.tolist()
    ]
    return replace(found, images=(factual + 0.1 * torch.stack(noise)).clamp(0, 1))


@pytest.fixture
def asked(tiny_bundle_path, monkeypatch):
    monkeypatch.setattr(module, "search_batch", at_random)
    given = ("--bundle", tiny_bundle_path, "--data", "phantom", "--limit", 2)
    return ("search", *given, "--method", "pixel", "--settings.steps", 1)


def rows_of(run):
    with (run / "samples.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def images_of(run):
    shards = [load_file(shard) for shard in (run / "shards").iterdir()]
    return {
        identity: image
        for shard in shards
        for identity, image in zip(shard["id"].tolist(), shard["image"], strict=True)
    }


def test_each_image_is_drawn_k_times_under_ids_of_path_and_draw(asked, tmp_path):
    assert cfgen(*asked, "--draws", 3, "--out", tmp_path / "run") == 0
    rows = rows_of(tmp_path / "run")
    assert [row["draw"] for row in rows] == ["0", "1", "2"] * 2
    assert len({row["path"] for row in rows}) == 2
    for row in rows:
        assert int(row["id"]) == Sample(row["path"], None, None, draw=int(row["draw"])).id
        assert int(row["id"]) != Sample(row["path"], None, None).id
    images = images_of(tmp_path / "run")
    first, second, _ = (images[int(row["id"])] for row in rows[:3])
    assert (first - second).abs().mean() > 0.01


def test_a_draw_does_not_depend_on_its_batch(asked, tmp_path):
    for size in (1, 4):
        given = ("--draws", 2, "--batch_size", size, "--out", tmp_path / str(size))
        assert cfgen(*asked, *given) == 0
    one, four = images_of(tmp_path / "1"), images_of(tmp_path / "4")
    assert one.keys() == four.keys()
    for identity, image in one.items():
        assert torch.equal(image, four[identity])


def test_the_evaluation_says_how_different_the_draws_are(asked, tmp_path):
    run = tmp_path / "run"
    assert cfgen(*asked, "--draws", 3, "--batch_size", 2, "--out", run) == 0
    found = diversity_of_draws(read_run(run), batch_size=1)
    rows, images = rows_of(run), images_of(run)
    factuals = {row["id"]: row["path"] for row in rows}
    for target, known in found.items():
        drawn = [row["id"] for row in rows if row["target"] == target]
        apart = [
            float((images[int(a)] - images[int(b)]).norm())
            for a, b in combinations(drawn, 2)
            if factuals[a] == factuals[b]
        ]
        assert known["n"] == len(drawn) // 3
        assert known["l2"]["mean"] == pytest.approx(sum(apart) / len(apart), rel=1e-4)
    assert sum(known["n"] for known in found.values()) == 2
    (told,) = sections({"diversity": found})
    assert told.startswith("## How different the draws of an image are")


def test_another_seed_draws_others(asked, tmp_path):
    for seed in (0, 1):
        assert cfgen(*asked, "--seed", seed, "--out", tmp_path / str(seed)) == 0
    images = [images_of(tmp_path / str(seed)) for seed in (0, 1)]
    for identity, image in images[0].items():
        assert not torch.equal(image, images[1][identity])
    assert [row["draw"] for row in rows_of(tmp_path / "0")] == ["", ""]


def test_fewer_draws_than_one_are_refused(asked, tmp_path, capsys):
    assert cfgen(*asked, "--draws", 0, "--out", tmp_path / "run") == 2
    assert "expected 1 draw an image or more, got 0" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_explanation_shows_its_draws_side_by_side(tiny_bundle_path, tmp_path, monkeypatch):
    monkeypatch.setattr("cfgen.explanation.search", at_random)
    film = of_path(samples({"test": 2})[0].path, 64).image[0]
    Image.fromarray((film * 255).round().byte().numpy()).save(tmp_path / "film.png")
    given = ("--bundle", tiny_bundle_path, "--method", "pixel", "--out", tmp_path / "out")
    assert cfgen("explain", tmp_path / "film.png", *given, "--draws", 3) == 0
    text = (tmp_path / "out/explanation.md").read_text()
    table = text.split("## 3 draws")[1]
    assert [line.split("|")[1].strip() for line in table.splitlines()[4:]] == ["0", "1", "2"]
    lengths = {line.split("|")[4] for line in table.splitlines()[4:]}
    assert len(lengths) > 1
    with Image.open(tmp_path / "out/draws.png") as drawn:
        assert drawn.height > 300
    assert cfgen("explain", tmp_path / "film.png", *given, "--draws", 0) == 2
