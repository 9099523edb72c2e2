import hashlib
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

import cfgen.models.bundle as module
from cfgen.models.bundle import find_bundle, load_bundle
from cfgen.models.classifier import Classifier, load_classifier
from cfgen.models.saving import WEIGHTS


@pytest.fixture
def copy(tiny_bundle_path, tmp_path) -> Path:
    """A bundle of one's own, to spoil."""
    return shutil.copytree(tiny_bundle_path, tmp_path / "copy")


def test_a_bundle_opens_with_what_its_description_says(tiny_bundle_path):
    bundle = load_bundle(tiny_bundle_path)
    assert bundle.classes == ("NORMAL", "OPACITY")
    assert bundle.size == 64
    assert bundle.preprocessing["aspect"] == "pad"
    assert bundle.path == tiny_bundle_path


def test_models_are_read_when_they_are_asked_for(copy):
    for part in ("classifier", "judges", "autoencoder"):
        shutil.rmtree(copy / part)
    bundle = load_bundle(copy)
    assert bundle.judges == {}
    with pytest.raises(ValueError, match=r"a saved Classifier in .*copy/classifier"):
        _ = bundle.classifier
    with pytest.raises(ValueError, match=r"a saved Autoencoder in .*copy/autoencoder"):
        _ = bundle.autoencoder


def test_judges_come_by_name(tiny_bundle):
    (name,) = tiny_bundle.judges
    images = torch.rand(2, 1, 64, 64)
    assert name == "second"
    expected = load_classifier(tiny_bundle.path / "judges" / "second")(images)
    assert torch.equal(tiny_bundle.judges[name](images), expected)
    assert not torch.equal(tiny_bundle.classifier(images), expected)


def test_the_border_judge_is_none_of_the_panel_nor_are_those_for_development(copy):
    assert load_bundle(copy).border is None
    assert load_bundle(copy).development == {}
    for part in ("judges/border", "development/second"):
        shutil.copytree(copy / "classifier", copy / part)
    bundle = load_bundle(copy)
    images = torch.rand(2, 1, 64, 64)
    assert list(bundle.judges) == ["second"]
    assert bundle.border is not None
    assert torch.equal(bundle.border(images), bundle.classifier(images))
    assert list(bundle.development) == ["second"]
    assert torch.equal(bundle.development["second"](images), bundle.classifier(images))
    assert not torch.equal(bundle.judges["second"](images), bundle.classifier(images))


def test_a_name_finds_a_shipped_bundle_from_any_folder(tmp_path, tiny_bundle_path, monkeypatch):
    monkeypatch.setattr(module, "__file__", str(tmp_path / "cfgen" / "models" / "bundle.py"))
    shutil.copytree(tiny_bundle_path, tmp_path / "checkpoints" / "beside")
    shutil.copytree(tiny_bundle_path, tmp_path / "cfgen" / "checkpoints" / "inside")
    monkeypatch.chdir(tmp_path.parent)
    assert find_bundle("beside") == tmp_path / "checkpoints" / "beside"
    assert find_bundle("inside") == tmp_path / "cfgen" / "checkpoints" / "inside"
    with pytest.raises(ValueError, match=r"a shipped one \(beside, inside\)"):
        find_bundle("elsewhere")


def test_without_a_slash_a_folder_here_is_not_meant(copy, monkeypatch):
    monkeypatch.chdir(copy.parent)
    assert find_bundle("./copy") == Path("copy")
    assert find_bundle(copy) == copy
    with pytest.raises(ValueError, match="or give a path with a slash in it"):
        find_bundle("copy")


