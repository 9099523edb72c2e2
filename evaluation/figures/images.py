"""Images beside their counterfactuals and differences: one in panels, many in a grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from cfgen.types import Image, Images
from evaluation.figures.charts import draw_probabilities
from evaluation.figures.layout import GAP, LINE, WIDE, Box, layout_of
from evaluation.figures.style import DIM, DIVERGING, SMALL, TEXT, literal

_CHANGE = "counterfactual minus original"


def panels(
    factual: Image,
    image: Image,
    classes: Sequence[str],
    before: Float[Tensor, " classes"],
    after: Float[Tensor, " classes"],
    *,
    title: str | None = None,
) -> Figure:
    """Draw one counterfactual in four panels in a row.

    Left to right: the original and the counterfactual, each with its most probable class and that
    class's probability; their signed difference on a scale symmetric about zero, whose ends are
    the largest absolute change; the probability of every class before and after.

    Args:
        factual: the original, in [0, 1].
        image: the counterfactual, of the same shape.
        classes: names of the classes, in the order of the probabilities.
        before: probabilities of the original, in [0, 1].
        after: probabilities of the counterfactual, in [0, 1].
        title: a line above the panels, for example the file's name.

    Raises:
        ValueError: if the images' shapes differ, or names and probabilities differ in number.
    """
    _check_pair(factual, image)
    if not len(classes) == len(before) == len(after):
        raise ValueError(
            f"expected one probability before and after for each of {len(classes)} classes, got "
            f"{len(before)} and {len(after)}; pass the softmax of the classifier's logits"
        )
    figure = Figure(figsize=(10.6, 3.2), layout="constrained")
    shown = figure.subplots(1, 4)
    for axes, name, picture, p in (
        (shown[0], "Original", factual, before),
        (shown[1], "Counterfactual", image, after),
    ):
        best = int(p.argmax())
        axes.set_title(f"{name}\n{literal(classes[best])}, p = {float(p[best]):.2f}", fontsize=TEXT)
        _show(axes, picture)
    shown[2].set_title("Difference\nred: brighter, blue: darker", fontsize=TEXT)
    change = _show(shown[2], image - factual, _limits(image - factual), DIVERGING)
    # An inset leaves the difference as large as the images beside it.
    bar = figure.colorbar(change, cax=shown[2].inset_axes((1.03, 0, 0.04, 1)))
    bar.ax.tick_params(labelsize=SMALL)
    draw_probabilities(shown[3], classes, before, after)
    shown[3].set_box_aspect(factual.shape[-2] / factual.shape[-1])
    if title is not None:
        figure.suptitle(literal(title), fontsize=TEXT + 1, fontweight="bold")
    return figure


def grid(
    factual: Images,
    found: Sequence[tuple[str, Images]],
    captions: Sequence[str],
    *,
    columns: int | None = None,
    width: float | None = None,
) -> Figure:
    """Draw many images, each beside its counterfactuals and differences, a caption above each.

    All differences share one symmetric scale, whose ends are the largest absolute change of all.

    Args:
        factual: the originals, in [0, 1].
        found: what is written above their counterfactuals, and these in the same order: of one
            method or of several.
        captions: one line an image, for example "person1, PNEUMONIA, p 0.98 -> 0.04".
        columns: how many blocks of pictures stand side by side; by default 1 for up to 4 images,
            2 for up to 24 and 3 for more.
        width: of the figure in inches; by default what pictures of 1.25 inches need.

    Raises:
        ValueError: if there is no image, or if the numbers or shapes do not agree.
    """
    for _, images in found:
        _check_pair(factual, images)
    _check_captions(factual, captions)
    heads = ["original", *(head for name, _ in found for head in (name, "difference"))]
    across = columns or (1 if len(factual) <= 4 else 2 if len(factual) <= 24 else 3)
    layout = layout_of(min(across, len(factual)), len(heads), factual, width)
    limits = _limits(torch.stack([images - factual for _, images in found]))
    figure, axes = _sheet(*layout.size(len(factual)))
    for column in range(layout.columns):
        for name, (x, _, wide, _) in zip(heads, layout.boxes(column), strict=True):
            style = {"fontsize": SMALL, "color": DIM, "ha": "center"}
            axes.text(x + wide / 2, 0.17, literal(name), **style)
    for index, caption in enumerate(captions):
        original, *boxes = layout.boxes(index)
        axes.text(original[0], original[1] - 0.06, literal(caption), fontsize=SMALL, va="baseline")
        _show(axes, factual[index], box=original)
        for k, (_, images) in enumerate(found):
            _show(axes, images[index], box=boxes[2 * k])
            _show(axes, images[index] - factual[index], limits, DIVERGING, boxes[2 * k + 1])
    _scale_below(figure, axes.images[2])
    return figure


def contact_sheet(
    images: Images, captions: Sequence[str] | None = None, columns: int = 8
) -> Figure:
    """Draw images side by side, row after row, with a caption above each where given.

    Raises:
        ValueError: if there is no image, or not one caption an image.
    """
    if captions is not None or len(images) == 0:
        _check_captions(images, captions or ())
    columns = min(columns, len(images))
    line = 0.0 if captions is None else LINE
    high = WIDE * images.shape[-2] / images.shape[-1]
    across, down = WIDE + GAP, high + line + GAP
    figure, axes = _sheet(columns * across + GAP, -(-len(images) // columns) * down + GAP)
    for index, image in enumerate(images):
        x, y = GAP + (index % columns) * across, GAP + (index // columns) * down
        _show(axes, image, box=(x, y + line, WIDE, high))
        if captions is not None:
            axes.text(x, y + line - 0.06, literal(captions[index]), fontsize=SMALL, va="baseline")
    return figure


def _show(
    axes: Axes,
    image: Image,
    limits: tuple[float, float] = (0, 1),
    cmap: str = "gray",
    box: Box | None = None,
) -> AxesImage:
    """Show an image on a scale: on its own axes, or in a box (x, y, width, height) of a sheet."""
    if box is None:
        axes.set_axis_off()
        extent = None
    else:
        x, y, width, height = box
        extent = (x, x + width, y + height, y)
    return axes.imshow(
        image[0].detach().cpu().float().numpy(),
        cmap=cmap,
        vmin=limits[0],
        vmax=limits[1],
        extent=extent,
        aspect="equal" if box is None else "auto",
    )


def _limits(changes: Float[Tensor, "*batch 1 height width"]) -> tuple[float, float]:
    """Return minus and plus the largest absolute change, or what can be drawn if there is none."""
    largest = float(changes.abs().max()) or 1e-3
    return -largest, largest


def _sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure with one empty axes all over it, in inches, y pointing down.

    Hundreds of pictures on one axes are drawn several times faster than on an axes each.
    """
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.set_axis_off()
    return figure, axes


def _scale_below(figure: Figure, change: AxesImage) -> None:
    """Draw the colour bar that all differences of a grid share."""
    width, height = figure.get_size_inches()
    long = min(3.0, 0.6 * width)
    axes = figure.add_axes(((0.5 - long / width / 2), 0.2 / height, long / width, 0.07 / height))
    bar = figure.colorbar(change, cax=axes, orientation="horizontal")
    bar.ax.tick_params(labelsize=SMALL - 1, length=2, pad=1)
    bar.ax.set_title(_CHANGE, fontsize=SMALL - 1, pad=2)


def _check_pair(factual: Tensor, image: Tensor) -> None:
    if factual.shape != image.shape:
        raise ValueError(
            f"expected factual and counterfactual of one shape, got {tuple(factual.shape)} and "
            f"{tuple(image.shape)}; bring both to the classifier's size first"
        )


def _check_captions(images: Images, captions: Sequence[str]) -> None:
    if len(images) == 0 or len(images) != len(captions):
        raise ValueError(
            f"expected at least one image and one caption for each, got {len(images)} images and "
            f"{len(captions)} captions; pass them in the same order"
        )
