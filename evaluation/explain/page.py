"""explanation.html: one page that needs no network and no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from matplotlib import colormaps
from matplotlib.colors import to_hex
from PIL import Image as Picture

from cfgen.types import Image
from evaluation.explain import words
from evaluation.explain.case import Case
from evaluation.explain.lines import Line, outline, strongest
from evaluation.explain.plots import speaker
from evaluation.explain.response import SHOWN, STRENGTHS, Response
from evaluation.explain.text import JUDGES_NOTE, draws, evidence, size_of_change
from evaluation.figures.style import DIVERGING

WIDTH, HEIGHT, _ABOVE, _BELOW = 700, 190, 10, 34
"""Of the curve, in units of its drawing."""


class Curve(NamedTuple):
    """A model's line in the drawing."""

    name: str
    points: str
    before: str
    after: str
    p_before: float
    p_after: float


def page(case: Case, moving: bytes) -> str:
    """Write the page.

    Args:
        case: what it is of.
        moving: a WebP file of the way from factual to counterfactual.
    """
    heading, told = words.verdict(case)
    size = case.found.factual.shape[-2:]
    brighter, darker = strongest(case.change)
    layers = case.leading_layers(10)
    return _template().render(
        kicker=words.KICKER,
        case=case,
        found=case.found,
        words=words,
        verdict=heading,
        reasons=told,
        size=size,
        factual=_grey(case.found.factual),
        image=_grey(case.found.counterfactual),
        change=_coloured(case.change, case.limit),
        moving=_uri(moving),
        brighter=_path(brighter),
        darker=_path(darker),
        lungs=_path(outline(case.lungs)) if case.lungs is not None else "",
        stops=[to_hex(colormaps[DIVERGING](k / 10)) for k in range(11)],
        strip=_strip(case.response),
        curves=_curves(case.response),
        threshold=_y(case.response.threshold),
        frame={"width": WIDTH, "height": HEIGHT, "below": _BELOW, "one": _x(1.0), "y": _y},
        layers=layers,
        most=max((layer.relative for layer in layers), default=0) or 1,
        evidence=evidence(case),
        draws=_drawn(case),
        judges_note=JUDGES_NOTE,
        size_of_change=size_of_change(case),
    )


def _template() -> Template:
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("explanation.html.j2")


def _drawn(case: Case) -> list[dict[str, str]]:
    """What is shown of every draw, where there are several; all changes on one scale."""
    if len(case.draws) == 1:
        return []
    changes = [found.counterfactual - found.factual for found in case.draws]
    limit = max(float(change.abs().max()) for change in changes) or 1e-3
    return [
        row | {"image": _grey(found.counterfactual), "change": _coloured(change, limit)}
        for row, found, change in zip(draws(case), case.draws, changes, strict=True)
    ]


def _strip(response: Response) -> list[tuple[str, str]]:
    named = (f"{strength:g}" for strength in STRENGTHS[SHOWN])
    return list(zip(named, map(_grey, response.images[SHOWN]), strict=True))


def _curves(response: Response) -> list[Curve]:
    return [
        Curve(
            name=speaker(place, one.name),
            points=" ".join(
                f"{_x(s):.1f},{_y(p):.1f}" for s, p in zip(STRENGTHS, one.p, strict=True)
            ),
            before=one.before,
            after=one.after,
            p_before=one.p[0],
            p_after=one.p[STRENGTHS.index(1)],
        )
        for place, one in enumerate(response.opinions)
    ]


def _x(strength: float) -> float:
    """Place of a strength: under the middle of its image in the strip."""
    step = STRENGTHS[1] - STRENGTHS[0]
    return WIDTH * (strength + step) / (STRENGTHS[-1] + 2 * step)


def _y(p: float) -> float:
    """Place of a probability."""
    return _ABOVE + (1 - p) * (HEIGHT - _ABOVE - _BELOW)


def _path(lines: Sequence[Line]) -> str:
    """Lines as the data of an SVG path, the corner of the first pixel being 0."""
    joined = (" L".join(f"{x + 0.5:.1f} {y + 0.5:.1f}" for x, y in line) for line in lines)
    return " ".join(f"M{points}" for points in joined)


def _grey(image: Image) -> str:
    return _encoded((image[0].cpu().numpy() * 255).round().astype(np.uint8))


def _coloured(change: Image, limit: float) -> str:
    share = (change[0].cpu().numpy() / limit + 1) / 2
    return _encoded((colormaps[DIVERGING](share)[..., :3] * 255).round().astype(np.uint8))


def _encoded(pixels: UInt8[np.ndarray, "height width *rgb"]) -> str:
    buffer = io.BytesIO()
    Picture.fromarray(pixels).save(buffer, "WEBP", quality=90)
    return _uri(buffer.getvalue())


def _uri(webp: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(webp).decode("ascii")