def test_a_path_without_a_bundle_is_named(tmp_path):
    with pytest.raises(ValueError, match=rf"in {tmp_path}/none, got none"):
        load_bundle(tmp_path / "none")


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "{", "classes: [A, B]", "preprocessing: {size: 64}", "\x00"]
)
def test_a_description_that_is_none_is_named(copy, text):
    (copy / "bundle.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"classes and preprocessing in .*copy/bundle\.yaml"):
        load_bundle(copy)


def test_a_classifier_of_ones_own_stands_in(copy, tmp_path, monkeypatch):
    (tmp_path / "mine_in_bundle.py").write_text(
        "from torch import nn\n"
        "def mean():\n"
        "    return nn.Sequential(nn.AvgPool2d(64), nn.Flatten(), nn.Linear(1, 2))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    shutil.rmtree(copy / "classifier")
    bundle = load_bundle(copy, classifier="mine_in_bundle:mean")
    assert isinstance(bundle.classifier.network[-1], nn.Linear)
    assert bundle.classifier(torch.rand(3, 1, 64, 64)).shape == (3, 2)
    del sys.modules["mine_in_bundle"]


def test_a_further_classifier_stands_in_by_name_or_by_path(copy, tmp_path):
    shutil.copytree(copy / "judges" / "second", copy / "classifiers" / "robust")
    shutil.copytree(copy / "judges" / "second", tmp_path / "elsewhere")
    images = torch.rand(2, 1, 64, 64)
    expected = load_classifier(copy / "judges" / "second")(images)
    for name in ("robust", str(tmp_path / "elsewhere")):
        assert torch.equal(load_bundle(copy, classifier=name).classifier(images), expected)
    assert not torch.equal(load_bundle(copy).classifier(images), expected)
    with pytest.raises(ValueError, match=r"classifiers \(robust\), got 'robus'"):
        _ = load_bundle(copy, classifier="robus").classifier
    with pytest.raises(ValueError, match=r"a saved Classifier in .*nowhere"):
        _ = load_bundle(copy, classifier=str(tmp_path / "nowhere")).classifier


def test_a_stand_in_needs_the_bundles_classes(copy):
    other = Classifier(classes=["OPACITY", "NORMAL"], size=64, widths=[8])
    other.save_pretrained(copy / "classifiers" / "other")
    with pytest.raises(ValueError, match=r"NORMAL, OPACITY, got OPACITY, NORMAL in .*other"):
        _ = load_bundle(copy, classifier="other").classifier


def test_hashes_are_those_of_the_weights_and_change_with_them(copy):
    bundle = load_bundle(copy)
    before = bundle.weights()
    assert set(before) == {"classifier", "judges/second", "autoencoder", "prior", "segmenter"}
    for part, digest in before.items():
        assert digest == hashlib.sha256((copy / part / WEIGHTS).read_bytes()).hexdigest()
    changed = load_classifier(copy / "classifier")
    next(changed.parameters()).data.mul_(1.01)
    changed.save_pretrained(copy / "classifier")
    after = bundle.weights()
    assert [part for part in after if after[part] != before[part]] == ["classifier"]


def test_a_bundle_without_a_prior_says_where_it_belongs_and_how_it_is_made(copy):
    bundle = load_bundle(copy)
    assert bundle.has("prior")
    shutil.rmtree(copy / "prior")
    assert not bundle.has("prior")
    with pytest.raises(ValueError, match=rf"Prior in {copy}/prior, got no .*`cfgen train prior`"):
        _ = bundle.prior


@pytest.fixture
def borrower(copy) -> Path:
    """A bundle with a classifier of its own, whose other parts are those of the bundle beside."""
    path = copy.parent / "borrower"
    shutil.copytree(copy / "judges/second", path / "classifier")
    described = yaml.safe_load((copy / "bundle.yaml").read_text())
    (path / "bundle.yaml").write_text(yaml.safe_dump({**described, "borrows": "copy"}))
    return path


def test_what_a_bundle_has_not_is_borrowed_from_the_one_beside_it(copy, borrower):
    ours, theirs = load_bundle(borrower), load_bundle(copy)
    images = torch.rand(2, 1, 64, 64)
    assert torch.equal(ours.classifier(images), theirs.judges["second"](images))
    assert torch.equal(ours.judges["second"](images), theirs.judges["second"](images))
    assert torch.equal(ours.autoencoder.encode(images), theirs.autoencoder.encode(images))
    assert ours.has("segmenter")
    lent = theirs.weights()
    assert ours.weights() == {**lent, "classifier": lent["judges/second"]}
    assert not load_bundle(copy).lender


def test_a_lender_has_to_be_there_and_to_be_for_the_same_images(copy, borrower):
    described = yaml.safe_load((copy / "bundle.yaml").read_text())
    (copy / "bundle.yaml").write_text(yaml.safe_dump({**described, "classes": ["A", "B"]}))
    with pytest.raises(ValueError, match=r"the classes and preprocessing of .*borrower"):
        load_bundle(borrower)
    shutil.rmtree(copy)
    with pytest.raises(ValueError, match=r"the bundle copy beside .*borrower"):
        load_bundle(borrower)
