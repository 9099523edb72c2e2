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

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.random import Generator, SeedSequence, default_rng
from scipy.ndimage import gaussian_filter, map_coordinates
from torch import Tensor

from cfgen.data.anatomy import LATTICE, Anatomy, Field, ellipse, step
from cfgen.data.film import Film, Marker, grid
from cfgen.data.samples import Sample

CLASSES = ("NORMAL", "OPACITY")
DEFAULT_COUNTS: Mapping[str, int] = MappingProxyType({"train": 4000, "test": 400})
THRESHOLD = 0.02
"""Least change of brightness that counts as opacity."""
SUPERSAMPLING = 2
"""Samples along each side of a pixel, and more where that would be fewer than `LEAST_SAMPLES`."""
LEAST_SAMPLES = 64
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
    _check(seed, size, label, shortcut)
    anatomy_rng, opacity_rng, noise_rng, marker_rng, label_rng = map(
        default_rng, SeedSequence(seed).spawn(5)
    )
    if opacity is not None:
        opacity_rng = default_rng(SeedSequence(opacity).spawn(5)[1])
    label = int(label_rng.integers(2)) if label is None else label
    chest, film = Anatomy.random(anatomy_rng), Film.random(anatomy_rng)
    finer = max(SUPERSAMPLING, -(-LEAST_SAMPLES // size))
    x, y = grid(size * finer)
    attenuation, lung, air = chest.attenuation(*film.patient(x, y))
    filled = _filled(opacity_rng, chest, film, *film.patient(*grid(size)))
    blur = film.blur * size * finer / 2.0
    normal = _average(gaussian_filter(attenuation, blur, mode="nearest"), size)
    opaque = normal + filled * _average(gaussian_filter(air, blur, mode="nearest"), size)
    noise = noise_rng.standard_normal((size, size))
    films = np.stack([film.expose(normal, noise), film.expose(opaque, noise)])

    marked = np.zeros((size, size))
    if shortcut and marker_rng.random() < (1.0 + (2 * label - 1) * shortcut) / 2.0:
        marker = Marker.random(marker_rng)
        marked = _average(marker.cover(x, y), size)
        films += (marker.brightness - films) * marked
    films = films.astype(np.float32)
    return Phantom(
        image=torch.from_numpy(films[label][None]),
        truth=torch.from_numpy(films[1 - label][None]),
        lungs=torch.from_numpy(_average(lung, size)[None] > 0.5),
        opacity=torch.from_numpy(np.abs(films[1] - films[0])[None] > THRESHOLD),
        marker=torch.from_numpy(marked[None] > 0.0),
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
    known = _parse(path, size)
    return [draw(*known, opacity=OTHERS + number) for number in range(count)]


def _parse(path: str, size: int) -> tuple[int, int, int, float]:
    """Return the arguments of `draw` for the phantom that a path names."""
    match = _PATH.fullmatch(path)
    if match is None or match[1] not in SPLITS or match[2] not in CLASSES:
        raise ValueError(
            "expected a path such as 'test/OPACITY/phantom-20000001-s0.0.png', "
            f"got {path!r}; take one from cfgen.data.phantom.samples"
        )
    return int(match[3]), size, CLASSES.index(match[2]), float(match[4])


def _filled(rng: Generator, chest: Anatomy, film: Film, x: Field, y: Field) -> Field:
    """Draw an opacity: the share of the lungs' air that it replaces, in [0, 1)."""
    texture = rng.standard_normal((LATTICE, LATTICE))
    left = np.ones_like(x)
    for _ in range(int(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))):
        left *= 1.0 - _patch(rng, texture, _place(rng, chest, film), x, y)
    return 1.0 - left


def _place(rng: Generator, chest: Anatomy, film: Film) -> tuple[float, float]:
    """Choose a point well inside a lung and inside the image, in the patient's frame."""
    x, y = film.patient(*rng.uniform(-0.85, 0.85, (2, 256)))
    around = np.array([[-0.08, 0.0], [0.08, 0.0], [0.0, 0.08]])
    lung, _ = chest.air(x + around[:, :1], y + around[:, 1:])
    best = int(np.argmax(lung.min(axis=0)))
    return float(x[best]), float(y[best])


def _patch(
    rng: Generator, texture: Field, centre: tuple[float, float], x: Field, y: Field
) -> Field:
    """Draw one consolidation or infiltrate about a point: an uneven ellipse, perhaps lobar."""
    u = rng.uniform
    lobar = u() < 0.25
    reach = u(0.3, 0.5) if lobar else u(0.14, 0.3)
    density = u(0.28, 0.85)
    axes = (reach * u(0.6, 1.0), reach * u(0.6, 1.2))
    inside = ellipse(x, y, centre, axes, u(0.0, np.pi)) / min(axes)
    grain, offset = u(0.9, 1.5) / reach, u(0.0, LATTICE)
    coarse = _noise(texture, y * grain + offset, x * grain)
    fine = _noise(texture, y * 2.0 * grain + offset, x * 2.0 * grain + 7.0)
    shape = step(inside + 0.5 * coarse + 0.15 * fine - 0.25, u(0.7, 1.2))
    if lobar:
        slope = u(-0.35, 0.35)
        fissure = centre[1] + rng.choice([-1.0, 1.0]) * u(0.06, 0.15)
        below = y - fissure - slope * (x - centre[0])
        shape *= step(below * np.sign(centre[1] - fissure), 0.05)
    return density * shape * np.clip(0.85 + 0.4 * fine, 0.6, 1.1)


def _noise(texture: Field, row: Field, column: Field) -> Field:
    """Look up a smooth noise in [-1, 1]."""
    smooth = map_coordinates(texture, [row, column], order=2, mode="grid-wrap", prefilter=False)
    return np.clip(smooth, -1.0, 1.0)


def _average(field: Field, size: int) -> Field:
    """Average the samples of each of size x size pixels."""
    finer = field.shape[0] // size
    return field.reshape(size, finer, size, finer).mean(axis=(1, 3))


def _check(seed: int, size: int, label: int | None, shortcut: float) -> None:
    if seed < 0:
        raise ValueError(f"expected a seed of 0 or more, got {seed}; give a natural number")
    if size < 16:
        raise ValueError(f"expected a size of 16 or more pixels, got {size}; give 64, say")
    if label not in (None, 0, 1):
        raise ValueError(f"expected label 0, 1 or None, got {label}; index {CLASSES}")
    if not 0.0 <= shortcut <= 1.0:
        raise ValueError(f"expected a shortcut in [0, 1], got {shortcut}; 0 plants no marker")
