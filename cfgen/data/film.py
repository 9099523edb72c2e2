"""How the chest phantom is put on film: position, exposure, blur, noise, collimation and marker.

The coordinates are those of the image: [-1, 1] from left to right and from top to bottom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from cfgen.data.anatomy import Field, ellipse, step

LETTERS = ("L", "R")


def grid(size: int) -> tuple[Field, Field]:
    """Image coordinates (x, y) of the centres of size x size pixels."""
    centres = (np.arange(size) + 0.5) * 2.0 / size - 1.0
    x, y = np.meshgrid(centres, centres)
    return x, y


@dataclass(frozen=True)
class Film:
    """Position of the patient and exposure of one film.

    Attributes:
        zoom: size of the patient, 1 being a chest that fills the image.
        tilt: rotation of the patient in the image plane, in radians.
        shift: position of the patient, (x, y).
        contrast: how fast the film darkens the lungs against the rest.
        gamma: bend of the display curve, gain and offset its ends.
        gradient: slope of the brightness over the image, (x, y).
        dose: photons a pixel, relative; the noise goes with its inverse root.
        blur: standard deviation of the blur, in half images.
        border: how far the collimator lets light through: left, right, top, bottom.
        shutter: brightness of what the collimator covers.
    """

    zoom: float
    tilt: float
    shift: tuple[float, float]
    contrast: float
    gamma: float
    gain: float
    offset: float
    gradient: tuple[float, float]
    dose: float
    blur: float
    border: tuple[float, float, float, float]
    shutter: float

    @classmethod
    def random(cls, rng: Generator) -> Film:
        """Draw a position and an exposure."""
        u = rng.uniform
        collimated = u() < 0.3
        left, right, top, bottom = (1.1 - 0.2 * rng.random(4)) if collimated else (1.2,) * 4
        return cls(
            zoom=u(0.98, 1.2),
            tilt=rng.normal(0.0, 0.035),
            shift=(u(-0.06, 0.06), u(-0.03, 0.13)),
            contrast=u(0.9, 1.45),
            gamma=u(0.95, 1.45),
            gain=u(0.92, 1.06),
            offset=u(0.0, 0.06),
            gradient=(u(-0.04, 0.04), u(-0.04, 0.04)),
            dose=float(np.exp(u(np.log(0.4), np.log(4.0)))),
            blur=u(0.006, 0.016),
            border=(left, right, top, bottom),
            shutter=u(0.0, 0.06),
        )

    def patient(self, x: Field, y: Field) -> tuple[Field, Field]:
        """Coordinates in the patient's frame of points of the image."""
        dx, dy = (x - self.shift[0]) / self.zoom, (y - self.shift[1]) / self.zoom
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        return cos * dx + sin * dy, cos * dy - sin * dx

    def expose(self, attenuation: Field, noise: Field) -> Field:
        """Brightness in [0, 1] of an attenuation, seen by counted photons.

        The photons behind an attenuation A are few, dose exp(-A), so the noise of its logarithm
        has the standard deviation exp(A / 2) / sqrt(dose): quantum noise.

        Args:
            attenuation: line integral of each pixel.
            noise: standard normal, of the same shape.
        """
        size = attenuation.shape[-1]
        noisy = attenuation + 0.009 * np.exp(attenuation / 2.0) / np.sqrt(self.dose) * noise
        opaque = -np.expm1(-self.contrast * np.maximum(noisy, 0.0))
        x, y = grid(size)
        slope = 1.0 + self.gradient[0] * x + self.gradient[1] * y
        shown = self.offset + self.gain * (opaque**self.gamma) * slope
        left, right, top, bottom = self.border
        edge = 2.0 / size
        lit = step(x + left, edge) * step(right - x, edge)
        lit *= step(y + top, edge) * step(bottom - y, edge)
        return np.clip(self.shutter + (shown - self.shutter) * lit, 0.0, 1.0)


@dataclass(frozen=True)
class Marker:
    """A letter of lead strokes in an upper corner.

    Attributes:
        letter: "R" beside the patient's right shoulder, or "L" beside the left one.
        centre: its place, (x, y).
        height: its height.
        brightness: its brightness in the image, in [0, 1].
    """

    letter: str
    centre: tuple[float, float]
    height: float
    brightness: float

    @classmethod
    def random(cls, rng: Generator) -> Marker:
        """Draw a letter, its place and its brightness."""
        letter = LETTERS[int(rng.integers(2))]
        side = 1.0 if letter == "L" else -1.0
        return cls(
            letter=letter,
            centre=(side * rng.uniform(0.82, 0.9), rng.uniform(-0.86, -0.79)),
            height=rng.uniform(0.21, 0.25),
            brightness=rng.uniform(0.8, 1.0),
        )

    def cover(self, x: Field, y: Field) -> Field:
        """Coverage by the letter's strokes, in [0, 1]."""
        u = (x - self.centre[0]) * 2.0 / self.height
        v = (y - self.centre[1]) * 2.0 / self.height
        stem = np.maximum(np.abs(u + 0.5), np.abs(v) - 0.85)
        if self.letter == "L":
            strokes = np.minimum(stem, np.maximum(np.abs(v - 0.85), np.abs(u) - 0.5))
        else:
            outline = np.abs(ellipse(u, v, (-0.1, -0.42), (0.58, 0.43)))
            bowl = np.where(u > -0.5, outline, 2.0)
            leg = np.maximum(np.abs(v - 0.4 - 0.9 * (u - 0.05)) * 0.75, np.abs(v - 0.43) - 0.45)
            strokes = np.minimum.reduce([stem, bowl, leg])
        return step(0.17 - strokes, 0.1)
