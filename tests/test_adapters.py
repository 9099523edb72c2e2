"""Classifiers that cfgen did not train, from real files: each answers as its own library has it."""

import hashlib
import shutil
import sys
import types
import warnings

import pytest
import torch
import torchvision
import yaml
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from cfgen.models.adapters import adapted_hash, load_adapted
from cfgen.models.bundle import find_judges, load_bundle, load_judges
from cfgen.models.description import read_description

CLASSES = ["NORMAL", "OPACITY"]
SIZE = 32


def network(outputs=2, channels=1, *last):
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 5, stride=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(16, outputs),
        *last,
    ).eval()


def scripted(path, module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module), path)


def exported(path, module, batch="any"):
    example = (torch.rand(3, 1, SIZE, SIZE),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shapes = ({0: torch.export.Dim("batch")},) if batch == "any" else None
        torch.export.save(torch.export.export(module, example, dynamic_shapes=shapes), path)


def describe(folder, **said):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"classes": CLASSES, "size": SIZE, **said}))
    return path


def films(count=3, size=SIZE):
    torch.manual_seed(7)
    return torch.rand(count, 1, size, size)


def test_a_torchvision_checkpoint_sees_what_it_was_trained_on(tmp_path):
    torch.manual_seed(0)
    own = torchvision.models.mobilenet_v2(num_classes=2).eval()
    checkpoint = {"state_dict": {f"model.{k}": v for k, v in own.state_dict().items()}, "epoch": 3}
    torch.save(checkpoint, tmp_path / "mine.pt")
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    path = describe(
        tmp_path,
        kind="torchvision",
        weights="mine.pt",
        architecture="mobilenet_v2",
        mean=mean,
        std=std,
    )
    images = films(size=48)
    small = functional.interpolate(images, (SIZE, SIZE), mode="bilinear", antialias=True)
    normalise = torchvision.transforms.Normalize(mean, std)
    expected = own(normalise(small.repeat(1, 3, 1, 1)))
    classifier = load_adapted(path)
    torch.testing.assert_close(classifier(images), expected)
    assert (classifier.temperature, classifier.thresholds) == (1, (0.5, 0.5))
    assert classifier.features(images).shape == (3, 1280)
    assert not any(weights.requires_grad for weights in classifier.parameters())


def test_a_grey_torchvision_network_from_safetensors(tmp_path):
    own = torchvision.models.squeezenet1_1(num_classes=2).eval()
    own.features[0] = nn.Conv2d(1, 64, 3, stride=2)
    save_file(own.state_dict(), tmp_path / "grey.safetensors")
    path = describe(
        tmp_path,
        kind="torchvision",
        weights="grey.safetensors",
        architecture="squeezenet1_1",
        channels=1,
        mean=0.5,
        std=0.25,
    )
    classifier = load_adapted(path)
    torch.testing.assert_close(classifier(films()), own((films() - 0.5) / 0.25))
    assert not classifier.has_features


@pytest.mark.parametrize("kind", ["torchscript", "exported"])
def test_a_program_is_differentiable_and_blind_to_its_batch(tmp_path, kind):
    own = network()
    {"torchscript": scripted, "exported": exported}[kind](tmp_path / "program.pt2", own)
    classifier = load_adapted(describe(tmp_path, kind=kind, weights="program.pt2"))
    torch.testing.assert_close(classifier(films()), own(films()))
    images = films(5).requires_grad_()
    (gradient,) = torch.autograd.grad(classifier(images)[:, 1].sum(), images)
    (expected,) = torch.autograd.grad(own(images)[:, 1].sum(), images)
    torch.testing.assert_close(gradient, expected)
    assert gradient.abs().sum() > 0
    together = classifier(films(5))
    alone = torch.cat([classifier(film[None]) for film in films(5)])
    torch.testing.assert_close(together, alone)
    classifier.train()
    classifier.eval()
    torch.testing.assert_close(classifier(films(5)), together)


def test_probabilities_become_logits_with_the_same_softmax(tmp_path):
    own = network(2, 1, nn.Softmax(1))
    scripted(tmp_path / "p.ts", own)
    path = describe(tmp_path, kind="torchscript", weights="p.ts", outputs="probabilities")
    torch.testing.assert_close(load_adapted(path)(films()).softmax(1), own(films()))


