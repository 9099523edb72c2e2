"""All of a chest phantom but its opacity: drawn once, put on film with any opacity.

Anatomy, opacity, noise, marker and label come from five independent random streams of a seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy.random import Generator, SeedSequence, default_rng
from scipy.ndimage import gaussian_filter

from cfgen.data.anatomy import Anatomy, Field
from cfgen.data.film import Film, Marker, grid
from cfgen.data.opacity import draw_opacity

SUPERSAMPLING = 2
"""Samples along each side of a pixel, and more where that would be fewer than `LEAST_SAMPLES`."""
LEAST_SAMPLES = 64


@dataclass(frozen=True)
class Scene:
    """A chest before the film, by pixel.

    Attributes:
        chest: its anatomy.
        film: how it is taken.
        normal: attenuation without an opacity.
        air: how much more there would be without air in the lungs.
        lung: share of the pixel that is lung.
        noise: standard normal.
        marked: share of the pixel that the lettering marker covers.
        brightness: of the marker.
        label: 0 without, 1 with an opacity.
    """

    chest: Anatomy
    film: Film
    normal: Field
    air: Field
    lung: Field
    noise: Field
    marked: Field
    brightness: float
    label: int

    def films(self, opacity: int) -> Float32[np.ndarray, "2 size size"]:
        """Put it on film without and with the opacity of a seed."""
        filled = draw_opacity(_streams(opacity)[1], self.chest, self.film, len(self.noise))
        opaque = self.normal + filled * self.air
        films = np.stack([self.film.expose(one, self.noise) for one in (self.normal, opaque)])
        films += (self.brightness - films) * self.marked
        return films.astype(np.float32)


def draw_scene(seed: int, size: int, label: int | None, shortcut: float) -> Scene:
    """Draw the scene of a seed, see `cfgen.data.phantom.draw`.

    Args:
        seed: not negative.
        size: height and width in pixels.
        label: 0 or 1; the seed's own if None.
        shortcut: correlation of the marker with the label, in [0, 1].
    """
    anatomy_rng, _, noise_rng, marker_rng, label_rng = _streams(seed)
    label = int(label_rng.integers(2)) if label is None else label
    chest, film = Anatomy.random(anatomy_rng), Film.random(anatomy_rng)
    finer = max(SUPERSAMPLING, -(-LEAST_SAMPLES // size))
    x, y = grid(size * finer)
    attenuation, lung, air = chest.attenuation(*film.patient(x, y))
    blur = film.blur * size * finer / 2.0
    marked, brightness = np.zeros((size, size)), 0.0
    if shortcut and marker_rng.random() < (1.0 + (2 * label - 1) * shortcut) / 2.0:
        marker = Marker.random(marker_rng)
        marked, brightness = _average(marker.cover(x, y), size), marker.brightness
    return Scene(
        chest=chest,
        film=film,
        normal=_average(gaussian_filter(attenuation, blur, mode="nearest"), size),
        air=_average(gaussian_filter(air, blur, mode="nearest"), size),
        lung=_average(lung, size),
        noise=noise_rng.standard_normal((size, size)),
        marked=marked,
        brightness=brightness,
        label=label,
    )


def _streams(seed: int) -> list[Generator]:
    """Return the random streams of anatomy, opacity, noise, marker and label."""
    return [default_rng(one) for one in SeedSequence(seed).spawn(5)]


def _average(field: Field, size: int) -> Field:
    """Average the samples of each of size x size pixels."""
    finer = field.shape[0] // size
    return field.reshape(size, finer, size, finer).mean(axis=(1, 3))
