"""`cfgen evaluate` by files of weights: LPIPS of each image, and FID's network for sets of them."""

import csv
import hashlib
import json
import re

import pytest
import torch
from safetensors.torch import save_file

from cfgen.cli import main
from cfgen.models.bundle import load_bundle
from evaluation.measured import read_measured
from evaluation.measures.image import FeatureNetwork, Instruments
from evaluation.measures.weights import Weights, with_weights
from evaluation.paper.measuring import measured
from evaluation.paper.prose import to_markdown
from evaluation.plausibility import evaluate
from evaluation.report.commands import commands
from evaluation.search import search
from tests.published import alexnet_state, inception_state


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("weights")
    found = {"lpips": root / "alexnet.pth", "inception": root / "inception.pth"}
    torch.save(alexnet_state(), found["lpips"])
    torch.save(inception_state(), found["inception"])
    yield found
    found["inception"].unlink()


@pytest.fixture
def run(tiny_bundle_path, tmp_path, monkeypatch):
    monkeypatch.setattr("evaluation.plausibility.REAL_IMAGES", 4)
    path = tmp_path / "run"
    search(str(tiny_bundle_path), "phantom", path, method="pixel", settings={"steps": 5}, limit=4)
    return path


def summary_of(run):
    return json.loads((run / "summary.json").read_text())


def test_lpips_is_a_column_with_its_definition_and_its_weights(run, files):
    assert main(["evaluate", str(run), "--lpips", str(files["lpips"])]) == 0
    with (run / "metrics.csv").open(newline="") as file:
        values = [float(row["lpips"]) for row in csv.DictReader(file)]
    assert len(values) == 4
    assert all(0 < value < 1 for value in values)
    summary = summary_of(run)
    digest = hashlib.sha256(files["lpips"].read_bytes()).hexdigest()
    assert summary["weights"] == {"lpips": {"file": str(files["lpips"]), "sha256": digest}}
    assert "linear heads" in summary["definitions"]["lpips"]
    assert any(
        note.startswith("alexnet.pth, the weights of --lpips, is not the file that is published")
        and digest[:8] in note and "7be5be79" in note
        for note in summary["notes"]
    )  # fmt: skip
    assert re.search(r"\| LPIPS +\| 0?\.\d{3}", (run / "summary.md").read_text())
    again = commands(read_measured(run).run, ["lpips"], [], 5)[1]
    assert f"--lpips {files['lpips']}" in again.replace(" \\\n   ", "")
    text = to_markdown(measured(read_measured(run)))
    assert f"LPIPS by alexnet.pth (sha256 {digest[:12]})" in text
    assert "[@zhangr2018]" in text


def test_sets_are_compared_in_inception_beside_the_other_networks(run, files):
    pytest.importorskip("torch_fidelity", reason="pip install 'cfgen[fid]'")
    plain = evaluate(run)
    assert main(["evaluate", str(run), "--inception", str(files["inception"])]) == 0
    summary = summary_of(run)
    for measure in ("frechet", "kernel"):
        assert list(summary[measure]) == ["second", "autoencoder", "inception"]
        assert {name: summary[measure][name] for name in plain[measure]} == plain[measure]
        assert all(known["distance"] != 0 for known in summary[measure]["inception"].values())
    assert summary["identity"] == plain["identity"]
    assert "lpips" not in summary["definitions"]
    assert "| inception" in (run / "summary.md").read_text()
    assert "torch-fidelity" in summary["versions"]
    assert plain["weights"] == {}
    assert "torch-fidelity" not in plain["versions"]


def test_pairs_of_another_tool_are_measured_by_them_too(
    tiny_bundle_path, phantoms, files, tmp_path
):
    pairs = tmp_path / "pairs.safetensors"
    save_file({"factual": phantoms, "counterfactual": phantoms.flip(0).contiguous()}, pairs)
    asked = ["--bundle", str(tiny_bundle_path), "--lpips", str(files["lpips"])]
    assert main(["evaluate", str(pairs), *asked]) == 0
    summary = summary_of(tmp_path / "pairs-run")
    assert summary["subsets"]["all attempted"]["metrics"]["lpips"]["mean"] > 0


def test_a_wrong_file_ends_it_before_anything_is_measured(run, files, capsys):
    assert main(["evaluate", str(run), "--lpips", str(files["inception"])]) != 0
    told = capsys.readouterr().err
    assert f"expected the weights of AlexNet in {files['inception']}" in told
    assert main(["evaluate", str(run), "--lpips", "none.pth"]) != 0
    assert "expected a file of weights in none.pth, got none" in capsys.readouterr().err
    assert not (run / "metrics.csv").exists()


def test_a_judge_by_the_name_of_fids_network_is_refused(tiny_bundle_path, files):
    classifier = load_bundle(tiny_bundle_path).classifier
    features = FeatureNetwork("inception", classifier)
    with pytest.raises(ValueError, match="do rename the judge's folder"):
        with_weights(
            Instruments(classifier, {}, features=features), Weights(inception=files["inception"])
        )