@pytest.mark.parametrize("outputs", ["logits", "probabilities"])
def test_one_of_several_findings_becomes_its_log_odds(tmp_path, outputs):
    own = network(3)
    given = own if outputs == "logits" else nn.Sequential(own, nn.Sigmoid())
    scripted(tmp_path / "p.ts", given)
    path = describe(
        tmp_path,
        kind="torchscript",
        weights="p.ts",
        outputs=outputs,
        pathologies=["Mass", "Opacity", "Edema"],
        pathology="Opacity",
    )
    expected = own(films())[:, 1].sigmoid()
    torch.testing.assert_close(load_adapted(path)(films()).softmax(1)[:, 1], expected)
    turned = load_adapted(path, CLASSES[::-1])
    assert turned.classes == ("OPACITY", "NORMAL")
    torch.testing.assert_close(turned(films()).softmax(1)[:, 0], expected)


def test_a_function_may_be_described_too(tmp_path, monkeypatch):
    (tmp_path / "mine_described.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "def make():\n"
        "    torch.manual_seed(1)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = describe(tmp_path, kind="function", function="mine_described:make", channels=3, mean=0.5)
    torch.manual_seed(1)
    own = nn.Linear(3 * 32 * 32, 2)
    expected = own((films() - 0.5).repeat(1, 3, 1, 1).flatten(1))
    torch.testing.assert_close(load_adapted(path)(films()), expected)
    assert adapted_hash(path) == adapted_hash(path)
    del sys.modules["mine_described"]


class DenseNet(nn.Module):
    """Stands in for torchxrayvision's, with its API: targets, op_threshs, input_resolution."""

    targets = ("Mass", "Pneumonia", "")

    def __init__(self, num_classes=3, op_threshs=None):
        super().__init__()
        self.inner = network(num_classes)
        self.register_buffer("op_threshs", op_threshs)

    def forward(self, images):
        assert images.min() >= -1024
        assert images.max() <= 1024
        outputs = self.inner(images / 1024)
        if self.op_threshs is None:
            return outputs
        p, point = outputs.sigmoid(), self.op_threshs
        return torch.where(p < point, p / (2 * point), 1 - (1 - p) / (2 * (1 - point)))


@pytest.fixture
def xrays_library(monkeypatch):
    def get_model(weights):
        made = DenseNet(op_threshs=torch.tensor([0.3, 0.6, 0.5]))
        made.input_resolution = SIZE
        return made

    library = types.ModuleType("torchxrayvision")
    library.models = types.SimpleNamespace(
        DenseNet=DenseNet, get_model=get_model, model_urls={"densenet121-res224-all": {}}
    )
    monkeypatch.setitem(sys.modules, "torchxrayvision", library)


def rays(folder, **said):
    given = {"weights": "densenet121-res224-all", "pathology": "Pneumonia", **said}
    return describe(folder, kind="torchxrayvision", **given)


@pytest.mark.usefixtures("xrays_library")
def test_torchxrayvisions_operating_point_is_the_decision(tmp_path):
    classifier = load_adapted(rays(tmp_path))
    p = network(3)(2 * films(8) - 1)[:, 1].sigmoid()
    expected = torch.where(p < 0.6, p / 1.2, 1 - (1 - p) / 0.8)
    torch.testing.assert_close(classifier(films(8)).softmax(1)[:, 1], expected)
    assert torch.equal(classifier.predict(films(8)), (p > 0.6).long())
    images = films().requires_grad_()
    (gradient,) = torch.autograd.grad(classifier(images)[:, 1].sum(), images)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
    assert adapted_hash(rays(tmp_path)) == adapted_hash(rays(tmp_path))


@pytest.mark.usefixtures("xrays_library")
def test_a_finding_without_an_operating_point_is_named(tmp_path):
    own = DenseNet(op_threshs=torch.tensor([0.3, torch.nan, 0.5]))
    torch.save(own.state_dict(), tmp_path / "tuned.pt")
    with pytest.raises(ValueError, match=r"operating point in \(0, 1\) of Pneumonia .*got nan"):
        load_adapted(rays(tmp_path, weights="tuned.pt"))


@pytest.mark.usefixtures("xrays_library")
@pytest.mark.parametrize("points", [None, torch.tensor([0.3, 0.6, 0.5])])
def test_a_fine_tuned_one_comes_with_its_operating_points(tmp_path, points):
    own = DenseNet(op_threshs=points).eval()
    torch.save(own.state_dict(), tmp_path / "tuned.pt")
    logits = load_adapted(rays(tmp_path, weights="tuned.pt"))(films())
    outputs = own(2048 * films() - 1024)[:, 1]
    torch.testing.assert_close(
        logits.softmax(1)[:, 1], outputs.sigmoid() if points is None else outputs
    )


@pytest.mark.usefixtures("xrays_library")
@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"pathology": "Fever"}, r"a pathology among Mass, Pneumonia, got 'Fever'"),
        ({"weights": "none"}, r"weights of torchxrayvision \(densenet121-res224-all\), got 'none'"),
        ({"size": 64}, r"size: 32 for densenet121-res224-all, got 64"),
        ({"mean": 0.2}, r"got mean in .*mine\.yaml; do remove these"),
    ],
)
def test_what_torchxrayvision_does_not_know_is_named(tmp_path, said, message):
    with pytest.raises(ValueError, match=message):
        load_adapted(rays(tmp_path, **said))


