"""The measures of a run whose every number can be worked out by hand."""

import csv
import json

import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from cfgen.data import phantom
from cfgen.models.autoencoder import Autoencoder
from cfgen.models.classifier import Classifier
from evaluation.definitions import describe
from evaluation.measures import Instruments, measure
from evaluation.plausibility import evaluate, frechet_ratios
from evaluation.runs import create_run, read_run, write_shard
from evaluation.summary import ALL, CORRECT, VALID_ONES, summarise, to_markdown

CLASSES = ("DARK", "BRIGHT")
SIZE = 32


def brightness_classifier(columns=slice(None), classes=CLASSES, steepness=20.0):
    """BRIGHT where the mean of some columns is above one half; its feature is that mean."""

    class Mean(nn.Module):
        def forward(self, images):
            return images[:, 0, :, columns].mean((1, 2))[:, None]

    dense = nn.Linear(1, len(classes))
    with torch.no_grad():
        dense.weight.zero_()
        dense.weight[1] = steepness
        dense.bias.zero_()
        dense.bias[1] = -steepness / 2
    classifier = Classifier(classes=classes, widths=[1], mean=0.0, std=1.0)
    classifier.network = nn.Sequential(Mean(), dense)
    return classifier.eval().requires_grad_(False)


class Darkener(Autoencoder):
    """An autoencoder whose reconstruction lacks some light, and nothing else."""

    def __init__(self, loss):
        super().__init__(size=SIZE, classes=CLASSES, widths=(16,), latent_channels=2)
        self.loss = loss

    def encode(self, images):
        return images

    def decode(self, code):
        return code - self.loss


