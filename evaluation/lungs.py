"""Shows how good a bundle's lung masks are: outlines on films nobody has picked, and areas."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch
from jaxtyping import Bool
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from cfgen.data.pixels import UnreadableImage
from cfgen.data.preprocessing import preprocessing_of
from cfgen.data.samples import choose
from cfgen.data.sources import open_source
from cfgen.data.splits import samples_of
from cfgen.models.bundle import load_bundle
from cfgen.types import Images
from evaluation.figures.style import ORANGE, literal
from evaluation.writing import make_folder, write_file

COLUMNS = 8
OUTLINE = ORANGE
Masks = Bool[Tensor, "batch 1 height width"]


def lungs(
    bundle: str,
    data: str,
    out: Path,
    split: str = "val",
    count: int = 24,
    limit: int | None = None,
    note: str = "",
) -> str:
    """Outline the lungs of films, and write how much of a film they are in each class.

    OUT/lungs.jpeg shows the first films in the order of their hashed names, the classes in turn.
    OUT/areas.csv has a row a class: films, mean area of the mask as a share of the image, its
    standard deviation and its 5th and 95th percentile. A mask that shrinks on one class tells the
    class to whoever uses it.

    Args:
        bundle: name of a shipped bundle, or a path with a slash in it.
        data: as for `cfgen search`.
        out: folder to write into; made where it is missing.
        split: of the data; 'val' is the bundle's own cut.
        count: films on the figure.
        limit: films measured, evenly from the classes; by default all.
        note: a line below the figure, such as who took the films.

    Returns:
        The table of areas.

    Raises:
        ValueError: something given is not to be had.
    """
    if count < 1:
        raise ValueError(f"expected a count of 1 or more, got {count}; leave it out for 24")
    models = load_bundle(bundle)
    source = open_source(data, models.classes, size=models.size)
    samples = choose(samples_of(source, split, models.path / "split.csv"), limit)
    prepare = preprocessing_of(models.preprocessing, models.path / "bundle.yaml")
    kept, films = [], []
    for sample in tqdm(samples, desc="reading", unit="film", mininterval=5):
        try:
            films.append(prepare(source.load(sample)))
        except UnreadableImage as error:
            sys.stderr.write(f"skipped: {error}\n")
        else:
            kept.append(sample)
    if not films:
        raise ValueError(f"expected readable images in {data}, got none; see above")
    images = torch.stack(films)
    with torch.inference_mode():
        masks = torch.cat([models.segmenter.lungs(batch) for batch in images.split(64)])
    make_folder(out)
    captions = [f"{sample.label}: {PurePosixPath(sample.path).stem}" for sample in kept[:count]]
    figure = overlay(images[:count], masks[:count], captions, note)
    picture = io.BytesIO()
    figure.savefig(picture, format="jpeg", dpi=110, pil_kwargs={"quality": 85, "optimize": True})
    write_file(out / "lungs.jpeg", picture.getvalue())
    table = areas(masks, [str(sample.label) for sample in kept])
    write_file(out / "areas.csv", table)
    return table


def areas(masks: Masks, labels: Sequence[str]) -> str:
    """Tabulate as CSV, class by class, the share of the image that the mask takes."""
    share = masks.flatten(1).double().mean(1)
    rows = ["class,films,mean,std,p5,p95"]
    for name in sorted(set(labels)):
        of = share[torch.tensor([label == name for label in labels])]
        low, high = of.quantile(torch.tensor([0.05, 0.95], dtype=of.dtype)).tolist()
        spread = float(of.std(correction=0))
        rows.append(f"{name},{len(of)},{float(of.mean()):.4f},{spread:.4f},{low:.4f},{high:.4f}")
    return "\n".join(rows) + "\n"


def overlay(images: Images, masks: Masks, captions: Sequence[str], note: str = "") -> Figure:
    """Draw films in rows with the outline of a mask on each, a caption above each."""
    columns = min(COLUMNS, len(images))
    wide, line, foot = 1.4, 0.16, 0.2 if note else 0.02
    rows = -(-len(images) // columns)
    width, height = columns * wide, rows * (wide + line) + foot
    figure = Figure(figsize=(width, height))
    for index, (image, mask, caption) in enumerate(zip(images, masks, captions, strict=True)):
        row, column = divmod(index, columns)
        bottom = height - (row + 1) * (wide + line)
        box = (column * wide / width, bottom / height, 0.98 * wide / width, 0.98 * wide / height)
        axes = figure.add_axes(box)
        axes.set_axis_off()
        axes.imshow(image[0].numpy(), cmap="gray", vmin=0, vmax=1, interpolation="bilinear")
        if mask.any():
            axes.contour(mask[0].float().numpy(), [0.5], colors=OUTLINE, linewidths=0.9)
        axes.set_title(literal(caption), fontsize=5, pad=1.5)
    figure.text(0.004, 0.05 / height, literal(note), fontsize=6)
    return figure
