"""Pictures of counterfactuals for papers and notebooks, without matplotlib's global state.

An image is always shown from 0 (black) to 1 (white), so that two pictures can be compared by eye.
A difference is counterfactual minus factual: red where the counterfactual is brighter, blue where
it is darker, white where nothing changed, on a scale symmetric about zero.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from cfgen.types import Image, Images
from evaluation.writing import make_folder, write_file

DIVERGING = "RdBu_r"
"""Blue, white, red: ColorBrewer's diverging map, safe for the common colour blindnesses."""

BEFORE, AFTER = "#9a9a9a", "#0072b2"
"""Colours of the factual's and the counterfactual's bars: they differ in lightness as well."""

COSTS = {
    "l1": "mean L1 distance",
    "l2": "mean L2 distance",
    "linf": "mean L-infinity distance",
    "changed": "share of pixels changed",
    "ssim": "mean SSIM to the factual",
}

_CHANGE = "counterfactual minus original"
SMALL, TEXT, _DIM = 7, 9, "#555555"
"""Sizes of letters in points, and the colour of what stands in the background."""


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
        axes.set_title(f"{name}\n{_plain(classes[best])}, p = {float(p[best]):.2f}", fontsize=TEXT)
        _show(axes, picture)
    shown[2].set_title("Difference\nred: brighter, blue: darker", fontsize=TEXT)
    change = _show(shown[2], image - factual, _limits(image - factual), DIVERGING)
    # An inset leaves the difference as large as the images beside it.
    bar = figure.colorbar(change, cax=shown[2].inset_axes((1.03, 0, 0.04, 1)))
    bar.ax.tick_params(labelsize=SMALL)
    _probabilities(shown[3], classes, before, after)
    shown[3].set_box_aspect(factual.shape[-2] / factual.shape[-1])
    if title is not None:
        figure.suptitle(_plain(title), fontsize=TEXT + 1, fontweight="bold")
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
    count = len(factual)
    columns = columns or (1 if count <= 4 else 2 if count <= 24 else 3)
    columns = min(columns, count)
    limits = _limits(torch.stack([images - factual for _, images in found]))
    heads = ["original", *(head for name, _ in found for head in (name, "difference"))]
    wide, gap, between, line, head, foot = 1.25, 0.05, 0.25, 0.2, 0.25, 0.5
    if width is not None:
        wide = ((width - 0.2 + between) / columns - between + gap) / len(heads) - gap
    high = wide * factual.shape[-2] / factual.shape[-1]
    block, row = len(heads) * (wide + gap) - gap, high + line + 0.08
    width = columns * (block + between) - between + 0.2
    figure, axes = _sheet(width, head + -(-count // columns) * row + foot)
    for column in range(columns):
        for k, name in enumerate(heads):
            x = 0.1 + column * (block + between) + k * (wide + gap)
            centre = x + wide / 2
            axes.text(centre, 0.17, _plain(name), fontsize=SMALL, color=_DIM, ha="center")
    for index, caption in enumerate(captions):
        x = 0.1 + (index % columns) * (block + between)
        y = head + (index // columns) * row
        axes.text(x, y + line - 0.06, _plain(caption), fontsize=SMALL, va="baseline")
        boxes = [(x + k * (wide + gap), y + line, wide, high) for k in range(len(heads))]
        _show(axes, factual[index], box=boxes[0])
        for k, (_, images) in enumerate(found):
            _show(axes, images[index], box=boxes[2 * k + 1])
            _show(axes, images[index] - factual[index], limits, DIVERGING, boxes[2 * k + 2])
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
    wide, gap, line = 1.25, 0.05, 0.0 if captions is None else 0.2
    high = wide * images.shape[-2] / images.shape[-1]
    width = columns * (wide + gap) + gap
    figure, axes = _sheet(width, -(-len(images) // columns) * (high + line + gap) + gap)
    for index, image in enumerate(images):
        x = gap + (index % columns) * (wide + gap)
        y = gap + (index // columns) * (high + line + gap)
        _show(axes, image, box=(x, y + line, wide, high))
        if captions is not None:
            axes.text(x, y + line - 0.06, _plain(captions[index]), fontsize=SMALL, va="baseline")
    return figure


def activation_bars(changes: Sequence[tuple[str, float]]) -> Figure:
    """Draw how much each layer's activations change from factual to counterfactual.

    Args:
        changes: pairs of a layer's name and the L2 norm of its change, in any order; the largest
            is drawn on top.

    Raises:
        ValueError: if there is no layer.
    """
    if not changes:
        raise ValueError("expected at least one layer, got none; name layers that the network has")
    ordered = sorted(changes, key=lambda change: change[1], reverse=True)
    names = [_plain(name) for name, _ in ordered]
    norms = [norm for _, norm in ordered]
    figure = Figure(figsize=(5, 0.9 + 0.24 * len(ordered)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(range(len(ordered)), norms, color=AFTER, height=0.7)
    axes.bar_label(bars, fmt="%.3g", padding=3, fontsize=SMALL)
    axes.set_yticks(range(len(ordered)), names, fontsize=SMALL)
    axes.invert_yaxis()
    axes.set_xlabel("L2 norm of the change in activations", fontsize=TEXT)
    axes.margins(x=0.12)
    quiet(axes)
    return figure


def tradeoff(rows: Sequence[Mapping[str, float]], cost: str = "l2") -> Figure:
    """Draw what validity costs: one labelled point for each weight of the distance term.

    Args:
        rows: one mapping a weight, with the keys `lambda`, `validity` (a share in [0, 1]) and
            the cost's.
        cost: what stands on the horizontal axis: l1, l2, linf, changed or ssim.

    Raises:
        ValueError: if there is no row, or a row lacks one of the keys.
    """
    needed = {"lambda", "validity", cost}
    if not rows or any(needed - row.keys() for row in rows) or cost not in COSTS:
        raise ValueError(
            f"expected rows with the keys {', '.join(sorted(needed))} and a cost among "
            f"{', '.join(COSTS)}, got {[sorted(row) for row in rows]}; measure the sweep first"
        )
    ordered = sorted(rows, key=lambda row: row["lambda"])
    x, y = [row[cost] for row in ordered], [row["validity"] for row in ordered]
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(x, y, color=BEFORE, linewidth=1, zorder=1)
    axes.scatter(x, y, color=AFTER, s=28, zorder=2)
    for row, across, up in zip(ordered, x, y, strict=True):
        axes.annotate(
            f"λ = {row['lambda']:g}",
            (across, up),
            xytext=(5, -10),
            textcoords="offset points",
            fontsize=SMALL,
        )
    axes.set_xlabel(COSTS[cost], fontsize=TEXT)
    axes.set_ylabel("validity", fontsize=TEXT)
    axes.set_ylim(-0.05, 1.05)
    axes.margins(x=0.14)
    quiet(axes)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG (200 dots an inch) or PDF, whole or not at all.

    Raises:
        ValueError: if the file's name ends neither in .png nor in .pdf, or if it cannot be
            written.
    """
    suffix = path.suffix.lower()
    if suffix not in (".png", ".pdf"):
        raise ValueError(f"expected a file ending in .png or .pdf, got {path}; rename it")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix[1:], dpi=200)
    make_folder(path.parent)
    write_file(path, buffer.getvalue())
    return path


def _probabilities(
    axes: Axes,
    classes: Sequence[str],
    before: Float[Tensor, " classes"],
    after: Float[Tensor, " classes"],
) -> None:
    """Draw two horizontal bars a class, with their values."""
    rows = range(len(classes))
    for offset, p, colour, name in (
        (-0.2, before, BEFORE, "original"),
        (0.2, after, AFTER, "counterfactual"),
    ):
        bars = axes.barh(
            [row + offset for row in rows], p.tolist(), height=0.36, color=colour, label=name
        )
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=SMALL)
    axes.set_yticks(rows, [_plain(name) for name in classes], fontsize=SMALL)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15)
    axes.set_xticks((0, 0.5, 1))
    axes.set_title("Probabilities", fontsize=TEXT, pad=20)
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=SMALL, frameon=False
    )
    quiet(axes)


def _show(
    axes: Axes,
    image: Image,
    limits: tuple[float, float] = (0, 1),
    cmap: str = "gray",
    box: tuple[float, float, float, float] | None = None,
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


def quiet(axes: Axes) -> None:
    """Leave only the two axis lines that are read."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL)


def legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    """Draw the legend of one axes, which stands for all, below them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, fontsize=SMALL, frameon=False
    )


def _scale_below(figure: Figure, change: AxesImage) -> None:
    """Draw the colour bar that all differences of a grid share."""
    width, height = figure.get_size_inches()
    long = min(3.0, 0.6 * width)
    axes = figure.add_axes(((0.5 - long / width / 2), 0.2 / height, long / width, 0.07 / height))
    bar = figure.colorbar(change, cax=axes, orientation="horizontal")
    bar.ax.tick_params(labelsize=SMALL - 1, length=2, pad=1)
    bar.ax.set_title(_CHANGE, fontsize=SMALL - 1, pad=2)


def _plain(text: str) -> str:
    """Return a text that matplotlib does not take for mathematics, as it takes dollar signs."""
    return text.replace("$", r"\$")


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
