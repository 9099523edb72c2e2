"""Real networks of timm and torchxrayvision: the adapters answer as these libraries do."""

import argparse
import warnings

import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional

from cfgen.models.adapters import adapted_hash, load_adapted

CLASSES = ["NORMAL", "PNEUMONIA"]
SIDE = 224
WEIGHTS = "densenet121-res224-rsna"


def describe(folder, **said):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"classes": CLASSES, "size": SIDE, **said}))
    return path


def films(count=2, size=SIDE):
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(7))


def in_its_range(xrv, images):
    """What torchxrayvision itself makes of 8-bit images."""
    return torch.from_numpy(xrv.utils.normalize(images.detach().numpy() * 255, maxval=255))


def differing(network):
    """The network, its images told apart: fresh last layers hardly do."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name in ("fc", "head", "classifier"):
            if isinstance(layer := getattr(network, name, None), nn.Linear):
                nn.init.normal_(layer.weight, std=0.3)
                nn.init.normal_(layer.bias, std=0.3)
    return network.eval()


@pytest.fixture
def timm():
    return pytest.importorskip("timm", reason="pip install 'cfgen[timm]'")


@pytest.fixture
def xrv():
    with warnings.catch_warnings():  # its import silences all warnings of the process
        return pytest.importorskip("torchxrayvision", reason="pip install 'cfgen[torchxrayvision]'")


@pytest.mark.parametrize(
    ("architecture", "channels"),
    [("resnet18", 1), ("resnet18", 3), ("vit_tiny_patch16_224", 1), ("mobilenetv3_small_050", 3)],
)
def test_a_timm_network_answers_as_timm_has_it(timm, tmp_path, architecture, channels):
    own = differing(timm.create_model(architecture, num_classes=2, in_chans=channels))
    torch.save(own.state_dict(), tmp_path / "mine.pt")
    mean, std = [0.485, 0.456, 0.406][:channels], [0.229, 0.224, 0.225][:channels]
    said = {"kind": "timm", "weights": "mine.pt", "architecture": architecture}
    path = describe(tmp_path, **said, channels=channels, mean=mean, std=std)
    classifier = load_adapted(path)
    large = functional.interpolate(films(size=128), (SIDE, SIDE), mode="bilinear", antialias=True)
    shift, scale = (torch.tensor(values)[:, None, None] for values in (mean, std))
    expected = own((large.repeat(1, channels, 1, 1) - shift) / scale)
    torch.testing.assert_close(classifier(films(size=128)), expected)
    assert (expected[0] - expected[1]).abs().max() > 1e-3
    assert classifier.features(films()).shape == (2, own.head_hidden_size or own.num_features)


def test_timms_own_checkpoint_is_read_as_timm_reads_it(timm, tmp_path):
    """`timm`'s training writes its arguments and averaged weights beside the last ones."""
    from timm.utils import CheckpointSaver, ModelEmaV3

    network = differing(timm.create_model("resnet18", num_classes=2, in_chans=1))
    average = ModelEmaV3(network)
    with torch.no_grad():
        average.module.fc.bias.add_(1)
    saver = CheckpointSaver(
        network,
        torch.optim.SGD(network.parameters()),
        args=argparse.Namespace(model="resnet18", lr=0.1),
        model_ema=average,
        checkpoint_dir=str(tmp_path),
    )
    saver.save_checkpoint(0)
    said = {"kind": "timm", "weights": "last.pth.tar", "architecture": "resnet18", "channels": 1}
    classifier = load_adapted(describe(tmp_path, **said, mean=0.5, std=0.25))
    read = timm.create_model(
        "resnet18",
        num_classes=2,
        in_chans=1,
        checkpoint_path=str(tmp_path / "last.pth.tar"),
    ).eval()
    torch.testing.assert_close(classifier(films()), read((films() - 0.5) / 0.25))


def test_what_timm_does_not_know_is_named(timm, tmp_path):
    said = {"kind": "timm", "weights": "w.pt", "architecture": "resnet-eighteen"}
    with pytest.raises(ValueError, match=r"architecture of timm, got 'resnet-eighteen'"):
        load_adapted(describe(tmp_path, **said, mean=0.5, std=0.25))


def rays(folder, **said):
    return describe(folder, kind="torchxrayvision", **{"pathology": "Pneumonia", **said})


def test_a_densenet_of_torchxrayvision_sees_its_range(xrv, tmp_path):
    own = differing(xrv.models.DenseNet(weights=None))
    torch.save(own.state_dict(), tmp_path / "own.pt")
    classifier = load_adapted(rays(tmp_path, weights="own.pt"))
    seen = in_its_range(xrv, films())
    assert seen.min() < -1000
    assert seen.max() > 1000
    finding = own(seen)[:, own.targets.index("Pneumonia")]
    torch.testing.assert_close(classifier(films()).diff(dim=1)[:, 0], finding, rtol=1e-4, atol=1e-4)


def test_a_fine_tuned_densenet_brings_its_findings_and_points(xrv, tmp_path):
    points = torch.tensor([0.2, 0.7, torch.nan])
    own = differing(xrv.models.DenseNet(num_classes=3, op_threshs=points))
    torch.save(own.state_dict(), tmp_path / "tuned.pt")
    said = {"weights": "tuned.pt", "pathologies": ["Mass", "Pneumonia", "Fever"]}
    classifier = load_adapted(rays(tmp_path, **said))
    outputs = own(in_its_range(xrv, films(6)))[:, 1]
    shares = classifier(films(6)).softmax(1)[:, 1]
    torch.testing.assert_close(shares, outputs, rtol=1e-4, atol=1e-4)
    assert torch.equal(classifier.predict(films(6)), (outputs > 0.5).long())


@pytest.fixture
def downloaded(xrv, tmp_path, monkeypatch):
    """The file that torchxrayvision would download, with weights drawn at random."""
    monkeypatch.setenv("HOME", str(tmp_path))
    own = differing(xrv.models.DenseNet(weights=None))
    url = xrv.models.model_urls[WEIGHTS]["weights_url"]
    folder = tmp_path / ".torchxrayvision/models_data"
    folder.mkdir(parents=True)
    torch.save(own, folder / url.rpartition("/")[2])
    return own


def test_weights_by_name_decide_at_their_operating_point(xrv, downloaded, tmp_path, capsys):
    classifier = load_adapted(rays(tmp_path, weights=WEIGHTS))
    model = xrv.models.get_model(WEIGHTS)
    images = films(4).requires_grad_()
    seen = in_its_range(xrv, images)
    place = model.targets.index("Pneumonia")
    outputs = model(seen)[:, place]
    logits = classifier(images)
    torch.testing.assert_close(logits.softmax(1)[:, 1], outputs, rtol=1e-4, atol=1e-4)
    raw = downloaded(seen)[:, place].sigmoid()
    assert torch.equal(classifier.predict(images), (raw > float(model.op_threshs[place])).long())
    (gradient,) = torch.autograd.grad(logits.diff(dim=1).sum(), images)
    assert gradient.isfinite().all()
    assert gradient.abs().flatten(1).sum(1).min() > 0
    assert "Warning" not in capsys.readouterr().out
    path = rays(tmp_path, weights=WEIGHTS)
    assert adapted_hash(path) == adapted_hash(path)


@pytest.mark.usefixtures("downloaded")
def test_a_finding_that_the_weights_do_not_know_is_named(tmp_path):
    for pathology in ("Hernia", ""):
        with pytest.raises(ValueError, match=r"among Pneumonia, Lung Opacity, got"):
            load_adapted(rays(tmp_path, weights=WEIGHTS, pathology=pathology))
