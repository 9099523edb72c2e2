"""How similar do two images look, by the measures of piq that need no weights?"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from jaxtyping import Float
from torch import Tensor

from cfgen.types import Images

LEAST_SIDE = 41
"""Pixels that the widest window, VIF's, needs over its four scales."""


def perceptual(factual: Images, image: Images) -> dict[str, Float[Tensor, " batch"]]:
    """Return GMSD, FSIM, HaarPSI and VIFp of grey images with a data range of 1, by piq.

    `gmsd`, gradient magnitude similarity deviation (Xue et al. 2014), is 0 for images alike, and
    lower is more alike; `fsim`, feature similarity (Zhang et al. 2011), and `haarpsi`, Haar wavelet
    similarity (Reisenhofer et al. 2018), are in [0, 1], higher is more alike; `vif`, visual
    information fidelity in pixels (Sheikh and Bovik 2006), is 1 for images alike, higher keeps more
    of the factual, and above 1 contrast is raised. Needs `pip install 'cfgen[metrics]'`.

    Args:
        factual: the reference.
        image: what is compared to it.

    Raises:
        ValueError: piq is not installed, or an image is smaller than `LEAST_SIDE` a side.
    """
    side = min(factual.shape[-2:])
    if side < LEAST_SIDE:
        raise ValueError(
            f"expected images of at least {LEAST_SIDE} pixels a side, got {side}; compare them at "
            "a larger size."
        )
    piq, pair = _piq(), (image.clamp(0, 1), factual.clamp(0, 1))
    return {
        "gmsd": piq.gmsd(*pair, reduction="none"),
        "fsim": piq.fsim(*pair, reduction="none", chromatic=False),
        "haarpsi": piq.haarpsi(*pair, reduction="none"),
        "vif": piq.vif_p(*pair, reduction="none"),
    }


def _piq() -> ModuleType:
    try:
        return import_module("piq")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"expected the package piq, got none ({error}); do pip install 'cfgen[metrics]', or "
            "leave perceptual out."
        ) from error
