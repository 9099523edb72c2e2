"""The anatomy of the chest phantom: random proportions, and the X-ray attenuation they cast.

Everything is a function of continuous coordinates in the patient's frame, so that one anatomy can
be drawn at any size. x runs from the patient's right (the left of a frontal image) to the left, y
from head to feet, and the uncropped image is about [-1, 1] in both. Attenuation is a line integral
in arbitrary units: 0 in air, about 1 through the soft tissue of the chest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.random import Generator
from scipy.ndimage import map_coordinates

Field = Float[np.ndarray, "..."]

SOFT_TISSUE = 1.02
ABDOMEN = 0.3
LATTICE = 32


def step(distance: Field, width: float | Field) -> Field:
    """Smooth step from 0 to 1 across distance 0, with an edge about `width` wide."""
    t = np.minimum(np.maximum(distance / width + 0.5, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


def ellipse(
    x: Field, y: Field, centre: tuple[float, float], axes: tuple[float, float], angle: float = 0.0
) -> Field:
    """Distance, about, to the outline of an ellipse: positive inside it."""
    cos, sin = np.cos(angle), np.sin(angle)
    dx, dy = x - centre[0], y - centre[1]
    u, v = (cos * dx + sin * dy) / axes[0], (cos * dy - sin * dx) / axes[1]
    return (1.0 - np.sqrt(u * u + v * v)) * min(axes)


@dataclass(frozen=True)
class Anatomy:
    """Proportions of one chest; lengths in units of half the uncropped image.

    Example:
        >>> chest = Anatomy.random(np.random.default_rng(0))
        >>> lung, air = chest.air(np.array([-0.35, 0.0]), np.array([0.0, 0.2]))
        >>> bool(lung[0] > 0.9), bool(lung[1] < 0.1)
        (True, True)
    """

    half_width: float
    apex: float
    base: float
    roundness: float
    dome: float
    dome_left: float
    dome_drop: float
    aeration: float
    wall: float
    arms: float
    shoulder: float
    chin: float
    heart: float
    heart_angle: float
    heart_drop: float
    mediastinum: float
    knob: float
    turn: float
    spine_bend: float
    spine: float
    rib_spacing: float
    rib_phase: float
    rib_sag: float
    rib_front: float
    rib_width: float
    bone: float
    clavicle: float
    clavicle_drop: float
    vessels: float
    bubble: float
    bubble_x: float
    texture: Float[np.ndarray, "rows columns"]

    @classmethod
    def random(cls, rng: Generator) -> Anatomy:
        """Draw the proportions of a chest."""
        u = rng.uniform
        dome = u(0.26, 0.42)
        return cls(
            half_width=u(0.60, 0.74),
            apex=u(-0.76, -0.66),
            base=dome + u(0.12, 0.22),
            roundness=u(2.4, 3.6),
            dome=dome,
            dome_left=u(0.02, 0.09),
            dome_drop=u(0.14, 0.26),
            aeration=u(0.56, 0.72),
            wall=u(0.07, 0.22),
            arms=float(rng.choice([-1.0, 1.0])) * u(0.1, 0.3),
            shoulder=u(-0.9, -0.76),
            chin=u(-1.6, -1.05),
            heart=u(0.84, 1.14),
            heart_angle=u(0.55, 0.95),
            heart_drop=u(0.0, 0.06),
            mediastinum=u(0.11, 0.16),
            knob=u(0.6, 1.2),
            turn=u(-0.05, 0.05),
            spine_bend=u(-0.04, 0.04),
            spine=u(0.075, 0.1),
            rib_spacing=u(0.13, 0.175),
            rib_phase=u(0.0, 1.0),
            rib_sag=u(0.10, 0.30),
            rib_front=u(0.18, 0.40),
            rib_width=u(0.17, 0.25),
            bone=u(0.7, 1.2),
            clavicle=u(0.026, 0.038),
            clavicle_drop=u(-0.04, 0.06),
            vessels=u(0.6, 1.3),
            bubble=max(0.0, u(-1.0, 1.0)),
            bubble_x=u(0.22, 0.42),
            texture=rng.standard_normal((LATTICE, LATTICE)),
        )

    def cage(self, y: Field) -> Field:
        """Half-width of the rib cage: a rounded top, widest at the base, narrowing below it."""
        t = np.clip((y - self.apex + 0.03) / (self.base - self.apex), 0.0, 1.35)
        rise = np.sqrt(1.0 - (1.0 - np.minimum(t, 1.0)) ** self.roundness)
        return self.half_width * (rise - 0.35 * np.maximum(t - 0.95, 0.0)) + 1e-3

    def diaphragm(self, x: Field) -> Field:
        """Height of the domes: the patient's right one higher, both falling at the sides."""
        across = np.abs(x)
        outward = np.maximum(across - 0.26, 0.0) / (self.half_width - 0.26)
        inward = np.maximum(0.26 - across, 0.0) / 0.26
        left = self.dome_left * step(x, 0.2)
        return self.dome + left + self.dome_drop * outward**2.2 + 0.05 * inward**2

    def middle(self, x: Field, y: Field) -> Field:
        """Distance into the heart and mediastinum from their common outline: positive inside."""
        x = x - self.turn * 0.7
        size, low = self.heart, self.heart_drop
        outline = self.mediastinum + 0.02 * step(-0.5 - y, 0.3) - np.abs(x)
        for part in (
            ellipse(x, y, (0.12, -0.1 + low), (0.085, 0.2)),
            ellipse(x, y, (-0.04, 0.2 + low), (0.165 * size, 0.48)),
            ellipse(x, y, (0.16, 0.26 + low), (0.38 * size, 0.25 * size), self.heart_angle),
            ellipse(x, y, (0.105, -0.28), (0.07 * self.knob, 0.085)),
        ):
            outline = 0.5 * (outline + part + np.sqrt((outline - part) ** 2 + 0.0016))
        return outline - 0.02

    def air(self, x: Field, y: Field) -> tuple[Field, Field]:
        """Return the soft mask of the lungs in [0, 1], and the attenuation their air removes."""
        return self._air(x, y, self.middle(x, y), self.diaphragm(x))

    def _air(self, x: Field, y: Field, middle: Field, floor: Field) -> tuple[Field, Field]:
        across = np.abs(x)
        cage = self.cage(y)
        top = y - self.apex - 2.2 * np.maximum(0.32 - across, 0.0) ** 2
        lung = step(cage - across, 0.05) * step(top, 0.04) * step(floor - y, 0.025)
        lung *= step(-middle, 0.03)
        along = np.square(across / cage)
        depth = np.sqrt(np.clip(1.15 - along * along, 0.1, 1.0))
        return lung, lung * depth * self.aeration * SOFT_TISSUE * self.thickness(x)

    def thickness(self, x: Field) -> Field:
        """Thickness of the trunk, 1 at its middle, 0 outside."""
        edge = self.half_width + self.wall
        across = np.square(x / edge)
        return np.sqrt(np.maximum(1.0 - across * across, 0.0))

    def attenuation(self, x: Field, y: Field) -> tuple[Field, Field, Field]:
        """Return the attenuation of the whole chest, the lungs' mask and their missing tissue."""
        middle, floor = self.middle(x, y), self.diaphragm(x)
        lung, air = self._air(x, y, middle, floor)
        total = self._soft_tissue(x, y, middle, y - floor) - air
        total += self._ribs(x, y) + self._spine(x, y) + self._shoulders(x, y)
        total += self._vessels(x, y) * lung
        return np.maximum(total, 0.0), lung, air

    def skin(self, x: Field) -> Field:
        """Height of the upper outline of the body: neck, shoulders and raised or hanging arms."""
        across = np.abs(x)
        height = self.shoulder + 0.32 * across - 0.014 / np.maximum(across - 0.17, 0.01)
        return height + 1.1 * np.sign(self.arms) * np.maximum(across - 0.78, 0.0)

    def _soft_tissue(self, x: Field, y: Field, middle: Field, under: Field) -> Field:
        across = np.abs(x)
        down = np.sign(self.arms)
        axilla = -0.27 + down * (0.06 + 1.2 * (across - 0.8))
        girdle = (0.95 - 0.2 * across) * step(axilla - y, 0.25)
        trunk = self.thickness(x)
        body = np.maximum(trunk, girdle) * step(y - self.skin(x), 0.15)
        bone_x = 1.0 + self.arms * (y + 0.45)
        arm = np.maximum(1.0 - np.square((across - bone_x - 0.06) / 0.22), 0.0)
        body = SOFT_TISSUE * np.maximum(body, 0.65 * np.sqrt(arm) * step(y * down + 0.4, 0.3))
        body += 0.45 * step(ellipse(x, y, (0.0, self.chin), (0.46, 0.3)), 0.16)
        body += ABDOMEN * step(under - 0.08, 0.3) * trunk
        body += (0.06 + 0.1 * step(middle - 0.08, 0.22)) * step(middle, 0.04) * step(-under, 0.1)
        gas = ellipse(x, y, (self.bubble_x, self.dome + self.dome_left + 0.14), (0.16, 0.13))
        gas = np.minimum(gas, 1.4 * (under - 0.05))
        return body - 0.45 * self.bubble * step(gas, 0.09)

    def _ribs(self, x: Field, y: Field) -> Field:
        cage = self.cage(y)
        along = np.abs(x - self.turn * 0.3) / cage
        sag = self.rib_sag * np.minimum(along, 1.0) ** 2
        back = self._rib(y - sag)
        front = self._rib(y - self.rib_sag - self.rib_front * (1.0 - np.minimum(along, 1.0) ** 1.5))
        tangent = 1.0 + 1.3 * np.square(np.square(np.minimum(along, 1.0) ** 2))
        density = 0.17 * back + 0.1 * front * step(along - 0.55, 0.3)
        inside = step(1.04 - along, 0.09) * step(y - self.apex + 0.02, 0.08)
        return self.bone * density * tangent * inside * (1.0 - 0.7 * step(y - self.base, 0.4))

    def _rib(self, y: Field) -> Field:
        t = y / (self.rib_spacing * (1.0 + 0.12 * y)) + self.rib_phase
        off = np.abs(t - np.round(t)) / self.rib_width
        return step(1.0 - off, 0.55) * (0.75 + 0.4 * np.minimum(off * off, 1.0))

    def _spine(self, x: Field, y: Field) -> Field:
        x = x - self.spine_bend * (y * y - 0.3)
        across = np.abs(x)
        body = step(self.spine - across, 0.035)
        t = y / (self.rib_spacing * 0.98) + self.rib_phase
        disc = step(0.14 - np.abs(t - np.round(t)), 0.14)
        process = step(0.3 - np.abs(t - 0.45 - np.round(t - 0.45)), 0.2) * step(0.02 - across, 0.02)
        bone = self.bone * (0.24 * body * (1.0 - 0.35 * disc) + 0.07 * process)
        windpipe = step(0.036 - np.abs(x - 0.012), 0.028) * step(-0.18 - y, 0.1)
        fork = np.abs(across - 0.036 - 0.75 * np.maximum(y + 0.2, 0.0))
        bronchi = step(0.028 - fork, 0.03) * step(y + 0.2, 0.06) * step(-0.02 - y, 0.12)
        return bone - 0.36 * windpipe - 0.14 * bronchi

    def _shoulders(self, x: Field, y: Field) -> Field:
        inner = np.abs(x - self.turn)
        s = np.clip((inner - 0.06) / 0.72, 0.0, 1.0)
        inner_end, outer_end = self.apex + 0.17, self.shoulder + 0.35 + self.clavicle_drop
        bend = 0.1 * np.sin(np.pi * (s * 1.35 - 0.15))
        height = inner_end + (outer_end - inner_end) * s - bend
        off = np.abs(y - height) / (self.clavicle * (1.0 + 0.5 * (1.0 - s) ** 4))
        clavicle = step(1.0 - off, 0.6) * (0.75 + 0.35 * np.minimum(off, 1.0) ** 2)
        clavicle *= step(inner - 0.055, 0.03) * step(0.8 - inner, 0.06)
        across = np.abs(x)
        border = across - 0.58 - 0.12 * (y + 0.5) - 0.1 * (self.half_width - 0.67)
        blade = step(border, 0.05) * step(0.28 - border + 0.35 * np.minimum(-y, 0.0), 0.2)
        blade *= step(y + 0.62, 0.15) * step(-0.05 - y, 0.3)
        bone_x = 1.0 + self.arms * (y + 0.45)
        away = np.sign(self.arms) * (y + 0.5)
        humerus = np.maximum(
            ellipse(x=across, y=y, centre=(0.96, -0.5), axes=(0.11, 0.12)),
            np.where(away > 0.0, 0.055 - np.abs(across - bone_x), -1.0),
        )
        bone = 0.3 * clavicle + 0.07 * blade + 0.3 * step(humerus, 0.05)
        return self.bone * bone

    def _vessels(self, x: Field, y: Field) -> Field:
        """Hilum and branching vessels: the crests of a noise drawn out along rays from it."""
        dx, dy = np.abs(x) - 0.17, y + 0.01
        radius = np.sqrt(dx * dx + dy * dy)
        turn = np.arctan2(dy, dx) * (LATTICE / (2.0 * np.pi))
        reach = np.log(radius + 0.06) * 2.2
        side = (x > 0.0).astype(np.float64)
        noise = map_coordinates(
            self.texture, [turn, reach + 13.0 * side], order=2, mode="grid-wrap", prefilter=False
        )
        crest = np.maximum(1.0 - np.abs(noise) / 0.22, 0.0)
        fade = np.exp(-radius / 0.26)
        return self.vessels * (0.4 * crest * fade + 0.3 * np.exp(-((radius / 0.1) ** 2)))