def flat(left, right=None):
    image = torch.full((1, SIZE, SIZE), float(left))
    if right is not None:
        image[..., SIZE // 2 :] = right
    return image


def sample(i, factual, image, **changes):
    bright = float(factual.mean()) > 0.5
    row = {
        "id": i,
        "path": f"test/{i}.png",
        "label": CLASSES[bright],
        "source": CLASSES[bright],
        "target": CLASSES[not bright],
        "outcome": "reached",
        "p_target_factual": 0.0,
        "p_target": 1.0,
        "steps": i,
        "evaluations": i + 1,
        "prior_passes": 0,
        "decodes": 0,
        "seconds": 0.5,
    }
    return {**row, **changes}, factual, image


def write(path, samples, batch=3, **config):
    create_run(path, {"bundle": "none", "data": "none", "method": "latent", **config})
    for start in range(0, len(samples), batch):
        rows, factual, image = zip(*samples[start : start + batch], strict=True)
        ids = torch.tensor([row["id"] for row in rows])
        write_shard(path, rows, ids, torch.stack(factual), torch.stack(image))
    return read_run(path)


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
    rows = measure(run, instruments(), batch_size=2)
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
    follows, stays, wrong, invalid, there, unknown = measure(run, instruments())
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
    rows = measure(run, instruments(judges={"swapped": judge}))
    assert [row["judge_swapped_follows"] for row in rows] == [1, 0]


def test_any_other_class_will_do_where_the_target_is_none(tmp_path):
    run = write(
        tmp_path,
        [
            sample(1, flat(0.3), flat(0.7), target=None),
            sample(2, flat(0.3), flat(0.4), target=None),
        ],
    )
    rows = measure(run, instruments())
    assert [row["valid"] for row in rows] == [1, 0]
    assert [row["flip"] for row in rows] == [1, 0]
    assert [row["judge_left_follows"] for row in rows] == [1, 0]
    assert list(summarise(run.samples, rows)["direction"]) == ["other"]


def test_what_mere_reconstruction_does_stands_beside(tmp_path):
    run = write(tmp_path, [sample(1, flat(0.55), flat(0.3)), sample(2, flat(0.9), flat(0.3))])
    rows = measure(run, instruments(autoencoder=Darkener(0.1)))
    assert [row["reconstruction_flips"] for row in rows] == [1, 0]
    rows = measure(run, instruments(autoencoder=Darkener(0.25)))
    assert rows[0]["ssim_reconstruction"] == pytest.approx(1)
    assert rows[0]["ssim"] < 0.9


def test_a_run_of_other_classes_is_refused(tmp_path):
    run = write(tmp_path, [sample(1, flat(0.3), flat(0.7), source="NORMAL")])
    with pytest.raises(ValueError, match="got 'NORMAL'; measure the run with the bundle"):
        measure(run, instruments())


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
    rows = measure(run, Instruments(classifier=classifier, judges={}, phantom=of_path.__getitem__))
    assert rows[0]["ssim_truth"] == pytest.approx(1)
    assert rows[0]["l2_truth"] == 0
    assert rows[0]["energy_in_opacity"] > 0.9
    assert rows[0]["l2_truth_factual"] == pytest.approx(rows[0]["l2"])
    assert rows[2]["ssim_truth"] == rows[2]["ssim_truth_factual"] < 1
    assert rows[2]["energy_in_opacity"] is None
    # Asked for the class that it is, its true counterfactual of the other class says nothing.
    assert rows[3]["ssim_truth"] is None


def test_a_phantom_drawn_otherwise_than_stored_is_refused(tmp_path):
    run = phantom_run(tmp_path)
    classifier = brightness_classifier(classes=phantom.CLASSES)
    other = phantom.draw(12345, SIZE)
    with pytest.raises(ValueError, match="the drawing has changed"):
        measure(run, Instruments(classifier=classifier, judges={}, phantom=lambda _: other))


def summary_of(run, **changes):
    return summarise(run.samples, measure(run, instruments(**changes)))


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
    about = {"run": "r", "method": "latent", "skipped": 0, "notes": ["Beware."], "frechet": {}}
    text = to_markdown({**summary, **about})
    assert "patients unknown" in text
    assert "all attempted (n = 1)" in text
    assert "**Note:** Beware." in text


def test_every_sample_already_there_leaves_empty_blocks(tmp_path):
    run = write(tmp_path, [sample(1, flat(0.3), flat(0.3), outcome="already there")])
    summary = summary_of(run)
    assert summary["subsets"][ALL]["n"] == 0
    to_markdown({**summary, "run": "r", "method": "m", "skipped": 0, "notes": [], "frechet": {}})


def test_names_that_are_no_metric_are_refused():
    assert describe("judge_vgg_net_p_target_factual").label == "p of vgg_net before"
    with pytest.raises(ValueError, match="got 'beauty'"):
        describe("beauty")


def test_frechet_ratios_tell_real_from_unchanged(tmp_path):
    generator = torch.Generator().manual_seed(0)

    def draw(mean, n):
        return [flat(mean + 0.02 * float(torch.randn(1, generator=generator))) for _ in range(n)]

    pairs = zip(draw(0.3, 30), draw(0.7, 30), strict=True)
    run = write(tmp_path, [sample(i, *pair) for i, pair in enumerate(pairs)], batch=8)
    real = {"BRIGHT": torch.stack(draw(0.7, 100)), "DARK": torch.stack(draw(0.3, 100))}
    found = frechet_ratios(run, instruments(), real, batch_size=16)
    assert list(found) == ["left"]
    assert list(found["left"]) == ["BRIGHT"]
    ratios = found["left"]["BRIGHT"]
    assert ratios["n"] == 30
    assert ratios["n_real"] == 100
    assert ratios["ratio"] < 5
    assert ratios["ratio_factual"] > 100
    assert frechet_ratios(run, instruments(), {"BRIGHT": real["BRIGHT"][:3]}) == {}


@pytest.fixture
def bundle(tmp_path):
    """A bundle on disk, and a run over a folder of images."""
    torch.manual_seed(0)
    path = tmp_path / "bundle"
    preprocessing = {"size": SIZE, "aspect": "pad", "interpolation": "bilinear"}
    preprocessing["intensity"] = "full"
    for name in ("classifier", "judges/one", "elsewhere/two"):
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
    assert set(summary["frechet"]["one"]) == set(CLASSES)
    assert summary["method"] == "latent"
    assert any("classifier changed since" in note for note in summary["notes"])
    text = (run / "summary.md").read_text()
    assert "## Target DARK" in text
    assert "Frechet" in text
    assert "nan" not in text


def test_evaluate_asks_other_judges_and_does_without_the_real_images(bundle, tmp_path):
    (tmp_path / "data").rename(tmp_path / "moved")
    summary = evaluate(tmp_path / "run", judges=bundle / "elsewhere")
    assert summary["judges"] == ["two"]
    assert summary["frechet"] == {}
    assert any(note.startswith("No Frechet distance") for note in summary["notes"])
    with pytest.raises(ValueError, match="expected judges in"):
        evaluate(tmp_path / "run", judges=tmp_path / "moved")
