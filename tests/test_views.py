import numpy as np
import pytest
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from cfgen.models import classifier as module
from cfgen.models import views
from cfgen.models.classifier import Classifier, load_classifier
from cfgen.models.views import border_view, lung_box, lungs_view, random_crop

SIDE = 40
LUNGS = (slice(10, 30), [slice(8, 16), slice(22, 34)])  # rows, and the columns of either lung


def two_lungs(n=1):
    lungs = torch.zeros(n, 1, SIDE, SIDE)
    for columns in LUNGS[1]:
        lungs[:, :, LUNGS[0], columns] = 1
    return lungs


def films(n=3, side=SIDE, seed=0):
    return torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_a_box_is_around_both_lungs(margin):
    expected = np.array([8, 10, 34, 30]) / SIDE + margin * np.array([-1, -1, 1, 1])
    np.testing.assert_allclose(lung_box(two_lungs(2), margin), [expected] * 2, atol=1e-6)


def test_a_box_ends_with_the_image():
    assert lung_box(two_lungs(), 0.9).tolist() == [[0, 0, 1, 1]]


def test_a_box_does_not_reach_for_stray_pixels():
    lungs = two_lungs()
    expected = lung_box(lungs, 0.0)
    dotted = lungs.clone()
    dotted[0, 0, 3, 38] = 1
    side = 100  # two stray pixels in a row of a hundred are no lung, three are
    wide = torch.zeros(2, 1, side, side)
    wide[..., 40:60, 40:60] = 1
    wide[0, 0, 5, [1, 90]] = 1
    wide[1, 0, 5, [1, 50, 90]] = 1
    assert lung_box(wide, 0.0)[0].tolist() == pytest.approx([0.4, 0.4, 0.6, 0.6])
    assert lung_box(wide, 0.0)[1].tolist() == pytest.approx([0.4, 0.05, 0.6, 0.6])
    assert not torch.equal(lung_box(dotted, 0.0), expected)  # of forty pixels one is more than 2 %


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_without_lungs_the_box_is_the_whole_image(value):
    assert lung_box(torch.full((1, 1, 8, 8), value), 0.1).tolist() == [[0, 0, 1, 1]]


