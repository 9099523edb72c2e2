"""The opacity of the chest phantom: one to three uneven patches, each well inside a lung."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy.ndimage import map_coordinates

from cfgen.data.anatomy import LATTICE, Anatomy, Field, ellipse, step
from cfgen.data.film import Film, grid


def draw_opacity(rng: Generator, chest: Anatomy, film: Film, size: int) -> Field:
    """Draw an opacity: the share of the lungs' air that it replaces, in [0, 1).

    Args:
        rng: of the opacity alone.
        chest: where the lungs are.
        film: how the patient stands before it.
        size: height and width in pixels.
    """
    x, y = film.patient(*grid(size))
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
