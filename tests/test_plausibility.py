"""The measures of a run whose every number can be worked out by hand."""

import csv
import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from cfgen.data import phantom
from cfgen.models.autoencoder import Autoencoder
from cfgen.models.bundle import Bundle
from cfgen.models.classifier import Classifier
from cfgen.models.prior import Prior
from cfgen.models.segmenter import Segmenter
from evaluation.definitions import describe
from evaluation.measures.image import Instruments, measure
from evaluation.measures.instruments import instruments_of
from evaluation.measures.transitions import STEPS, write_curves
from evaluation.plausibility import evaluate
from evaluation.summary import ALL, CORRECT, VALID_ONES, summarise, to_markdown
from tests.written_runs import (
    CLASSES,
    SIZE,
    Darkener,
    brightness_classifier,
    flat,
    sample,
    write,
)


def instruments(**changes):
    judges = {"left": brightness_classifier(slice(0, SIZE // 2))}
    return Instruments(**{"classifier": brightness_classifier(), "judges": judges, **changes})


def test_every_measure_is_of_the_stored_images(tmp_path):
    run = write(
        tmp_path,
        [
            sample(1, flat(0.3), flat(0.7)),
            sample(2, flat(0.3), flat(0.3, 1.0)),
            sample(3, flat(0.7), flat(0.7), outcome="budget spent"),
            sample(4, flat(0.3), flat(0.55)),
        ],
    )
    rows = measure(run, instruments(), batch_size=2).rows
    assert [row["id"] for row in rows] == [1, 2, 3, 4]
    all_over, half, nothing, little = rows
    assert all_over["p_target_factual"] == pytest.approx(1 / (1 + torch.e**4), rel=1e-4)
    assert all_over["p_target"] == pytest.approx(1 / (1 + torch.e**-4), rel=1e-4)
    assert (all_over["valid"], all_over["flip"]) == (1, 1)
    assert all_over["l1"] == pytest.approx(0.4)
    assert all_over["l2"] == pytest.approx(0.4 * SIZE)
    assert half["linf"] == pytest.approx(0.7)
    assert half["changed"] == 0.5
    assert (nothing["valid"], nothing["flip"]) == (0, 0)
    assert nothing["ssim"] == pytest.approx(1)
    assert nothing["psnr"] == float("inf")
    assert (little["valid"], little["flip"]) == (0, 1)


def test_a_judge_follows_what_it_sees(tmp_path):
    run = write(
        tmp_path,
        [
            sample(1, flat(0.3), flat(0.7)),
            sample(2, flat(0.3), flat(0.3, 1.0)),
            sample(3, flat(0.7, 0.1), flat(0.7), label="DARK"),
            sample(4, flat(0.3), flat(0.55)),
            sample(5, flat(0.3), flat(0.7), label="BRIGHT"),
            sample(6, flat(0.3), flat(0.7), label=None),
        ],
    )
    follows, stays, wrong, invalid, there, unknown = measure(run, instruments()).rows
    assert follows["judge_left_follows"] == follows["judge_left_follows_valid"] == 1
    assert stays["judge_left_follows"] == stays["judge_left_follows_valid"] == 0
    assert (wrong["judge_left_factual_right"], wrong["judge_left_follows"]) == (0, None)
    assert (invalid["judge_left_follows"], invalid["judge_left_follows_valid"]) == (1, None)
    # Label and target are one class: whichever the judge sees, it cannot come to follow.
    assert there["judge_left_follows"] is None
    assert (unknown["judge_left_factual_right"], unknown["judge_left_follows"]) == (None, 1)


def test_a_judge_may_list_its_classes_in_another_order(tmp_path):
    class Swapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = brightness_classifier().network

        def forward(self, images):
            return self.inner(images).flip(1)

    judge = brightness_classifier(classes=CLASSES[::-1])
    judge.network = Swapped()
    run = write(tmp_path, [sample(1, flat(0.3), flat(0.7)), sample(2, flat(0.7), flat(0.65))])
    rows = measure(run, instruments(judges={"swapped": judge})).rows
    assert [row["judge_swapped_follows"] for row in rows] == [1, 0]


def test_any_other_class_will_do_where_the_target_is_none(tmp_path):
    run = write(
        tmp_path,
        [
            sample(1, flat(0.3), flat(0.7), target=None),
            sample(2, flat(0.3), flat(0.4), target=None),
        ],
    )
    rows = measure(run, instruments()).rows
    assert [row["valid"] for row in rows] == [1, 0]
    assert [row["flip"] for row in rows] == [1, 0]
    assert [row["judge_left_follows"] for row in rows] == [1, 0]
    assert list(summarise(run.samples, rows)["direction"]) == ["other"]


def test_what_flips_is_counted_whatever_the_label(tmp_path):
    run = write(
        tmp_path,
        [
            sample(1, flat(0.3), flat(0.7)),
            sample(2, flat(0.3), flat(0.3, 1.0)),
            sample(3, flat(0.3), flat(0.7), label="BRIGHT"),
            sample(4, flat(0.3), flat(0.6, 0.2)),
            sample(5, flat(0.6, 0.1), flat(0.7)),
        ],
    )
    both, only, mislabelled, judge_alone, there = measure(run, instruments()).rows
    assert (both["judge_left_flips"], both["non_adversarial"]) == (1, 1)
    assert (only["judge_left_flips"], only["non_adversarial"]) == (0, 0)
    # Asked by its label, this judge had the factual wrong; asked for a flip, it has one.
    assert (mislabelled["panel_follows"], mislabelled["non_adversarial"]) == (None, 1)
    assert (judge_alone["judge_left_flips"], judge_alone["non_adversarial"]) == (1, None)
    assert (there["judge_left_flips"], there["non_adversarial"]) == (None, None)
    assert both["p_change"] == pytest.approx(both["p_target"] - both["p_target_factual"])
    assert "non_adversarial" not in measure(run, instruments(judges={})).rows[0]


def test_the_prior_rebuilds_as_of_target_source_and_any_class(tmp_path, monkeypatch):
    known = torch.tensor([0.8, 0.2, 0.5])  # BRIGHT, DARK, any: in the order of its own classes
    prior = Prior(classes=CLASSES[::-1], channels=1, side=SIZE, widths=[8], layers=1)

    def rebuild(_prior, codes, label):
        return known[label][:, None, None, None].expand_as(codes)

    monkeypatch.setattr("evaluation.measures.image.rebuild", rebuild)
    run = write(
        tmp_path,
        [
            sample(1, flat(0.3), flat(0.6)),
            sample(2, flat(0.7), flat(0.3)),
            sample(3, flat(0.3), flat(0.7), target=None),
        ],
    )
    darkener = Darkener(0.0)
    towards_bright, towards_dark, anything = measure(
        run, instruments(autoencoder=darkener, prior=prior)
    ).rows
    assert towards_bright["im1"] == pytest.approx((0.2 / 0.4) ** 2, rel=1e-4)
    assert towards_dark["im1"] == pytest.approx((0.1 / 0.5) ** 2, rel=1e-4)
    assert towards_bright["im2"] == pytest.approx(0.3**2 / 0.6, rel=1e-4)
    assert towards_dark["im2"] == pytest.approx(0.3**2 / 0.3, rel=1e-4)
    assert (anything["im1"], anything["im2"]) == (None, None)
    assert "im1" not in measure(run, instruments(autoencoder=darkener)).rows[0]


def test_cout_is_kept_with_its_curves(tmp_path):
    """Brightness rises by the pixel: half of the pixels make a mean of .3 to one of .5."""
    run = write(
        tmp_path,
        [
            sample(1, flat(0.3), flat(0.7)),
            sample(2, flat(0.3), flat(0.3, 1.0)),
            sample(3, flat(0.7), flat(0.3)),
            sample(4, flat(0.3), flat(0.7), target=None),
            sample(5, flat(0.3), flat(0.3), outcome="already there"),
        ],
    )
    measured, curves = measure(run, instruments(judges={}), batch_size=2)
    scores = [row["cout"] for row in measured]
    shares = np.arange(STEPS + 1) / STEPS

    def probability(mean):
        return 1 / (1 + np.exp(10 - 20 * mean))

    even = probability(0.3 + 0.4 * np.round(shares * SIZE**2) / SIZE**2)
    swapped = np.round(shares * SIZE**2) / SIZE**2
    first = probability(0.3 + np.minimum(0.7 * swapped, 0.35))
    for i, curve in {1: even, 2: first, 3: even, 4: even}.items():
        assert curves[i][0] == pytest.approx(curve, abs=1e-4)
        assert curves[i][1] == pytest.approx(1 - curve, abs=1e-4)
        expected = np.trapezoid(2 * curve - 1, shares)
        assert scores[i - 1] == pytest.approx(expected, abs=1e-4)
    assert scores[0] == pytest.approx(0, abs=1e-4)
    assert scores[1] > 0.3
    write_curves(run, curves)
    with (tmp_path / "cout.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["target"] for row in rows[:: STEPS + 1]] == ["BRIGHT", "DARK", "other"]
    assert {row["n"] for row in rows if row["target"] == "BRIGHT"} == {"2"}
    mean = [float(row["p_target"]) for row in rows[: STEPS + 1]]
    assert mean == pytest.approx((even + first) / 2, abs=1e-4)
    assert [float(row["share"]) for row in rows[: STEPS + 1]] == shares.tolist()


def test_what_mere_reconstruction_does_stands_beside(tmp_path):
    run = write(tmp_path, [sample(1, flat(0.55), flat(0.3)), sample(2, flat(0.9), flat(0.3))])
    rows = measure(run, instruments(autoencoder=Darkener(0.1))).rows
    assert [row["reconstruction_flips"] for row in rows] == [1, 0]
    rows = measure(run, instruments(autoencoder=Darkener(0.25))).rows
    assert rows[0]["ssim_reconstruction"] == pytest.approx(1)
    assert rows[0]["ssim"] < 0.9


def test_a_run_of_other_classes_is_refused(tmp_path):
    run = write(tmp_path, [sample(1, flat(0.3), flat(0.7), source="NORMAL")])
    with pytest.raises(ValueError, match="got 'NORMAL'; measure the run with the bundle"):
        measure(run, instruments())


def test_the_panel_is_of_the_judges_that_can_tell(tmp_path):
    halves = {
        "left": brightness_classifier(slice(0, SIZE // 2)),
        "right": brightness_classifier(slice(SIZE // 2, SIZE)),
    }
    run = write(
        tmp_path,
        [
            sample(1, flat(0.3), flat(0.3, 1.0)),
            sample(2, flat(0.3, 0.6), flat(0.7)),
            sample(3, flat(0.3), flat(0.3), label="BRIGHT"),
        ],
    )
    one_of_two, one_of_one, none = measure(run, instruments(judges=halves)).rows
    assert one_of_two["panel_follows"] == 0.5
    assert (one_of_one["judge_right_follows"], one_of_one["panel_follows"]) == (None, 1)
    assert none["panel_follows"] is None
    assert "panel_follows" not in measure(run, instruments(judges={})).rows[0]


def test_log_odds_are_of_the_target_and_the_border_is_no_judge(tmp_path):
    """A classifier of a mean m has log-odds of 20 m - 10 for BRIGHT."""
    run = write(
        tmp_path,
        [
            sample(1, flat(0.3), flat(0.7)),
            sample(2, flat(0.7), flat(0.3)),
            sample(3, flat(0.3), flat(0.3, 0.9), target=None),
        ],
    )
    border = brightness_classifier(slice(SIZE // 2, SIZE))
    rows = measure(run, instruments(border=border)).rows
    assert [row["judge_left_log_odds"] for row in rows] == pytest.approx([4, 4, -4], abs=1e-4)
    assert [row["border_shift"] for row in rows] == pytest.approx([8, 8, 12], abs=1e-4)
    assert not any("border" in name for name in rows[0] if name.startswith("judge"))


def test_places_are_by_the_lungs_of_the_factual(tmp_path):
    """Half of what changes is on the dark half, which is where these lungs are."""
    factual, image = flat(0.2, 0.6), flat(0.3, 0.6)
    image[..., : SIZE // 4, SIZE // 2 :] -= 0.2
    run = write(tmp_path, [sample(1, factual, image), sample(2, factual, factual)])
    moved, unmoved = measure(run, instruments(lungs=lambda images: images < 0.25)).rows
    assert moved["energy_in_lungs"] == pytest.approx(1 / 2, rel=1e-4)
    assert moved["inside_ratio"] == pytest.approx(1, rel=1e-4)
    assert moved["ssim_outside"] < moved["ssim"] < 1
    assert (unmoved["inside_ratio"], unmoved["ssim_outside"]) == (None, pytest.approx(1))
    assert 0 <= moved["high_frequency"] < 0.2


def phantom_run(path):
    samples = []
    for i, one in enumerate(phantom.samples({"test": 4})):
        drawn = phantom.of_path(one.path, SIZE)
        names = {"path": one.path, "label": one.label, "source": one.label}
        other = phantom.CLASSES[1 - drawn.label]
        target = one.label if i == 3 else other
        image = drawn.image if i == 2 else drawn.truth
        samples.append(sample(i, drawn.image, image, **names, target=target))
    return write(path, samples, data="phantom")


def test_the_true_counterfactual_is_known_on_the_phantom(tmp_path):
    run = phantom_run(tmp_path)
    classifier = brightness_classifier(classes=phantom.CLASSES)
    drawn = [phantom.of_path(str(row["path"]), SIZE) for row in run.samples]
    of_path = {str(row["path"]): one for row, one in zip(run.samples, drawn, strict=True)}
    rows = measure(
        run, Instruments(classifier=classifier, judges={}, phantom=of_path.__getitem__)
    ).rows
    assert rows[0]["ssim_truth"] == pytest.approx(1)
    assert rows[0]["l2_truth"] == 0
    assert rows[0]["energy_in_opacity"] > 0.9
    # The opacity's mask is where the truth differs most: no other place is changed as much.
    assert (rows[0]["iou_opacity"], rows[0]["pointing_opacity"]) == (1, 1)
    assert rows[0]["ssim_outside_opacity"] > rows[0]["ssim"]
    assert (rows[2]["iou_opacity"], rows[2]["ssim_outside_opacity"]) == (None, pytest.approx(1))
    assert rows[0]["l2_truth_factual"] == pytest.approx(rows[0]["l2"])
    assert rows[2]["ssim_truth"] == rows[2]["ssim_truth_factual"] < 1
    assert rows[2]["energy_in_opacity"] is None
    assert rows[0]["energy_in_lungs"] > 0.8
    assert rows[0]["inside_ratio"] > 2
    assert rows[0]["energy_in_marker"] is None
    # Asked for the class that it is, its true counterfactual of the other class says nothing.
    assert rows[3]["ssim_truth"] is rows[3]["iou_opacity"] is None


def test_energy_in_the_marker_is_known_of_phantoms_with_one(tmp_path):
    drawn = phantom.draw(1, SIZE, label=1, shortcut=1.0)
    image = torch.where(drawn.marker, 0.1, drawn.image)
    names = {"path": "a", "label": "OPACITY", "source": "OPACITY", "target": "NORMAL"}
    run = write(tmp_path, [sample(1, drawn.image, image, **names)], data="phantom")
    classifier = brightness_classifier(classes=phantom.CLASSES)
    (row,) = measure(
        run, Instruments(classifier=classifier, judges={}, phantom=lambda _: drawn)
    ).rows
    assert row["energy_in_marker"] == pytest.approx(1)
    assert row["energy_in_opacity"] < 0.5


def test_a_phantom_drawn_otherwise_than_stored_is_refused(tmp_path):
    run = phantom_run(tmp_path)
    classifier = brightness_classifier(classes=phantom.CLASSES)
    other = phantom.draw(12345, SIZE)
    with pytest.raises(ValueError, match="the drawing has changed"):
        measure(run, Instruments(classifier=classifier, judges={}, phantom=lambda _: other))


def summary_of(run, **changes):
    return summarise(run.samples, measure(run, instruments(**changes)).rows)


def test_a_summary_counts_its_subsets(tmp_path):
    run = write(
        tmp_path,
        [
            sample(1, flat(0.3), flat(0.7)),
            sample(2, flat(0.3), flat(0.4), outcome="budget spent"),
            sample(3, flat(0.3), flat(0.7), label="BRIGHT"),
            sample(4, flat(0.7), flat(0.7), target="BRIGHT", outcome="already there"),
            sample(6, flat(0.7), flat(0.3)),
        ],
    )
    summary = summary_of(run)
    assert summary["samples"] == 5
    assert summary["outcomes"] == {"reached": 3, "budget spent": 1, "already there": 1}
    subsets = summary["subsets"]
    assert {name: block["n"] for name, block in subsets.items()} == {
        ALL: 4,
        CORRECT: 3,
        VALID_ONES: 3,
    }
    assert subsets[ALL]["metrics"]["valid"]["mean"] == pytest.approx(3 / 4)
    assert subsets[CORRECT]["metrics"]["valid"]["mean"] == pytest.approx(2 / 3)
    assert subsets[ALL]["metrics"]["judge_left_factual_right"]["mean"] == pytest.approx(3 / 4)
    assert subsets[ALL]["metrics"]["judge_left_follows_valid"]["n"] == 2
    assert subsets[ALL]["median"]["steps"] == 2.5
    assert subsets[ALL]["seconds"] == 0.5
    directions = summary["direction"]
    assert {name: blocks[ALL]["n"] for name, blocks in directions.items()} == {
        "BRIGHT": 3,
        "DARK": 1,
    }
    assert set(summary["definitions"]) >= set(subsets[ALL]["metrics"]) | set(subsets)
    assert summary["definitions"]["valid"].startswith("calibrated p(target)")


def test_intervals_are_over_patients_where_they_are_known(tmp_path):
    images = [(flat(0.3), flat(0.7) if i < 20 else flat(0.4)) for i in range(40)]
    alone = [sample(i, *pair) for i, pair in enumerate(images)]
    shared = [sample(i, *pair, patient=f"p{i // 10}") for i, pair in enumerate(images)]
    single = summary_of(write(tmp_path / "a", alone))
    grouped = summary_of(write(tmp_path / "b", shared))
    assert (single["patients"], grouped["patients"]) == (None, 4)
    valid = [summary["subsets"][ALL]["metrics"]["valid"] for summary in (single, grouped)]
    assert valid[0]["mean"] == valid[1]["mean"] == 0.5
    assert valid[1]["high"] - valid[1]["low"] > 1.5 * (valid[0]["high"] - valid[0]["low"])


def test_a_summary_has_no_nan_and_reads_as_a_table(tmp_path):
    run = write(tmp_path, [sample(1, flat(0.3), flat(0.3), outcome="diverged")])
    summary = summary_of(run)
    json.dumps(summary, allow_nan=False)
    assert summary["subsets"][ALL]["metrics"]["psnr"]["mean"] is None
    assert summary["subsets"][ALL]["metrics"]["psnr"]["n"] == 0
    about = {"run": "r", "method": "latent", "skipped": 0, "notes": ["Beware."]}
    text = to_markdown({**summary, **about})
    assert "patients unknown" in text
    assert "all attempted (n = 1)" in text
    assert "**Note:** Beware." in text


def test_every_sample_already_there_leaves_empty_blocks(tmp_path):
    run = write(tmp_path, [sample(1, flat(0.3), flat(0.3), outcome="already there")])
    summary = summary_of(run)
    assert summary["subsets"][ALL]["n"] == 0
    to_markdown({**summary, "run": "r", "method": "m", "skipped": 0, "notes": []})


def test_names_that_are_no_metric_are_refused():
    assert describe("judge_vgg_net_p_target_factual").label == "p of vgg_net before"
    with pytest.raises(ValueError, match="got 'beauty'"):
        describe("beauty")


@pytest.fixture
def bundle(tmp_path):
    """A bundle on disk, and a run over a folder of images."""
    torch.manual_seed(0)
    path = tmp_path / "bundle"
    preprocessing = {"size": SIZE, "aspect": "pad", "interpolation": "bilinear"}
    preprocessing["intensity"] = "full"
    for name in ("classifier", "judges/one", "judges/border", "elsewhere/two"):
        Classifier(classes=CLASSES, size=SIZE, widths=[4]).save_pretrained(path / name)
    Autoencoder(size=SIZE, classes=CLASSES, widths=(16,), latent_channels=2).save_pretrained(
        path / "autoencoder"
    )
    described = {"classes": list(CLASSES), "preprocessing": preprocessing}
    (path / "bundle.yaml").write_text(yaml.safe_dump(described))
    samples = []
    for i in range(12):
        name = CLASSES[i % 2]
        folder = tmp_path / "data" / "test" / name
        folder.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(100 * (i % 2), 100 + 100 * (i % 2), (SIZE, SIZE), dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{i}.png")
        factual = pixels[None] / 255
        image = (factual + 0.1 * torch.rand(factual.shape)).clamp(0, 1)
        samples.append(sample(i, factual, image, p_target_factual=0.5))
    write(
        tmp_path / "run",
        samples,
        bundle=str(path),
        classifier=None,
        data=str(tmp_path / "data"),
        split="test",
        preprocessing=preprocessing,
        weights={"classifier": "another"},
    )
    return path


def test_evaluate_writes_what_it_returns(bundle, tmp_path):
    summary = evaluate(tmp_path / "run", batch_size=5)
    run = tmp_path / "run"
    assert json.loads((run / "summary.json").read_text()) == summary
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["id"]) for row in rows] == list(range(12))
    assert {"ssim_reconstruction", "judge_one_follows", "reconstruction_flips"} <= set(rows[0])
    assert {"panel_follows", "border_shift", "high_frequency", "cout", "sparsity"} <= set(rows[0])
    assert len((run / "cout.csv").read_text().splitlines()) == 1 + 2 * (STEPS + 1)
    assert (summary["judges"], summary["features"]) == (["one"], "one")
    for measure_ in ("frechet", "kernel"):
        assert set(summary[measure_]) == {"one", "autoencoder"}
        assert set(summary[measure_]["one"]) == set(CLASSES)
    assert summary["on_real"]["one"]["DARK"]["right"]["n"] == 6
    assert set(summary["changes"]) == set(summary["identity"]) == set(CLASSES)
    together = {"frechet", "kernel", "coverage", "on_real", "changes", "identity"}
    assert together <= set(summary["definitions"])
    assert summary["method"] == "latent"
    assert any("classifier changed since" in note for note in summary["notes"])
    text = (run / "summary.md").read_text()
    assert "## Target DARK" in text
    assert "Frechet" in text
    assert "nan" not in text


def test_distances_are_in_the_features_of_a_network_that_is_no_judge(bundle, tmp_path):
    """Where the bundle has judges for development, the first of these by name."""
    for name in ("mobile", "shuffle"):
        network = Classifier(classes=CLASSES, size=SIZE, widths=[4])
        network.save_pretrained(bundle / "development" / name)
    summary = evaluate(tmp_path / "run")
    assert summary["features"] == "mobile"
    assert list(summary["frechet"]) == list(summary["kernel"]) == ["mobile", "autoencoder"]
    assert list(summary["on_real"]) == ["one"]
    assert "| mobile" in (tmp_path / "run" / "summary.md").read_text()


def test_a_network_for_distances_sees_whole_images(tmp_path):
    run = write(tmp_path, [sample(1, flat(0.3), flat(0.7))])
    views = {"border": "border", "lungs": "lungs", "mobile": "whole", "plain": "whole"}
    seeing = {name: brightness_classifier() for name in views}
    for name, view in views.items():
        seeing[name].view = view

    def chosen(development, panel):
        bundle = Bundle(tmp_path, CLASSES, {"size": SIZE})
        for part, names in {"development": development, "judges": panel}.items():
            vars(bundle)[part] = {name: seeing[name] for name in names}
        vars(bundle)["border"], vars(bundle)["classifier"] = None, brightness_classifier()
        found = instruments_of(run, bundle, None).features
        return found and (found.name, found.network is seeing[found.name])

    assert chosen(["lungs", "plain"], ["mobile"]) == ("plain", True)
    assert chosen([], ["border", "plain", "mobile"]) == ("mobile", True)
    # None for development will do: as where there are none.
    assert chosen(["lungs"], ["border", "plain"]) == ("plain", True)
    assert chosen(["lungs"], ["border"]) is None
    assert chosen([], []) is None


def test_a_bundles_segmenter_says_where_the_lungs_are(bundle, tmp_path):
    """With a head that sees lung everywhere all is inside; with one that sees none, nothing."""
    segmenter = Segmenter(side=16, widths=(4, 8))
    found = {}
    for everywhere in (50.0, -50.0):
        with torch.no_grad():
            segmenter.head.weight.zero_()
            segmenter.head.bias.fill_(everywhere)
        segmenter.save_pretrained(bundle / "segmenter")
        found[everywhere] = evaluate(tmp_path / "run")["subsets"][ALL]["metrics"]
    inside, outside = found.values()
    assert (inside["energy_in_lungs"]["mean"], inside["inside_ratio"]["mean"]) == (1, 1)
    assert inside["ssim_outside"]["mean"] is None
    assert (outside["energy_in_lungs"]["mean"], outside["inside_ratio"]["mean"]) == (0, None)
    assert outside["ssim_outside"]["mean"] == pytest.approx(outside["ssim"]["mean"], abs=1e-6)


def test_the_border_of_other_judges_is_no_judge_either(bundle, tmp_path):
    (bundle / "judges" / "border").rename(bundle / "elsewhere" / "border")
    assert evaluate(tmp_path / "run")["definitions"].get("border_shift") is None
    summary = evaluate(tmp_path / "run", judges=bundle / "elsewhere")
    assert summary["judges"] == ["two"]
    assert summary["subsets"][ALL]["metrics"]["border_shift"]["n"] == 12


def test_evaluate_asks_other_judges_and_does_without_the_real_images(bundle, tmp_path):
    (tmp_path / "data").rename(tmp_path / "moved")
    summary = evaluate(tmp_path / "run", judges=bundle / "elsewhere")
    assert summary["judges"] == ["two"]
    assert summary["frechet"] == summary["kernel"] == summary["on_real"]["two"] == {}
    assert any(note.startswith("Compared to no real images") for note in summary["notes"])
    # The bundle's border is asked whoever the judges are.
    assert summary["subsets"][ALL]["metrics"]["border_shift"]["n"] == 12
    with pytest.raises(ValueError, match="expected judges in"):
        evaluate(tmp_path / "run", judges=tmp_path / "moved")
