import json
import pickle
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from cfgen.models.autoencoder import Autoencoder
from cfgen.models.classifier import Classifier, import_classifier, load_classifier
from cfgen.models.saving import WEIGHTS
from cfgen.objectives import class_log_odds, l2, target_score
from cfgen.search import descend
from cfgen.spaces import PixelSpace
from cfgen.types import Goal

OWN = """
import torch
from torch import nn

def linear():
    torch.manual_seed(5)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16 * 16, 2))

def one_logit():
    return nn.Sequential(nn.Flatten(), nn.Linear(16 * 16, 1))

def coloured():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(2))

def needs(width):
    return nn.Linear(width, 2)

def nothing():
    return "a network"
"""


def small(**changes):
    torch.manual_seed(0)
    chosen = {"classes": ["A", "B"], "size": 16, "widths": [8, 16], **changes}
    return Classifier(**chosen).eval().requires_grad_(False)


def films(n=3, side=16):
    return torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(1))


def test_normalisation_and_temperature_are_inside():
    classifier = small(mean=0.4, std=0.2, temperature=2.5)
    expected = classifier.network((films() - 0.4) / 0.2) / 2.5
    torch.testing.assert_close(classifier(films()), expected)


def test_a_search_on_the_unit_range_is_that_of_the_bare_network_on_normalised_images():
    classifier = small(mean=0.4, std=0.2)

    def by_hand(images, goal):
        return class_log_odds(classifier.network((images - 0.4) / 0.2), goal.target)

    target = 1 - classifier.predict(films())
    bar = torch.full((3,), 3.0)
    how = {"weight": 0.1, "step_size": 0.01, "steps": 30}
    inside, bare = (
        descend(Goal(score, bar, target=target), films(), PixelSpace(), l2, **how)
        for score in (target_score(classifier), by_hand)
    )
    assert not torch.equal(inside.images, films())
    torch.testing.assert_close(inside.images, bare.images)
    assert inside.outcomes == bare.outcomes
    assert inside.images.min() >= 0
    assert inside.images.max() <= 1


@given(st.floats(-15, 15), st.floats(0.001, 0.999))
@settings(deadline=None)
def test_thresholds_decide_for_the_second_class_if_its_probability_is_at_least_t(log_odds, t):
    p = 1 / (1 + torch.tensor(-log_odds, dtype=torch.float64).exp())
    assume(abs(p - t) > 1e-6 * t)
    classifier = small(widths=[1], thresholds=[1 - t, t])
    logits = torch.tensor([[0.3, 0.3 + log_odds]], dtype=torch.float64)
    assert classifier.decide(logits).item() == int(p >= t)


def test_without_thresholds_the_most_probable_class_is_decided_for():
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(2))
    classifier = small(classes=list("ABCD"))
    assert torch.equal(classifier.decide(logits), logits.argmax(1))
    assert torch.equal(classifier.predict(films()), classifier(films()).argmax(1))


@pytest.mark.parametrize("thresholds", [[0.5], [0.2, 0.3, 0.5], [0.0, 1.0], [-0.5, 0.5]])
def test_thresholds_are_positive_and_one_a_class(thresholds):
    with pytest.raises(ValueError, match="a positive threshold for each of A, B"):
        small(thresholds=thresholds)


@pytest.mark.parametrize("changes", [{}, {"architecture": "pneumonia-cnn", "widths": None}])
def test_features_are_what_the_last_layer_makes_logits_of(changes):
    classifier = small(temperature=2.0, **changes)
    features = classifier.features(films())
    last = classifier.network.head[-1]
    expected = classifier(films())
    torch.testing.assert_close((features @ last.weight.T + last.bias) / 2.0, expected)
    assert not any(module._forward_pre_hooks for module in classifier.modules())


def test_features_need_a_dense_layer():
    with pytest.raises(ValueError, match=r"ends in nn\.Linear"):
        small(architecture="squeezenet1_1", size=64, widths=None).features(films(1, 64))


def test_a_round_trip_over_the_disk_is_exact(tmp_path):
    classifier = small(classes=["X", "Y", "Z"], mean=0.37, std=0.21)
    with torch.no_grad():
        for buffer in classifier.buffers():
            buffer.add_(1)
    classifier.calibrate(1.7, [0.2, 0.3, 0.5])
    classifier.save_pretrained(tmp_path / "c")
    again = load_classifier(tmp_path / "c")
    assert torch.equal(again(films()), classifier(films()))
    assert (again.classes, again.temperature) == (("X", "Y", "Z"), 1.7)
    assert (again.thresholds, again.mean, again.std) == ((0.2, 0.3, 0.5), 0.37, 0.21)
    assert not again.training
    assert not any(weights.requires_grad for weights in again.parameters())


