"""What every training begins with: the bundle's description, its split and its images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

import yaml

from cfgen.data.duplicates import find_duplicates
from cfgen.data.samples import Sample, Source
from cfgen.data.sources import open_source
from cfgen.data.splits import (
    check_leaks,
    cut_validation,
    describe,
    read_split,
    samples_of,
    write_split,
)
from train.data import ImageSet
from train.recipe import Recipe


def open_data(recipe: Recipe) -> Source:
    """Open a recipe's data, and say what is in it.

    Raises:
        ValueError: it is not to be had, or a patient stands in two splits.
    """
    source = open_source(recipe.data, recipe.classes, size=recipe.preprocessing.size)
    check_leaks(source.samples)
    sys.stderr.write(describe(source) + "\n")
    return source


def prepare(recipe: Recipe) -> tuple[Source, ImageSet, ImageSet]:
    """Open the data, make or check the bundle, and read training and validation images.

    The first training of a bundle writes its bundle.yaml and split.csv; each later one must agree
    with them, so that all models of a bundle see the same images in the same way.

    Raises:
        ValueError: data and bundle do not agree, a patient stands on two sides, or a class has no
            image on one.
    """
    source = open_data(recipe)
    _report_duplicates(source)
    _agree(recipe.bundle / "bundle.yaml", recipe, source)
    split = recipe.bundle / "split.csv"
    if not split.exists():
        write_split(split, cut_validation(source.of("train")))
    train, val = (
        ImageSet(source, split_samples(recipe, source, side), recipe.preprocessing)
        for side in ("train", "val")
    )
    _check_classes(source, train, "training")
    _check_classes(source, val, "validation")
    return source, train, val


def split_samples(recipe: Recipe, source: Source, split: str) -> list[Sample]:
    """Samples of a split: 'train' and 'val' as the bundle cuts them, others as the data does.

    Raises:
        ValueError: the bundle does not know an image, or a patient stands on two sides.
    """
    path = recipe.bundle / "split.csv"
    if split in ("train", "val"):
        _check_cut(path, source.of("train"))
    return samples_of(source, split, path)


def _check_cut(path: Path, pool: Sequence[Sample]) -> None:
    sides = read_split(path)
    unknown = [sample.path for sample in pool if sample.path not in sides]
    if unknown:
        raise ValueError(
            f"expected every training image in {path}, got none of {unknown[:3]} "
            f"({len(unknown)} in all); do train new data into a new bundle"
        )
    check_leaks(pool, sides)


def _agree(path: Path, recipe: Recipe, source: Source) -> None:
    ours = {
        "classes": list(source.classes),
        "size": recipe.preprocessing.size,
        "preprocessing": asdict(recipe.preprocessing),
        **({"borrows": recipe.borrows} if recipe.borrows else {}),
    }
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(path, yaml.safe_dump(ours, sort_keys=False))
    theirs = yaml.safe_load(path.read_text())
    if theirs != ours:
        raise ValueError(
            f"expected data and recipe to agree with {path} ({theirs}), got {ours}; do train "
            "into another bundle, or mend the recipe"
        )


def _write_whole(path: Path, text: str) -> None:
    # Processes that torchrun or Slurm starts together may all write it, each its own file first.
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.part")
    temporary.write_text(text)
    temporary.replace(path)


def _check_classes(source: Source, images: ImageSet, use: str) -> None:
    missing = [name for i, name in enumerate(source.classes) if i not in images.labels]
    if missing:
        raise ValueError(
            f"expected {use} images of every class in {source.name}, got none of "
            f"{', '.join(missing)}; do add some, of two patients at least, or leave the class out"
        )


def _report_duplicates(source: Source) -> None:
    groups = find_duplicates(source)
    if groups:
        named = "; ".join(" = ".join(group) for group in groups[:3])
        sys.stderr.write(f"{len(groups)} groups of byte-identical files, such as {named}\n")
