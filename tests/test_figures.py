"""The pictures show what they are given: on fixed scales, with the right numbers."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image as Picture

from evaluation import figures
from evaluation.figures.labels import keep_apart

CLASSES = ("NORMAL", "PNEUMONIA")
BEFORE, AFTER = torch.tensor([0.03, 0.97]), torch.tensor([0.91, 0.09])


def pair(count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    factual = 0.2 + 0.4 * torch.rand((count, 1, 10, 12), generator=generator)
    image = factual + 0.1 * torch.rand(factual.shape, generator=generator)
    image[0, 0, 2, 3] = factual[0, 0, 2, 3] - 0.3
    return factual, image


def four_panels():
    factual, image = pair()
    return figures.panels(factual[0], image[0], CLASSES, BEFORE, AFTER, title="a $b$.png")


def limits(picture: AxesImage) -> tuple[float | None, float | None]:
    return picture.norm.vmin, picture.norm.vmax


def test_panels_show_images_from_black_at_0_to_white_at_1():
    original, counterfactual = (axes.images[0] for axes in four_panels().axes[:2])
    factual, image = pair()
    assert limits(original) == limits(counterfactual) == (0, 1)
    torch.testing.assert_close(torch.tensor(original.get_array()), factual[0, 0])
    torch.testing.assert_close(torch.tensor(counterfactual.get_array()), image[0, 0])


def test_panels_difference_is_symmetric_about_zero_and_ends_at_the_largest_change():
    change = four_panels().axes[2].images[0]
    factual, image = pair()
    low, high = limits(change)
    assert low == -high
    assert high == pytest.approx(float((image[0] - factual[0]).abs().max())) == pytest.approx(0.3)
    torch.testing.assert_close(torch.tensor(change.get_array()), (image[0] - factual[0])[0])


def test_a_brighter_pixel_is_red_and_a_darker_one_blue():
    factual = torch.full((1, 2, 2), 0.5)
    image = factual + torch.tensor([[[0.2, -0.2], [0.0, 0.0]]])
    change = figures.panels(factual, image, CLASSES, BEFORE, AFTER).axes[2].images[0]
    red, blue, white = change.to_rgba(torch.tensor([0.2, -0.2, 0.0]).numpy())[:, :3]
    assert red[0] > red[2] + 0.2
    assert blue[2] > blue[0] + 0.2
    assert white.min() > 0.9


def test_panels_bars_are_the_probabilities_before_and_after():
    before, after = four_panels().axes[3].containers
    assert [bar.get_width() for bar in before] == pytest.approx(BEFORE.tolist())
    assert [bar.get_width() for bar in after] == pytest.approx(AFTER.tolist())


@pytest.mark.parametrize(
    "figure",
    [
        four_panels(),
        figures.activation_bars([(f"network.layer{k}.conv", 10.0**k) for k in range(12)]),
        figures.tradeoff([{"lambda": 0.1**k, "validity": k / 3, "l2": k} for k in range(4)]),
    ],
    ids=["panels", "activations", "tradeoff"],
)
def test_nothing_of_a_figure_is_cut_off(figure, tmp_path):
    figures.save(figure, tmp_path / "a.png")
    width, height = figure.get_size_inches()
    box = figure.get_tightbbox()
    assert 0 <= box.x0 < box.x1 <= width
    assert 0 <= box.y0 < box.y1 <= height


def test_panels_name_the_most_probable_class_and_its_probability():
    titles = [axes.get_title() for axes in four_panels().axes[:2]]
    assert titles == ["Original\nPNEUMONIA, p = 0.97", "Counterfactual\nNORMAL, p = 0.91"]


def test_panels_of_an_unchanged_image_can_be_drawn(tmp_path):
    factual, _ = pair()
    figure = figures.panels(factual[0], factual[0], CLASSES, BEFORE, AFTER)
    low, high = limits(figure.axes[2].images[0])
    assert low == -high < 0
    assert figures.save(figure, tmp_path / "same.png").stat().st_size > 0


def test_panels_refuse_probabilities_of_other_classes():
    factual, image = pair()
    with pytest.raises(ValueError, match="expected one probability before and after for each of 3"):
        figures.panels(factual[0], image[0], ("a", "b", "c"), BEFORE, AFTER)
    # Where shapes are checked while the tests run, that check comes first.
    words = "expected factual and counterfactual of one shape|parameter 'image'"
    with pytest.raises((ValueError, TypeCheckError), match=words):
        figures.panels(factual[0], image[0, :, :5], CLASSES, BEFORE, AFTER)


def test_grid_shows_every_triple_and_one_scale_for_all_differences():
    factual, image = pair(7)
    figure = figures.grid(factual, [("counterfactual", image)], [f"case {k}" for k in range(7)])
    pictures = figure.axes[0].images
    assert len(pictures) == 21
    assert {limits(picture) for picture in pictures[0::3] + pictures[1::3]} == {(0, 1)}
    (low, high) = limits(pictures[2])
    assert {limits(picture) for picture in pictures[2::3]} == {(low, high)}
    assert low == -high == -float((image - factual).abs().max())
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert [text for text in texts if text.startswith("case")] == [f"case {k}" for k in range(7)]


def test_grid_of_several_methods_shows_each_and_scales_by_the_largest_change_of_all():
    factual, image = pair(3)
    weak = factual + 0.1 * (image - factual)
    figure = figures.grid(factual, [("weak", weak), ("strong", image)], [""] * 3)
    pictures = figure.axes[0].images
    assert len(pictures) == 15
    largest = float((image - factual).abs().max())
    for place in (2, 4):
        assert {limits(picture) for picture in pictures[place::5]} == {(-largest, largest)}
    shown = [pictures[k].get_array() for k in (0, 1, 3)]
    for array, expected in zip(shown, (factual[0], weak[0], image[0]), strict=True):
        np.testing.assert_allclose(array, expected[0])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[:5] == ["original", "weak", "difference", "strong", "difference"]


@pytest.mark.parametrize("methods", [1, 2])
def test_grid_pictures_do_not_overlap_and_stay_on_the_sheet(methods):
    factual, image = pair(7)
    figure = figures.grid(factual, [(f"method {k}", image) for k in range(methods)], [""] * 7)
    axes = figure.axes[0]
    boxes = [picture.get_extent() for picture in axes.images]
    width, height = figure.get_size_inches()
    assert all(0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height for x0, x1, y1, y0 in boxes)
    overlapping = [
        (a, b)
        for k, a in enumerate(boxes)
        for b in boxes[k + 1 :]
        if a[0] < b[1] and b[0] < a[1] and a[3] < b[2] and b[3] < a[2]
    ]
    assert overlapping == []


@pytest.mark.parametrize("captions", [[], ["one"]])
def test_grid_wants_a_caption_for_each_image(captions):
    factual, image = pair()
    with pytest.raises(ValueError, match="one caption for each"):
        figures.grid(factual, [("counterfactual", image)], captions)


def test_contact_sheet_shows_all_images_on_the_fixed_scale():
    factual, _ = pair(5)
    figure = figures.contact_sheet(factual, list("abcde"), columns=2)
    assert [limits(picture) for picture in figure.axes[0].images] == [(0, 1)] * 5
    assert [text.get_text() for text in figure.axes[0].texts] == list("abcde")
    with pytest.raises(ValueError, match="at least one image"):
        figures.contact_sheet(factual[:0])


def test_activation_bars_stand_with_the_largest_on_top():
    axes = figures.activation_bars([("conv1", 1.0), ("conv2", 3.0), ("conv3", 2.0)]).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [3.0, 2.0, 1.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["conv2", "conv3", "conv1"]
    assert axes.yaxis_inverted()
    with pytest.raises(ValueError, match="expected at least one layer"):
        figures.activation_bars([])


def test_tradeoff_labels_a_point_for_each_weight():
    rows = [
        {"lambda": 1.0, "validity": 0.5, "ssim": 0.9},
        {"lambda": 0.1, "validity": 1, "ssim": 0.7},
    ]
    axes = figures.tradeoff(rows, "ssim").axes[0]
    assert axes.collections[0].get_offsets().tolist() == [[0.7, 1.0], [0.9, 0.5]]
    assert [text.get_text() for text in axes.texts] == ["λ = 0.1", "λ = 1"]
    with pytest.raises(ValueError, match="expected rows with the keys l2, lambda, validity"):
        figures.tradeoff(rows)


def test_save_writes_png_and_pdf_and_leaves_nothing_else(tmp_path):
    figure = four_panels()
    png = figures.save(figure, tmp_path / "new" / "a.png")
    pdf = figures.save(figure, tmp_path / "new" / "a.pdf")
    with Picture.open(png) as picture:
        assert picture.size == (2120, 640)
    assert png.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert pdf.read_bytes().startswith(b"%PDF-")
    assert sorted(path.name for path in png.parent.iterdir()) == ["a.pdf", "a.png"]


def test_save_names_what_it_cannot_write(tmp_path):
    figure = figures.activation_bars([("conv", 1.0)])
    with pytest.raises(ValueError, match=r"ending in \.png or \.pdf"):
        figures.save(figure, tmp_path / "a.bmp")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="expected a place that can be written"):
        figures.save(figure, tmp_path / "file" / "a.png")


def test_labels_of_points_that_stand_together_are_kept_apart():
    figure = Figure(figsize=(4, 3), layout="constrained")
    axes = figure.subplots()
    places = [(0.5, 0.5), (0.5, 0.5), (0.52, 0.5), (0.1, 0.9)]
    labels = [
        axes.annotate(f"run number {k}", place, xytext=(4, 4), textcoords="offset points")
        for k, place in enumerate(places)
    ]
    axes.set(xlim=(0, 1), ylim=(0, 1))
    keep_apart(figure, labels)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in labels]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert labels[3].xyann == (4, 4)
