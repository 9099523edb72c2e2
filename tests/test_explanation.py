import pytest
import torch
from PIL import Image

from cfgen.explanation import explain
from cfgen.methods import METHODS
from cfgen.models.classifier import load_classifier
from cfgen.types import Outcome


def test_an_image_is_explained_from_a_tensor_or_from_its_file(bundle, phantoms, tmp_path):
    pixels = (phantoms[0, 0] * 255).round().byte()
    Image.fromarray(pixels.numpy()).save(tmp_path / "film.png")
    from_file = explain(tmp_path / "film.png", bundle, method="latent")
    from_tensor = explain(pixels[None] / 255, bundle, method="latent")
    torch.testing.assert_close(from_file.factual, from_tensor.factual)
    torch.testing.assert_close(from_file.counterfactual, from_tensor.counterfactual)
    assert from_file.outcome == from_tensor.outcome == Outcome.REACHED


def test_a_bundle_may_be_given_by_its_path(tiny_bundle_path, phantoms):
    found = explain(phantoms[0], tiny_bundle_path, method="class-mean")
    logits = load_classifier(tiny_bundle_path / "classifier")(phantoms[:1])
    torch.testing.assert_close(found.before, logits.softmax(1)[0])


def test_an_explanation_says_what_the_classifier_makes_of_both(bundle, phantoms):
    found = explain(phantoms[1], bundle, method="latent")
    before, after = bundle.classifier(torch.stack([phantoms[1], found.counterfactual]))
    torch.testing.assert_close(found.before, before.softmax(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.after, after.softmax(0), atol=1e-5, rtol=0)
    assert found.classes == ("NORMAL", "OPACITY")
    assert found.decided_before == found.classes[int(before.argmax())]
    assert found.decided_after == found.classes[1 - int(before.argmax())]
    assert found.after[found.classes.index(found.decided_after)] >= 0.9 - 1e-4


def test_a_target_that_is_shown_already_is_no_search(bundle, phantoms):
    predicted = bundle.classes[bundle.classifier.predict(phantoms[:1]).item()]
    once = explain(phantoms[0], bundle, method="latent")
    sure = explain(once.counterfactual, bundle, method="latent")
    again = explain(sure.counterfactual, bundle, target=predicted)
    assert again.outcome == Outcome.ALREADY
    assert torch.equal(again.counterfactual, sure.counterfactual)


def test_an_explanation_stays_inside_its_mask(bundle, phantoms):
    mask = torch.zeros(1, 64, 64)
    mask[:, 8:56, 8:56] = 1
    for method in METHODS:
        found = explain(phantoms[3], bundle, method=method, mask=mask)
        assert ((found.counterfactual - phantoms[3]) * (1 - mask)).abs().max() == 0


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"image": torch.zeros(1, 32, 32)}, r"the image as \(1, 64, 64\), got \(1, 32, 32\)"),
        ({"method": "nonesuch"}, "one of the methods"),
        ({"target": "PNEUMONIA"}, "a target among NORMAL, OPACITY"),
        ({"bundle": "nonesuch"}, "a bundle"),
        ({"image": "nonesuch.png"}, "nonesuch"),
        ({"settings": {"lambda": 1.0}}, "settings of prior"),
    ],
)
def test_what_cannot_be_explained_is_refused(bundle, phantoms, given_, message):
    with pytest.raises(ValueError, match=message):
        explain(**{"image": phantoms[0], "bundle": bundle, **given_})
