"""Writes phantoms as image files, to look at or to try one's own tools on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

from cfgen.data.phantom import CLASSES, Phantom, of_path, samples
from evaluation import figures
from evaluation.writing import make_folder


def phantoms(out: Path, count: int = 24, size: int = 128, shortcut: float = 0.0) -> Path:
    """Write test phantoms as a class-folder tree with their masks and true counterfactuals.

    OUT/test/CLASS/NAME.png are the images, OUT/{truth,lungs,opacity,marker}/CLASS/NAME.png what is
    known of each, and OUT/sheet.png shows images and true counterfactuals side by side.

    Args:
        out: folder to write into; made where it is missing.
        count: how many, half of each class; an even number.
        size: height and width in pixels.
        shortcut: how strongly a lettering marker is tied to the class, from 0 to 1.

    Returns:
        The sheet's path.
    """
    drawn = []
    for sample in tqdm(samples({"test": count}, shortcut), desc="draw", unit="phantom"):
        phantom = of_path(sample.path, size)
        place = Path(CLASSES[phantom.label]) / Path(sample.path).name
        _write(out / "test" / place, phantom.image)
        for name in ("truth", "lungs", "opacity", "marker"):
            _write(out / name / place, getattr(phantom, name))
        drawn.append(phantom)
    return figures.save(_sheet(drawn), out / "sheet.png")


def _write(path: Path, image: torch.Tensor) -> None:
    make_folder(path.parent)
    Image.fromarray((image[0].float() * 255).round().numpy().astype(np.uint8)).save(path)


def _sheet(drawn: Iterable[Phantom]) -> Figure:
    pairs = [pair for phantom in drawn for pair in (phantom.image, phantom.truth)]
    return figures.contact_sheet(torch.stack(pairs))
