"""A procedural chest phantom: X-ray-like images whose true counterfactual is known.

Anatomy, opacity, noise, marker and label of a phantom come from five independent random streams of
its seed. The same chest with and without its opacity therefore exists exactly, and nothing but the
opacity (and, where it is asked for, the marker) knows the label.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cfgen.data.samples import Sample
from cfgen.data.scene import Scene, draw_scene

CLASSES = ("NORMAL", "OPACITY")
DEFAULT_COUNTS: Mapping[str, int] = MappingProxyType({"train": 4000, "test": 400})
THRESHOLD = 0.02
"""Least change of brightness that counts as opacity."""
SEEDS_PER_SPLIT = 10_000_000
SPLITS = ("train", "val", "test")
OTHERS = len(SPLITS) * SEEDS_PER_SPLIT
"""First seed of the opacities that are drawn in place of a phantom's own: of no phantom."""
_PATH = re.compile(r"([a-z]+)/([A-Z]+)/phantom-(\d{8})-s(\d(?:\.\d+)?(?:e-\d+)?)\.png")


@dataclass(frozen=True)
class Phantom:
    """A drawn chest and what is known about it.

    Attributes:
        image: the film, in [0, 1].
        truth: its true counterfactual: anatomy, exposure, noise and marker are those of `image`,
            the opacity is gone (from OPACITY) or there (in NORMAL).
        lungs: both lung fields, without the parts behind heart and diaphragm.
        opacity: where `image` and `truth` differ by more than `THRESHOLD`.
        marker: where the lettering marker is drawn; nowhere if there is none.
        label: index into `CLASSES`.
    """

    image: Float[Tensor, "1 size size"]
    truth: Float[Tensor, "1 size size"]
    lungs: Bool[Tensor, "1 size size"]
    opacity: Bool[Tensor, "1 size size"]
    marker: Bool[Tensor, "1 size size"]
    label: int


def draw(
    seed: int,
    size: int = 64,
    label: int | None = None,
    shortcut: float = 0.0,
    opacity: int | None = None,
) -> Phantom:
    """Draw the phantom of a seed.

    The anatomy is that of the seed at every size. It is sampled twice as finely as the image and
    averaged; the noise is drawn at the final size and is as strong in a pixel of any size.

    Args:
        seed: not negative; a seed and its arguments always give the same phantom.
        size: height and width in pixels, at least 16.
        label: index into `CLASSES`; the seed's own, either with the same chance, if None.
        shortcut: correlation s in [0, 1] of the marker with the label. The marker is present with
            the chance (1 + s) / 2 in OPACITY and (1 - s) / 2 in NORMAL; never if s is 0.
        opacity: seed of the opacity; the phantom's own if None.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> phantom = draw(7, size=64, label=1)
        >>> tuple(phantom.image.shape), CLASSES[phantom.label]
        ((1, 64, 64), 'OPACITY')
        >>> bool((phantom.truth == draw(7, size=64, label=0).image).all())
        True
    """
    scene = _scene(seed, size, label, shortcut)
    return _phantom(scene, seed if opacity is None else opacity)


def _scene(seed: int, size: int, label: int | None, shortcut: float) -> Scene:
    _check(seed, size, label, shortcut)
    return draw_scene(seed, size, label, shortcut)


def _phantom(scene: Scene, opacity: int) -> Phantom:
    """Return the phantom of a scene with the opacity of a seed."""
    films, label = torch.from_numpy(scene.films(opacity)), scene.label
    return Phantom(
        image=films[label, None],
        truth=films[1 - label, None],
        lungs=torch.from_numpy(scene.lung[None] > 0.5),
        opacity=(films[1, None] - films[0, None]).abs() > THRESHOLD,
        marker=torch.from_numpy(scene.marked[None] > 0.0),
        label=label,
    )


def samples(counts: Mapping[str, int] = DEFAULT_COUNTS, shortcut: float = 0.0) -> list[Sample]:
    """Name the phantoms of a data set; half of each split is NORMAL, and no two share a seed.

    Args:
        counts: how many phantoms each of the splits "train", "val" and "test" is to have; even.
        shortcut: see `draw`; it is part of the names.

    Raises:
        ValueError: if a split is unknown, a count odd or out of range, or the shortcut is.

    Example:
        >>> [sample.path for sample in samples({"test": 2}, shortcut=0.9)]
        ['test/NORMAL/phantom-20000000-s0.9.png', 'test/OPACITY/phantom-20000001-s0.9.png']
    """
    _check(0, 64, None, shortcut)
    found = []
    for split, count in counts.items():
        if split not in SPLITS:
            raise ValueError(f"expected splits among {SPLITS}, got {split!r}; rename it")
        if count % 2 or not 0 <= count <= SEEDS_PER_SPLIT:
            raise ValueError(
                f"expected an even count up to {SEEDS_PER_SPLIT} for {split!r}, got {count}; "
                "give one, since half of the phantoms are of each class"
            )
        first = SPLITS.index(split) * SEEDS_PER_SPLIT
        for seed in range(first, first + count):
            name = CLASSES[seed % 2]
            path = f"{split}/{name}/phantom-{seed:08d}-s{float(shortcut)!r}.png"
            found.append(Sample(path=path, label=name, split=split, patient=f"phantom-{seed:08d}"))
    return found


def of_path(path: str, size: int = 64) -> Phantom:
    """Draw the phantom that a path of `samples` names.

    Raises:
        ValueError: if the path names no phantom.

    Example:
        >>> of_path("test/OPACITY/phantom-20000001-s0.9.png").label
        1
    """
    return draw(*_parse(path, size))


def others_of_path(path: str, count: int, size: int = 64) -> list[Phantom]:
    """Draw the phantom that a path of `samples` names with other opacities in place of its own.

    All else is as it was. For a NORMAL phantom their truths are further true counterfactuals:
    there is more than one opacity that a chest could have.

    Args:
        path: of the phantom.
        count: of the opacities, the same for all phantoms.
        size: height and width in pixels.

    Raises:
        ValueError: if the path names no phantom.

    Example:
        >>> first, second = others_of_path("test/NORMAL/phantom-20000000-s0.0.png", 2)
        >>> bool((first.image == second.image).all()), bool((first.truth == second.truth).all())
        (True, False)
    """
    scene = _scene(*_parse(path, size))
    return [_phantom(scene, OTHERS + number) for number in range(count)]


def _parse(path: str, size: int) -> tuple[int, int, int, float]:
    """Return the arguments of `draw` for the phantom that a path names."""
    match = _PATH.fullmatch(path)
    if match is None or match[1] not in SPLITS or match[2] not in CLASSES:
        raise ValueError(
            "expected a path such as 'test/OPACITY/phantom-20000001-s0.0.png', "
            f"got {path!r}; take one from cfgen.data.phantom.samples"
        )
    return int(match[3]), size, CLASSES.index(match[2]), float(match[4])


def _check(seed: int, size: int, label: int | None, shortcut: float) -> None:
    if seed < 0:
        raise ValueError(f"expected a seed of 0 or more, got {seed}; give a natural number")
    if size < 16:
        raise ValueError(f"expected a size of 16 or more pixels, got {size}; give 64, say")
    if label not in (None, 0, 1):
        raise ValueError(f"expected label 0, 1 or None, got {label}; index {CLASSES}")
    if not 0.0 <= shortcut <= 1.0:
        raise ValueError(f"expected a shortcut in [0, 1], got {shortcut}; 0 plants no marker")
