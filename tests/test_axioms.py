"""`cfgen axioms`: every number again from the run's own images, one image at a time."""

import csv
import math

import pytest
import torch

from cfgen.cli import main
from cfgen.disturbances import noisy
from cfgen.goals import make_goal
from cfgen.methods import search, settings_of
from cfgen.models.bundle import load_bundle
from evaluation.axioms.main import axioms
from evaluation.runs import read_run
from tests.written_runs import flat, sample, write

SETTINGS = {"steps": 12, "step_size": 0.03, "weight": 0.1}
SEED = 5


@pytest.fixture(scope="module")
def run(tiny_bundle_path, tmp_path_factory):
    """Six phantoms searched on the pixels, three at a time."""
    out = tmp_path_factory.mktemp("runs") / "pixel"
    given = ["--bundle", tiny_bundle_path, "--data", "phantom", "--limit", 6, "--batch_size", 3]
    given += [text for name, value in SETTINGS.items() for text in (f"--settings.{name}", value)]
    given += ["--method", "pixel", "--confidence", 0.6, "--seed", SEED, "--out", out]
    assert main([str(text) for text in ("search", *given)]) == 0
    return out


def images_of(run):
    found = {}
    for ids, factual, image in read_run(run).images():
        pairs = zip(factual.split(1), image.split(1), strict=True)
        found |= dict(zip(ids.tolist(), pairs, strict=True))
    return found


def rows_of(run):
    with (run / "axioms.csv").open(newline="") as file:
        return {int(row["id"]): row for row in csv.DictReader(file)}


def again(bundle, image, target, identity):
    """One image's search, as the command line asked for it."""
    goal = make_goal(bundle.classifier, image, target, 0.6)
    how = settings_of("pixel", SETTINGS)
    seeds = torch.tensor([identity ^ SEED])
    return goal, search(bundle, goal, image, "pixel", how, seeds=seeds).images


def test_every_axiom_is_of_the_runs_own_search(run, tiny_bundle_path, capsys):
    assert main(["axioms", str(run), "--limit", "4"]) == 0
    assert capsys.readouterr().out.strip() == (run / "axioms.md").read_text().strip()
    bundle, images, rows = load_bundle(tiny_bundle_path), images_of(run), rows_of(run)
    samples = {row["id"]: row for row in read_run(run).samples}
    tried = [i for i, row in samples.items() if row["outcome"] != "already there"]
    assert list(rows) == tried[:4]
    for i, row in rows.items():
        factual, image = images[i]
        left = bundle.classes[int(bundle.classifier.predict(image))] != samples[i]["source"]
        assert (row["reversibility"] != "") == left
        if left:
            _, returned = again(bundle, image, samples[i]["source"], i)
            expected = float((factual - returned).abs().mean())
            assert float(row["reversibility"]) == pytest.approx(expected, abs=1e-4)
        near = noisy(factual, torch.tensor([i]))
        goal, theirs = again(bundle, near, samples[i]["target"], i)
        expected = float((image - theirs).norm() / (factual - near).norm())
        assert float(row["stability"]) == pytest.approx(expected, rel=1e-2)
        met = [
            share / 16
            for share in range(17)
            if goal.log_odds(factual + share / 16 * (image - factual)) >= goal.bar - 2e-3
        ]
        reached = samples[i]["outcome"] == "reached"
        assert float(row["least_share"] or math.nan) == pytest.approx(
            met[0] if reached else math.nan, nan_ok=True
        )


def test_composition_is_that_of_the_autoencoder(run, tiny_bundle_path):
    axioms(run, limit=2)
    bundle, images = load_bundle(tiny_bundle_path), images_of(run)
    for i, row in rows_of(run).items():
        factual = cycled = images[i][0]
        for cycle in range(10):
            cycled = bundle.autoencoder.decode(bundle.autoencoder.encode(cycled)).clamp(0, 1)
            if cycle in (0, 9):
                expected = float((cycled - factual).abs().mean())
                found = float(row[f"composition_{cycle + 1}"])
                assert found == pytest.approx(expected, rel=1e-3)
                assert found > 0.01
        assert max(float(row["residual_1"]), float(row["residual_10"])) < 1e-5
        assert math.log(2) <= float(row["latent_divergence"] or 1) <= 1 + math.log(2)


def test_what_cannot_be_tested_is_refused(run, tiny_bundle_path, tmp_path):
    with pytest.raises(ValueError, match="1 sample or more, got 0"):
        axioms(run, limit=0)
    preprocessing = read_run(run).config["preprocessing"]
    there = [sample(1, flat(0.3), flat(0.3), outcome="already there")]
    write(tmp_path, there, bundle=str(tiny_bundle_path), preprocessing=preprocessing)
    with pytest.raises(ValueError, match="had a way to go, got none"):
        axioms(tmp_path)