def test_inside_the_lungs_the_exposure_is_gone():
    lungs, whole = two_lungs(3), torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 3)
    seen = lungs_view(films(), lungs, whole)
    exposed = lungs_view(0.3 + 0.4 * films(), lungs, whole)
    torch.testing.assert_close(exposed, seen, atol=0.02, rtol=0.02)
    # NumPy, in float64: the mask, dilated by one pixel, is one on a frame around each lung.
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    for columns in LUNGS[1]:
        mask[9:31, columns.start - 1 : columns.stop + 1] = True
    for image, got in zip(films()[:, 0].double().numpy(), seen[:, 0].numpy(), strict=True):
        inside = image[mask]
        expected = np.where(mask, (image - inside.mean()) / np.hypot(inside.std(), 0.01), 0)
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_crop_shows_the_box_at_the_images_size():
    images = films(2)
    lungs = torch.ones_like(images)
    box = torch.tensor([[0.25, 0.5, 0.75, 1.0]] * 2)
    whole = lungs_view(images, lungs, torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 2))
    cut = whole[..., SIDE // 2 :, SIDE // 4 : 3 * SIDE // 4]
    expected = nn.functional.interpolate(cut, size=(SIDE, SIDE), mode="bilinear")
    got = lungs_view(images, lungs, box)
    inside = np.s_[..., 2:-2, 2:-2]  # at its edge the crop sees the pixels beyond it
    torch.testing.assert_close(got[inside], expected[inside], atol=1e-4, rtol=0)


def test_beyond_the_image_a_crop_is_empty():
    lungs = torch.ones(1, 1, SIDE, SIDE)
    seen = lungs_view(films(1), lungs, torch.tensor([[-1.0, 0.0, 1.0, 1.0]]))
    assert seen[..., : SIDE // 2 - 1].abs().max() < 1e-4
    assert seen[..., SIDE // 2 + 1 :].abs().max() > 0.5


def test_without_lungs_the_whole_image_is_shown_equalised():
    lungs = torch.zeros(1, 1, SIDE, SIDE)
    seen = lungs_view(films(1), lungs, lung_box(lungs, 0.04))
    expected = (films(1) - films(1).mean()) / films(1).std(correction=0)
    torch.testing.assert_close(seen, expected, atol=2e-3, rtol=0)
    constant = torch.full((1, 1, SIDE, SIDE), 0.3)
    assert lungs_view(constant, lungs, lung_box(lungs, 0.0)).abs().max() < 1e-4


def test_no_image_of_a_batch_changes_the_view_of_another():
    lungs = two_lungs(3)
    lungs[1] = 0
    lungs[2, :, :, :20] = 0
    boxes = lung_box(lungs, 0.04)
    together = lungs_view(films(), lungs, boxes), border_view(films(), boxes, 0.5)
    for i in range(3):
        box = lung_box(lungs[i : i + 1], 0.04)
        image = films()[i : i + 1]
        torch.testing.assert_close(lungs_view(image, lungs[i : i + 1], box)[0], together[0][i])
        assert torch.equal(border_view(image, box, 0.5)[0], together[1][i])


def test_only_the_lungs_reach_their_view_and_only_the_border_its_own():
    lungs, images = two_lungs(), films(1).requires_grad_()
    mask = nn.functional.max_pool2d(lungs, 3, 1, 1).bool()
    (gradient,) = torch.autograd.grad(
        lungs_view(images, lungs, lung_box(lungs, 0.04)).square().cos().sum(), images
    )
    assert gradient[~mask].eq(0).all()
    assert gradient[mask].ne(0).float().mean() > 0.9
    shown = border_view(images, lung_box(lungs, 0.05), 0.5)
    (gradient,) = torch.autograd.grad(shown.sum(), images)
    hidden = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.bool)
    hidden[..., 8:32, 6:36] = True
    assert torch.equal(gradient, (~hidden).float())
    assert shown[hidden].eq(0.5).all()
    assert torch.equal(shown[~hidden], images[~hidden])


def test_views_are_differentiable_in_images_and_lungs():
    lungs = (0.35 * two_lungs() + 0.3)[..., 5:35:2, 5:35:2].double()
    images = films(1)[..., 5:35:2, 5:35:2].double()
    box = lung_box(lungs, 0.02).double()

    def view(images, lungs):
        return lungs_view(images, lungs, box)

    # A plateau has no single greatest neighbour: the dilation's derivative needs one.
    lungs = lungs + 0.01 * films(1, 15, seed=1).double()
    assert torch.autograd.gradcheck(
        view, (images.requires_grad_(), lungs.requires_grad_()), eps=1e-7, atol=1e-4
    )


def test_a_random_crop_moves_each_edge_by_a_tenth_of_its_side_at_most():
    torch.manual_seed(0)
    boxes = torch.tensor([[0.2, 0.3, 0.6, 0.5]]).repeat(4000, 1)
    moved = (random_crop(boxes) - boxes) / torch.tensor([0.4, 0.2, 0.4, 0.2])
    assert moved.abs().max() <= views.CROP + 1e-5
    np.testing.assert_allclose(moved.std(0), views.CROP / np.sqrt(3), rtol=0.05)
    assert np.abs(np.corrcoef(moved.T) - np.eye(4)).max() < 0.06


class Dark(ModelMixin, ConfigMixin):
    """Stands in for a segmenter: what is dark is lung, and how dark it has learned."""

    @register_to_config
    def __init__(self, size: int = SIDE, width: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, width, 1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, images):
        return self.norm(self.convolution(images)).mean(1, keepdim=True).sigmoid()


@pytest.fixture
def looking(monkeypatch):
    """A classifier of a view, untrained, whose segmenter takes for lung what is below a half."""
    monkeypatch.setattr(module, "Segmenter", Dark)

    def make(view):
        torch.manual_seed(1)
        classifier = Classifier(
            size=SIDE, widths=[4, 8], mean=0.4, std=0.2, view=view, segmenter_config={"width": 1}
        )
        with torch.no_grad():
            classifier.segmenter.convolution.weight.fill_(-50)
            classifier.segmenter.convolution.bias.fill_(25)
        return classifier.eval()

    return make


def dark_lungs(n=2):
    """Bright films with dark lungs, and their texture."""
    return 0.6 + 0.3 * films(n) - 0.55 * two_lungs(n)


@pytest.mark.parametrize("view", ["lungs", "border"])
def test_a_view_and_its_segmenter_are_saved_with_the_classifier(looking, view, tmp_path):
    classifier = looking(view)
    classifier.save_pretrained(tmp_path / "c")
    again = load_classifier(tmp_path / "c")
    assert again.view == view
    torch.testing.assert_close(again(dark_lungs()), classifier(dark_lungs()), atol=1e-6, rtol=0)


def test_the_lungs_view_is_blind_outside_and_the_border_view_inside(looking):
    images = dark_lungs()
    inside, outside = (images + 0.04 * films(2, seed=3) * part for part in (
        two_lungs(), 1 - nn.functional.max_pool2d(two_lungs(), 3, 1, 1),
    ))  # fmt: skip
    for view, blind, sees in (("lungs", outside, inside), ("border", inside, outside)):
        classifier = looking(view)
        seen = classifier.see(images)
        torch.testing.assert_close(classifier.see(blind), seen, atol=1e-4, rtol=0)
        assert (classifier.see(sees) - seen).flatten(1).norm(dim=1).min() > 0.3


def test_what_is_hidden_from_the_border_view_is_the_mean(looking):
    seen = looking("border").see(dark_lungs())
    assert seen[..., 10:30, 8:34].eq(0).all()
    corner = np.s_[..., :5, :5]
    torch.testing.assert_close(seen[corner], (dark_lungs()[corner] - 0.4) / 0.2)


def test_the_segmenter_is_frozen_and_stays_in_evaluation_mode(looking):
    classifier = looking("lungs").train()
    before = {key: value.clone() for key, value in classifier.segmenter.state_dict().items()}
    torch.manual_seed(0)
    first, second = classifier.see(dark_lungs()), classifier.see(dark_lungs())
    assert not torch.equal(first, second)  # crops are random in training
    classifier(dark_lungs()).sum().backward()
    assert classifier.training
    assert classifier.network.training
    assert not classifier.segmenter.training
    assert not classifier.segmenter.norm.training
    assert all(torch.equal(v, before[k]) for k, v in classifier.segmenter.state_dict().items())
    assert all(weights.grad is None for weights in classifier.segmenter.parameters())
    assert all(weights.grad is not None for weights in classifier.network.parameters())
    assert torch.equal(classifier.eval().see(dark_lungs()), classifier.see(dark_lungs()))