def test_timm_makes_what_is_named(tmp_path, monkeypatch):
    def create_model(name, pretrained, num_classes, in_chans):
        if name != "tiny":
            raise RuntimeError(f"Unknown model ({name})")
        assert not pretrained
        return network(num_classes, in_chans)

    library = types.ModuleType("timm")
    library.create_model = create_model
    monkeypatch.setitem(sys.modules, "timm", library)
    torch.save(network(2, 3).state_dict(), tmp_path / "w.pt")
    said = {"kind": "timm", "weights": "w.pt", "mean": 0.5, "std": 0.5}
    classifier = load_adapted(describe(tmp_path, architecture="tiny", **said))
    expected = network(2, 3)((films().repeat(1, 3, 1, 1) - 0.5) / 0.5)
    torch.testing.assert_close(classifier(films()), expected)
    with pytest.raises(ValueError, match=r"architecture of timm, got 'huge'"):
        load_adapted(describe(tmp_path, architecture="huge", **said))


@pytest.mark.parametrize("kind", ["timm", "torchxrayvision"])
def test_a_missing_library_says_how_to_get_it(tmp_path, monkeypatch, kind):
    monkeypatch.setitem(sys.modules, kind, None)
    said = {"weights": "w", "pathology": "A"}
    if kind == "timm":
        said = {"weights": "w", "architecture": "a", "mean": 0, "std": 1}
    with pytest.raises(ModuleNotFoundError, match=rf"pip install 'cfgen\[{kind}\]'"):
        load_adapted(describe(tmp_path, kind=kind, **said))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({}, "kind: torchvision or timm or"),
        ({"kind": "onnx"}, "kind: torchvision or timm or"),
        ({"kind": "torchscript"}, "got no weights"),
        ({"kind": "timm", "weights": "w"}, "got no architecture, mean, std"),
        ({"kind": "torchscript", "weights": "w", "normalise": 1}, "got normalise in"),
        ({"kind": "torchscript", "weights": "w", "size": 0}, "above 0 for size, got 0"),
        ({"kind": "torchscript", "weights": "w", "classes": "NORMAL"}, "names for classes"),
        ({"kind": "torchscript", "weights": "w", "classes": ["A", "A"]}, "classes that differ"),
        ({"kind": "torchscript", "weights": "w", "mean": [0.1, 0.2]}, "one number for mean"),
        ({"kind": "torchscript", "weights": "w", "std": 0}, "a std above 0"),
        ({"kind": "torchscript", "weights": "w", "outputs": "odds"}, "logits or probabilities"),
        ({"kind": "torchscript", "weights": 3}, "a text for weights"),
        ({"kind": "torchscript", "weights": "w", "pathology": "A"}, "a pathology among the"),
        (
            {
                "kind": "torchxrayvision",
                "weights": "w",
                "pathology": "A",
                "classes": ["A", "B", "C"],
            },
            "two classes, for the pathology's absence",
        ),
    ],
)
def test_a_description_that_is_none_is_named(tmp_path, said, message):
    with pytest.raises(ValueError, match=message):
        read_description(describe(tmp_path, **said))


@pytest.mark.parametrize("text", ["", "[1]", "{", "\x00"])
def test_a_file_that_is_no_description_is_named(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"mine\.yaml"):
        read_description(path)


