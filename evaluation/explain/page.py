"""explanation.html: one page that needs no network and no other file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from cfgen.types import Image
from evaluation.explain import words
from evaluation.explain.case import Case
from evaluation.explain.lines import Line, outline, strongest
from evaluation.explain.plots import speaker
from evaluation.explain.response import SHOWN, STRENGTHS, Response
from evaluation.explain.text import JUDGES_NOTE, draws, evidence, size_of_change
from evaluation.figures.style import DIVERGING
from evaluation.pages import as_data, environment, grey_levels, webp

WIDTH, HEIGHT, _ABOVE, _BELOW = 700, 190, 10, 34
"""Of the curve, in units of its drawing."""
_TEMPLATES = Path(__file__).parent / "templates"
_QUALITY = 90


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
    return (
        environment(_TEMPLATES)
        .get_template("explanation.html.j2")
        .render(
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
            moving=as_data(moving, "webp"),
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
    )


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
    return webp(grey_levels(image), quality=_QUALITY)


def _coloured(change: Image, limit: float) -> str:
    share = (change[0].cpu().numpy() / limit + 1) / 2
    coloured = (colormaps[DIVERGING](share)[..., :3] * 255).round().astype(np.uint8)
    return webp(coloured, quality=_QUALITY)
