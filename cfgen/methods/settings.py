"""Settings of the methods, and how those that a command line gives become them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args, get_type_hints

from cfgen.objectives import DISTANCES

EditName = Literal["delta-denoising", "paired-residual", "class-mean", "random", "opposite"]
Decoding = Literal["residual", "plain"]


@dataclass(frozen=True)
class Descent:
    """Settings of a descent.

    Attributes:
        distance: a name in `cfgen.objectives.DISTANCES`.
        weight: of the distance, lambda.
        step_size: of Adam.
        steps: at most so many.
        decoding: of a latent space, see `cfgen.spaces.LatentSpace`.
    """

    distance: str = "l2"
    weight: float = 0.1
    step_size: float = 0.01
    steps: int = 1000
    decoding: Decoding = "residual"


@dataclass(frozen=True)
class LineSearch:
    """Settings of a line search.

    Attributes:
        first: first strength.
        growth: factor between strengths.
        steps: at most so many strengths.
        decoding: see `cfgen.spaces.LatentSpace`.
    """

    first: float = 0.05
    growth: float = 1.25
    steps: int = 40
    decoding: Decoding = "residual"


@dataclass(frozen=True)
class Approach:
    """Settings of a search by linearised steps, see `cfgen.search.approach`.

    Attributes:
        overshoot: share by which a step is longer than the linearised score asks for.
        steps: at most so many.
        halvings: of the way back to the boundary.
        decoding: see `cfgen.spaces.LatentSpace`.
    """

    overshoot: float = 0.05
    steps: int = 20
    halvings: int = 3
    decoding: Decoding = "residual"


@dataclass(frozen=True)
class Guided:
    """Settings of a search of where how much of an edit is seen, see `cfgen.methods.guidance`.

    Attributes:
        edit: which one: of the prior, or one of the controls.
        budget: SSIM to the factual that the edit keeps where the search starts.
        outside: strength of the edit outside the lungs where the search starts, of 1 inside; no
            bound, for the search may raise it anywhere. 1 for bundles without a segmenter.
        grid: places to a side of the strengths; between them they are interpolated.
        strongest: greatest strength that the search may give the edit anywhere.
        distance: a name in `cfgen.objectives.DISTANCES`.
        weight: of the distance, lambda.
        step_size: of the steps, in lengths of the strengths at the start.
        momentum: of the steps.
        steps: at most so many; 0 for the edit alone, the classifier ignored.
        decoding: see `cfgen.spaces.LatentSpace`.
    """

    edit: EditName = "delta-denoising"
    budget: float = 0.95
    outside: float = 0.05
    grid: int = 12
    strongest: float = 2.0
    distance: str = "l2"
    weight: float = 0.1
    step_size: float = 0.15
    momentum: float = 0.7
    steps: int = 30
    decoding: Decoding = "residual"

    def __post_init__(self) -> None:
        """Refuse a grid without places.

        Raises:
            ValueError: it is one.
        """
        if self.grid < 1:
            raise ValueError(f"expected a grid of at least 1 place to a side, got {self.grid}")


Settings = Descent | LineSearch | Approach | Guided


def with_overrides(
    method: str, settings: Settings, overrides: Mapping[str, int | float | str]
) -> Settings:
    """Return the settings of a method, some of them replaced.

    Raises:
        ValueError: there is no such setting, or it cannot have such a value.
    """
    known = [item.name for item in fields(settings)]
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        raise ValueError(
            f"expected settings of {method} among {', '.join(known)}, got {', '.join(unknown)}"
        )
    if overrides.get("distance", "l2") not in DISTANCES:
        raise ValueError(
            f"expected one of the distances {', '.join(DISTANCES)}, got {overrides['distance']!r}"
        )
    hints = get_type_hints(type(settings))
    chosen = {name: _typed(name, value, hints[name]) for name, value in overrides.items()}
    return replace(settings, **chosen)


def _typed(name: str, value: int | float | str, hint: object) -> int | float | str:
    """Return a setting as the type it is declared with: a command line knows only 20 or 20.0."""
    if hint is str or value in get_args(hint):
        return value
    if isinstance(value, int | float) and math.isfinite(value) and value >= 0:
        if hint is float:
            return float(value)
        if hint is int and value == int(value):
            return int(value)
    kinds: dict[object, str] = {int: "a whole number of 0 or more", float: "a number of 0 or more"}
    wanted = kinds.get(hint) or " or ".join(get_args(hint))
    raise ValueError(f"expected {wanted} as the setting {name}, got {value!r}; correct it")
