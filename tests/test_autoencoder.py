import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cfgen.data.preprocessing import Preprocessing
from cfgen.data.samples import Sample, Source
from cfgen.models.autoencoder import Autoencoder, load_autoencoder
from cfgen.models.classifier import Classifier
from cfgen.models.saving import WEIGHTS
from train.augment import augment
from train.autoencoder import AutoencoderTraining, set_code_statistics
from train.data import ImageSet
from train.recipe import Augmentation, AutoencoderRecipe

STILL = Augmentation(*[0.0] * 8)


def small(**settings):
    torch.manual_seed(0)
    settings = {"size": 32, "classes": ["A", "B", "C"], "widths": [16, 16], **settings}
    return Autoencoder(**settings, latent_channels=3).eval().requires_grad_(False)


def films(n=4, side=32):
    return torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(1))


def image_set(labels):
    images = films(len(labels))
    source = Source(
        "made up",
        ("A", "B", "C"),
        [Sample(f"{i}.png", label, "train") for i, label in enumerate(labels)],
        lambda sample: images[int(sample.path[:-4])],
    )
    return ImageSet(source, source.samples, Preprocessing(size=32))


@pytest.mark.parametrize(("patch", "widths", "side"), [(4, [16, 16], 4), (2, [16, 32, 16], 4)])
def test_a_code_is_smaller_by_its_patch_and_its_resolutions(patch, widths, side):
    autoencoder = small(patch=patch, widths=widths)
    code = autoencoder.encode(films())
    assert code.shape == (4, 3, side, side)
    assert autoencoder.decode(code).shape == (4, 1, 32, 32)
    assert autoencoder.class_means.shape == (3, 3, side, side)


def test_an_image_does_not_depend_on_its_batch():
    autoencoder = small()
    together = autoencoder.decode(autoencoder.encode(films()))
    alone = torch.cat([autoencoder.decode(autoencoder.encode(one[None])) for one in films()])
    torch.testing.assert_close(together, alone)


def test_the_scale_of_codes_cancels():
    autoencoder = small()
    before = autoencoder.decode(autoencoder.encode(films()))
    codes = autoencoder.encode(films())
    autoencoder.set_statistics(torch.ones_like(autoencoder.class_means), torch.tensor(0.25))
    torch.testing.assert_close(autoencoder.encode(films()), 4 * codes)
    torch.testing.assert_close(autoencoder.decode(autoencoder.encode(films())), before)


def test_decoding_passes_gradients_outside_the_unit_range():
    autoencoder = small()
    code = (30 * torch.randn(1, 3, 4, 4)).requires_grad_()
    image = autoencoder.decode(code)
    outside = image[(image < 0) | (image > 1)]
    assert len(outside)
    (gradient,) = torch.autograd.grad(outside.sum(), code)
    assert gradient.abs().sum() > 0


def test_a_round_trip_over_the_disk_is_exact(tmp_path):
    autoencoder = small()
    autoencoder.set_statistics(torch.randn(3, 3, 4, 4), torch.tensor(0.7))
    autoencoder.save_pretrained(tmp_path / "a")
    again = load_autoencoder(tmp_path / "a")
    was, now = autoencoder.state_dict(), again.state_dict()
    assert was.keys() == now.keys()
    assert {"class_means", "code_scale"} <= was.keys()
    assert all(torch.equal(now[name], was[name]) for name in was)
    torch.testing.assert_close(again.encode(films()), autoencoder.encode(films()))
    code = again.class_means
    torch.testing.assert_close(again.decode(code), autoencoder.decode(code))
    assert not again.training
    assert not any(weights.requires_grad for weights in again.parameters())


def test_a_classifier_is_no_autoencoder(tmp_path):
    Classifier(widths=[8]).save_pretrained(tmp_path / "c")
    with pytest.raises(ValueError, match=r"a saved Autoencoder in .*c, got a Classifier"):
        load_autoencoder(tmp_path / "c")


def test_an_autoencoder_without_its_class_means_is_refused(tmp_path):
    small().save_pretrained(tmp_path / "a")
    tensors = load_file(tmp_path / "a" / WEIGHTS)
    del tensors["class_means"]
    save_file(tensors, tmp_path / "a" / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"a to fit.*missing \['class_means'\]"):
        load_autoencoder(tmp_path / "a")


def test_codes_of_the_training_images_have_unit_deviation_and_their_means_are_stored():
    autoencoder = small()
    labels = ["B", "A", "C", "A", "B", "B", "A"]
    set_code_statistics(autoencoder, image_set(labels), batch_size=3)
    codes = autoencoder.encode(films(7).half().float()).numpy().astype(np.float64)
    assert codes.std(ddof=1) == pytest.approx(1, abs=1e-4)
    for index, name in enumerate("ABC"):
        mean = sum(code for code, label in zip(codes, labels, strict=True) if label == name)
        expected = mean / labels.count(name)
        np.testing.assert_allclose(autoencoder.class_means[index], expected, atol=1e-5)


def test_a_class_without_training_images_is_named():
    with pytest.raises(ValueError, match="images of every class"):
        set_code_statistics(small(), image_set(["A", "A", "B"]))


def training(**settings):
    how = AutoencoderRecipe(perceptual=0.0, adversarial=0.0, augmentation=STILL, **settings)
    module = AutoencoderTraining(small(), None, how, compiled=False)
    module.logged = {}
    module.log_dict = lambda terms, **_: module.logged.update(terms)
    return module


def loss_of(module):
    torch.manual_seed(3)  # of the sampled code
    return module.training_step([films(), torch.zeros(4, dtype=torch.long)], 0).item()


def test_the_kullback_leibler_term_is_the_closed_form_and_is_added():
    module = training(kl=0.0)
    plain = loss_of(module)
    posterior = module.autoencoder.posterior(films())
    mean, log_variance = posterior.mean.double().numpy(), posterior.logvar.double().numpy()
    divergence = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum((1, 2, 3))
    assert (divergence > 0).all()
    expected = divergence.mean() / 32**2
    assert module.logged["train_kl"].item() == pytest.approx(expected, rel=1e-5)
    assert loss_of(training(kl=10.0)) == pytest.approx(plain + 10 * expected, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "of"), [("l1", lambda error: error.abs()), ("l2", lambda error: error**2)]
)
def test_reconstruction_is_the_mean_error_of_the_kind_asked_for(kind, of):
    module = training(kl=0.0, reconstruction=kind)
    loss = loss_of(module)
    torch.manual_seed(3)
    augment(films(), STILL)
    rebuilt = module.autoencoder.reconstruct(module.autoencoder.posterior(films()).sample())
    assert loss == pytest.approx(of(rebuilt - films()).mean().item(), rel=1e-5)