def test_a_network_that_does_not_fit_is_named_before_it_is_used(tmp_path):
    def refused(message, write, module, kind="torchscript", **said):
        write(tmp_path / "program.pt2", module)
        with pytest.raises(ValueError, match=message):
            load_adapted(describe(tmp_path, kind=kind, weights="program.pt2", **said))

    refused(r"2 outputs an image.* got \(2, 1\)", scripted, network(1))
    refused(r"batches of any number of \(3, 32, 32\) images", scripted, network(), channels=3)
    refused("in a batch from .*, got a difference", exported, network().train(), "exported")
    refused("logits .*; do write outputs: probabilities", scripted, network(2, 1, nn.Softmax(1)))
    refused(
        "probabilities .*; do write outputs: logits", scripted, network(), outputs="probabilities"
    )
    broken = network()
    nn.init.constant_(broken[-1].bias, torch.nan)
    refused("finite outputs", scripted, broken)
    refused("any number of", lambda *given: exported(*given, batch="fixed"), network(), "exported")
    refused("which is no archive", lambda path, _: path.write_bytes(b"junk"), None)
    refused("which is no archive", lambda path, _: path.write_bytes(b"junk"), None, "exported")


def test_weights_that_do_not_fit_are_named(tmp_path):
    said = {"kind": "torchvision", "weights": "w.pt", "mean": 0.5, "std": 0.25}
    path = describe(tmp_path, architecture="mobilenet_v2", **said)
    with pytest.raises(ValueError, match=r"a file of weights, got 'w\.pt'"):
        load_adapted(path)
    torch.save(network().state_dict(), tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"w\.pt to fit the architecture"):
        load_adapted(path)
    torch.save(network(), tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"without running code from it .*save model\.state_dict"):
        load_adapted(path)
    torch.save([1, 2], tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"a state dict in .*w\.pt, got a list"):
        load_adapted(path)
    with pytest.raises(ValueError, match="architecture"):
        load_adapted(describe(tmp_path, architecture="mobile", **said))


@pytest.fixture
def copy(tiny_bundle_path, tmp_path):
    return shutil.copytree(tiny_bundle_path, tmp_path / "copy")


def test_a_description_stands_in_for_a_bundles_classifier_from_any_folder(
    copy, tmp_path, monkeypatch
):
    scripted(tmp_path / "p.ts", network())
    describe(tmp_path, kind="torchscript", weights="p.ts", classes=CLASSES[::-1])
    monkeypatch.chdir(tmp_path)
    bundle = load_bundle(copy, "mine.yaml")
    monkeypatch.chdir(copy)
    assert bundle.classifier.classes == ("NORMAL", "OPACITY")
    expected = network()(
        functional.interpolate(films(2, 64), (SIZE, SIZE), mode="bilinear", antialias=True)
    )
    torch.testing.assert_close(bundle.classifier(films(2, 64)), expected.flip(1))
    before = bundle.searched_with()["classifier"]
    text = (tmp_path / "mine.yaml").read_bytes()
    weights = hashlib.sha256((tmp_path / "p.ts").read_bytes()).digest()
    assert before == hashlib.sha256(text + weights).hexdigest()
    changed = network()
    with torch.no_grad():
        changed[0].bias.add_(1)
    scripted(tmp_path / "p.ts", changed)
    assert bundle.searched_with()["classifier"] != before
    other = describe(tmp_path, kind="torchscript", weights="p.ts", classes=["A", "B"])
    with pytest.raises(ValueError, match=r"the classes NORMAL, OPACITY in .*, got A, B"):
        _ = load_bundle(copy, str(other)).classifier


def test_judges_may_be_described(copy):
    judges = copy / "judges"
    scripted(judges / "p.ts", network())
    describe(judges, kind="torchscript", weights="p.ts")
    bundle = load_bundle(copy)
    assert list(bundle.judges) == list(load_judges(judges)) == ["mine", "second"]
    assert bundle.weights()["judges/mine"] == adapted_hash(judges / "mine.yaml")
    assert "judges/mine" not in bundle.searched_with()
    shutil.copytree(judges / "second", judges / "mine")
    with pytest.raises(ValueError, match=r"different names in .*, got mine\.yaml beside mine"):
        find_judges(judges)
