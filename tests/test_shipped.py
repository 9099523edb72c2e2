"""The bundles that travel with the library are whole, small, and do what their cards say."""

import csv
from pathlib import Path

import pytest
import torch

from cfgen.data.preprocessing import Preprocessing
from cfgen.data.samples import choose
from cfgen.data.sources import open_source
from cfgen.data.splits import samples_of
from cfgen.models.bundle import load_bundle

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
BUNDLES = sorted(path.parent.name for path in CHECKPOINTS.glob("*/bundle.yaml"))


def test_the_bundles_are_there_and_small():
    assert {"kermany-128", "phantom-64"} <= set(BUNDLES)
    size = sum(file.stat().st_size for file in CHECKPOINTS.rglob("*") if file.is_file())
    assert size < 80e6


@pytest.mark.parametrize("name", BUNDLES)
def test_every_model_of_a_bundle_works_and_has_a_card(name):
    bundle = load_bundle(name)
    images = torch.rand(2, 1, bundle.size, bundle.size)
    others = bundle.judges | bundle.development
    assert "shufflenet" in bundle.development
    for classifier in (bundle.classifier, *others.values()):
        assert classifier.classes == bundle.classes
        assert classifier(images).shape == (2, len(bundle.classes))
        assert sum(classifier.thresholds) == pytest.approx(1)
    assert bundle.autoencoder.decode(bundle.autoencoder.encode(images)).shape == images.shape
    assert bundle.autoencoder.class_means.abs().sum() > 0
    for part in bundle.weights():
        top, _, name = part.partition("/")
        card = (bundle.folder(top) / name / "README.md").read_text()
        for needed in ("Not for diagnosis", "seed", "cfgen train", "val (n ="):
            assert needed in card, f"{part}: {needed}"


@pytest.mark.parametrize("name", BUNDLES)
def test_no_patient_stands_on_both_sides_of_a_bundles_cut(name):
    with (CHECKPOINTS / name / "split.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    share = sum(row["split"] == "val" for row in rows) / len(rows)
    assert share == pytest.approx(0.1, abs=0.01)


def agreement_and_accuracy(name, data, count):
    """On validation images: how often the classifier is right, and keeps its mind."""
    bundle = load_bundle(name)
    source = open_source(data, bundle.classes, size=bundle.size)
    samples = choose(samples_of(source, "val", bundle.path / "split.csv"), count)
    prepare = Preprocessing(**bundle.preprocessing)
    images = torch.stack([prepare(source.load(sample)) for sample in samples])
    labels = torch.tensor([bundle.classes.index(sample.label) for sample in samples])
    with torch.inference_mode():
        rebuilt = bundle.autoencoder.decode(bundle.autoencoder.encode(images)).clamp(0, 1)
        decided, again = (bundle.classifier.predict(batch) for batch in (images, rebuilt))
    return (decided == again).float().mean(), (decided == labels).float().mean()


def test_the_phantom_bundle_knows_its_phantoms():
    agreement, accuracy = agreement_and_accuracy("phantom-64", "phantom", 100)
    assert accuracy > 0.85
    assert agreement > 0.85


@pytest.mark.xrays
def test_the_xray_bundle_knows_its_validation_films(xrays):
    agreement, accuracy = agreement_and_accuracy("kermany-128", str(xrays), 100)
    assert accuracy > 0.95
    assert agreement > 0.9