@pytest.fixture
def saved(tmp_path) -> Path:
    small().save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"saved Classifier in .*nowhere, got no config\.json"):
        load_classifier(tmp_path / "nowhere")


def test_missing_weights_are_named(saved):
    (saved / WEIGHTS).unlink()
    with pytest.raises(ValueError, match=rf"saved Classifier in .*saved, got no {WEIGHTS}"):
        load_classifier(saved)


def test_an_autoencoder_is_no_classifier(tmp_path):
    Autoencoder(size=32, widths=[16, 16]).save_pretrained(tmp_path / "a")
    with pytest.raises(ValueError, match=r"a saved Classifier in .*a, got a Autoencoder"):
        load_classifier(tmp_path / "a")


@pytest.mark.parametrize("text", [b"{", b"[]", b"7", b"{}", b"\xff\xfe", b""])
def test_a_config_that_is_none_is_named(saved, text):
    (saved / "config.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"Classifier in .*saved.*config\.json, got"):
        load_classifier(saved)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_truncated_weights_are_named(saved, share):
    content = (saved / WEIGHTS).read_bytes()
    (saved / WEIGHTS).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"the weights in .*saved to fit"):
        load_classifier(saved)


def test_weights_that_lack_or_add_a_tensor_are_refused(saved):
    tensors = load_file(saved / WEIGHTS)
    name = "network.head.1.weight"
    fewer = {key: value for key, value in tensors.items() if key != name}
    save_file(fewer, saved / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"saved to fit.*missing \['{name}'\]"):
        load_classifier(saved)
    save_file({**tensors, "stray": torch.ones(1)}, saved / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"saved to fit.*unknown \['stray'\]"):
        load_classifier(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"widths": [8, 24]},
        {"classes": ["A", "B", "C"]},
        {"thresholds": [0.5]},
        {"architecture": "resnet18"},
        {"architecture": "nonesuch"},
    ],
)
def test_a_config_that_does_not_fit_its_weights_is_refused(saved, change):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(ValueError, match=r"the weights in .*saved to fit"):
        load_classifier(saved)


def test_a_config_cannot_name_code_to_run(saved, tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise SystemExit('sprung')")
    monkeypatch.syspath_prepend(tmp_path)
    config = json.loads((saved / "config.json").read_text())
    for name in ("trap:make", "os:system", "trap"):
        (saved / "config.json").write_text(
            json.dumps({**config, "architecture": name, "widths": None})
        )
        with pytest.raises(ValueError, match=f"architecture.*got '{name}'"):
            load_classifier(saved)
    assert "trap" not in sys.modules


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def test_no_pickle_is_read_in_place_of_broken_weights(saved, tmp_path):
    mark = tmp_path / "sprung"
    (saved / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Trap(mark)))
    (saved / WEIGHTS).write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"the weights in .*saved to fit"):
        load_classifier(saved)
    assert not mark.exists()


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's module that can be imported."""
    (tmp_path / "own_network.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_network"
    sys.modules.pop("own_network", None)


def test_a_users_own_network_is_taken_as_it_is(own):
    classifier = import_classifier(f"{own}:linear", ["A", "B"], 16)
    torch.manual_seed(5)
    flat = nn.Linear(16 * 16, 2)
    assert torch.equal(classifier(films()), flat(films().flatten(1)))
    assert torch.equal(classifier.predict(films()), classifier(films()).argmax(1))
    assert classifier.classes == ("A", "B")
    assert not any(weights.requires_grad for weights in classifier.parameters())


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("absent", "importable from here, got 'own_network:absent'"),
        ("", "importable from here, got 'own_network:'"),
        ("nothing", r"to return a torch\.nn\.Module, got <class 'str'>"),
        ("needs", "a function without arguments, got .*width"),
        ("one_logit", r"to give \(1, 2\) logits for one image, got \(1, 1\)"),
        ("coloured", r"to take \(batch, 1, 16, 16\) images"),
    ],
)
def test_what_is_no_network_of_ones_own_is_refused(own, function, message):
    with pytest.raises(ValueError, match=message):
        import_classifier(f"{own}:{function}", ["A", "B"], 16)


@pytest.mark.parametrize("name", ["", ":make", "no_such_module:make", "own_network"])
def test_a_module_that_is_not_there_is_named(own, name):
    with pytest.raises(ValueError, match=f"package.module:function, .*got '{name}'"):
        import_classifier(name, ["A", "B"], 16)
