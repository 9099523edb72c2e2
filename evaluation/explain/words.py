"""What is said of one image: whether it is familiar, what changed where, whether to believe it.

It is said of the model and of the image, never of whoever is on it.
"""

from __future__ import annotations

from typing import NamedTuple

from cfgen import metrics
from cfgen.metrics.zones import Zone
from cfgen.types import Outcome
from cfgen.verdict import CALIBRATED, Verdict
from evaluation.explain.case import Case

KICKER = "cfgen: what the model responds to. For research, not for diagnosis."
CONVENTION = (
    "Sides of the lungs are by radiological convention: the right lung is on the left of the image."
)
_ONE_WAY = 0.3
"""Balance of a zone's change from which it is called clearer or denser."""
_BESIDE = 0.5
"""Share of a zone, of the leading zone's, from which it is named beside it."""


class _Told(NamedTuple):
    """How zones and their changes are called."""

    place: str
    darker: str
    brighter: str
    mixed: str


_IN_LUNG = _Told(
    "{height} zone of the {side} lung",
    "clearer (darker)",
    "denser (brighter)",
    "clearer in some places and denser in others",
)
_IN_IMAGE = _Told(
    "{height} {side} quarter of the image",
    "darker",
    "brighter",
    "darker in some places and brighter in others",
)


def familiarity(case: Case) -> str:
    """Say whether the image is like those that the bundle was trained on."""
    known = case.found.familiarity
    if known is None:
        return f"Whether the image is like the training images of {case.bundle} was not checked."
    if known.familiar:
        return (
            f"The image is like the training images of {case.bundle}, as far as layout and texture "
            f"tell: distance {known.distance:.2f}, limit {known.limit:.2f}."
        )
    return (
        f"This image is unlike the training images of {case.bundle}: its distance of "
        f"{known.distance:.2f} is beyond the limit of {known.limit:.2f} that 99 of 100 validation "
        "images keep. Nothing below can be relied on."
    )


def answer(case: Case) -> str:
    """Say what the model decides for before and after."""
    found, p = case.found, case.response.opinions[0].p
    before = f"The model decides for {found.decided_before}"
    if case.already:
        return f"{before} (p of {case.response.goal} {p[0]:.2f}), which is what was asked for."
    after = found.decided_after
    told = f"for {after}" if after != found.decided_before else f"still for {after}"
    return (
        f"{before}; after the change, {told}. The probability of {case.response.goal} goes from "
        f"{p[0]:.2f} to {found_p(case):.2f}."
    )


def searched(case: Case) -> str:
    """Say how it was searched, and which of the draws is shown."""
    of = f"; the first of {len(case.draws)} draws" if len(case.draws) > 1 else ""
    return f"Searched by {case.method} with {case.bundle}{of}."


def found_p(case: Case) -> float:
    """Probability that the classifier gives the goal on the counterfactual itself."""
    found = case.found
    after = dict(zip(found.classes, found.after.tolist(), strict=True))
    return after[found.target] if found.target else 1 - after[found.decided_before]


def where(case: Case) -> str:
    """Say in which zones of the lungs, or quarters of the image, what changed."""
    if not float(case.change.abs().max()):
        return "Nothing was changed."
    if case.lungs is None:
        quarters = metrics.zone_changes(case.change, metrics.quarters(case.change))
        return f"The lungs were not outlined; {_told(quarters, _IN_IMAGE)}."
    inside = float(metrics.energy_inside(case.change[None], case.lungs[None]))
    zones = metrics.zone_changes(case.change, metrics.lung_zones(case.lungs))
    in_lungs = _told(zones, _IN_LUNG)
    if inside >= 0.5:
        return f"{100 * inside:.0f} % of the change lies in the lungs: {in_lungs}."
    beside = case.change * ~case.lungs
    around = _told(metrics.zone_changes(beside, metrics.quarters(beside)), _IN_IMAGE)
    return (
        f"Most of the change, {100 * (1 - inside):.0f} %, lies outside the lungs: there {around}; "
        f"in the lungs, {in_lungs}."
    )


def _told(zones: list[Zone], told: _Told) -> str:
    """Name the leading zone, and a second one that has about as much of the change."""
    named = [zone for zone in zones[:2] if zone.share >= _BESIDE * zones[0].share]
    places = [f"the {told.place.format(height=zone.height, side=zone.side)}" for zone in named]
    ways = [_way(zone.balance, told) for zone in named]
    if len(set(ways)) == 1:
        return f"{' and '.join(places)} became {ways[0]}"
    return " and ".join(f"{place} became {way}" for place, way in zip(places, ways, strict=True))


def _way(balance: float, told: _Told) -> str:
    if abs(balance) < _ONE_WAY:
        return told.mixed
    return told.darker if balance < 0 else told.brighter


def believe(case: Case) -> str:
    """Say in a sentence how far the change is to be believed."""
    found = case.found
    if case.already:
        return "There is no change to believe: the model gave the target from the start."
    if case.strange:
        return f"Believe none of it, for the image is unlike the training images: {_judges(case)}."
    if found.outcome != Outcome.REACHED:
        return "Do not read it as an explanation: the search did not reach its goal."
    told = _BELIEF[found.verdict.verdict if found.verdict else Verdict.UNCERTAIN]
    return f"{told}: {_judges(case)}."


_BELIEF = {
    Verdict.SEMANTIC: "It can be read as what the models take for the finding",
    Verdict.SPECIFIC: "Read it as what this model alone responds to, perhaps a shortcut",
    Verdict.ADVERSARIAL: "Do not read it as a finding, but as noise that flips this model",
    Verdict.UNCERTAIN: "Take it as a hint at most, for the evidence does not decide",
}


def _judges(case: Case) -> str:
    asked = int(case.found.evidence.judges_asked)
    if not asked:
        return "no other model could be asked, or each saw the target before"
    follow = round(float(case.found.evidence.judges_follow) * asked)
    if asked == 1:
        return (
            f"the one other model that could be asked {'follows' if follow else 'does not follow'}"
        )
    return f"{follow} of {asked} other models follow"


def verdict(case: Case) -> tuple[str, str]:
    """Return the verdict, how sure it is, and its reasons: heading and text."""
    if case.found.verdict is None:
        return "No verdict", "no bundle here has a calibrated one; see `cfgen verdict --help`"
    name, probability, reasons = case.found.verdict
    sure = f"p {probability:.2f}, " if probability else ""
    return f"Verdict: {name}", f"({sure}{CALIBRATED}): {reasons}"
