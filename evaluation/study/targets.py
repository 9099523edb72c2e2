"""What the method is to reach, what it reached, and whether that is enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from evaluation.measured import Measured, difference, pairs
from evaluation.measures.distances import in_network
from evaluation.summary import CORRECT, finite
from evaluation.tables import interval, markdown, number

VALID = 0.98
SECONDS = 1.0
SHORT_OF_REAL = 0.05
"""How much less often than on real images a judge may follow."""
FOLLOWED_BY_CHANCE = 0.20
SSIM_OUTSIDE = 0.95
INSIDE_RATIO = 2.0
FRECHET_RATIO = 2.0
COSINE = 0.56
"""Mean pairwise cosine of the changes of the prototype that the method was to improve on."""
HEADS = ("aim", "wanted", "measured", "met")


class Check(NamedTuple):
    """An aim and what became of it.

    Attributes:
        aim: what is measured.
        wanted: its bound.
        measured: the number, with its interval where it has one.
        met: whether the number itself is within the bound; None where it could not be measured.
    """

    aim: str
    wanted: str
    measured: str
    met: bool | None


def checks(method: Measured) -> list[Check]:
    """Hold a run against the aims that need no other run, on what is classified correctly."""
    return [
        _at_least("valid", method.metric("valid", CORRECT), VALID),
        _seconds(method),
        *_judges(method),
        _at_least("SSIM outside the lungs", method.metric("ssim_outside", CORRECT), SSIM_OUTSIDE),
        _at_least(
            "change in the lungs over chance", method.metric("inside_ratio", CORRECT), INSIDE_RATIO
        ),
        *_by_target("Frechet ratio", in_network(method.summary["frechet"]), "ratio", FRECHET_RATIO),
        *_by_target(
            "pairwise cosine of changes", method.summary["changes"], "pairwise_cosine", COSINE
        ),
        *_truth(method),
    ]


def control_checks(
    method: Measured, rivals: Sequence[Measured], chance: Sequence[Measured]
) -> list[Check]:
    """Hold a run against its controls.

    Args:
        method: the run.
        rivals: runs that are to shift the judge of the border by more, each paired with it: the
            upper end of the interval of the difference is to be below 0.
        chance: runs that judges are not to follow.
    """
    found = []
    for rival in rivals:
        both = list(pairs(method, rival))
        known = finite(difference(both, "border_shift"))
        high = known["high"]
        met = None if known["mean"] is None or high is None else high < 0
        aim = f"border shift, less that of {rival.name}"
        found.append(Check(aim, "interval below 0", interval(known), met))
    for control in chance:
        for judge in control.summary["judges"]:
            for target in control.targets():
                known = control.metric(f"judge_{judge}_follows", CORRECT, target)
                aim = f"{judge} follows {control.name}, to {target}"
                found.append(_at_most(aim, known, FOLLOWED_BY_CHANCE))
    return found


def target_table(found: Sequence[Check]) -> str:
    """Write aims for reading."""
    words = {True: "met", False: "**not met**", None: "-"}
    rows = [{**one._asdict(), "met": words[one.met]} for one in found]
    met, known = sum(one.met is True for one in found), sum(one.met is not None for one in found)
    return f"{met} of {known} met, {len(found) - known} not measured.\n\n" + markdown(rows, HEADS)


def _at_least(aim: str, known: Mapping | None, bound: float) -> Check:
    return _bounded(aim, known, bound, ">=", lambda value: value >= bound)


def _at_most(aim: str, known: Mapping | None, bound: float) -> Check:
    return _bounded(aim, known, bound, "<=", lambda value: value <= bound)


def _bounded(
    aim: str, known: Mapping | None, bound: float, sign: str, within: Callable[[float], bool]
) -> Check:
    value = None if known is None else known["mean"]
    met = None if value is None else within(value)
    return Check(aim, f"{sign} {number(bound)}", interval(known, 3), met)


def _seconds(method: Measured) -> Check:
    value = method.summary["subsets"][CORRECT]["seconds"]
    met = None if value is None else value <= SECONDS
    return Check("seconds an image", f"<= {number(SECONDS)}", number(value), met)


def _judges(method: Measured) -> Iterator[Check]:
    """Whether judges follow as often as they are right on real images, and no further."""
    for judge, targets in method.summary["on_real"].items():
        for target, real in targets.items():
            known = method.metric(f"judge_{judge}_follows", CORRECT, target)
            bound = real["right"]["mean"] - SHORT_OF_REAL
            yield _at_least(f"{judge} follows, to {target}", known, bound)
            yield Check(
                f"{judge}: log-odds of the followed among real images, to {target}",
                "5th to 95th percentile",
                number(real["percentile"], 0),
                real["within"],
            )


def _by_target(aim: str, known: Mapping[str, Mapping], key: str, bound: float) -> Iterator[Check]:
    for target, values in known.items():
        value = values[key]
        met = None if value is None or math.isnan(value) else value <= bound
        yield Check(f"{aim}, to {target}", f"<= {number(bound)}", number(value), met)


def _truth(method: Measured) -> Iterator[Check]:
    """On phantoms: whether the result is more like the true counterfactual than the factual is."""
    known, doing_nothing = (
        method.metric(name, CORRECT) for name in ("ssim_truth", "ssim_truth_factual")
    )
    if known and doing_nothing and doing_nothing["mean"] is not None:
        bound = doing_nothing["mean"]
        found = _at_least("SSIM to the true counterfactual", known, bound)
        yield found._replace(wanted=f">= {number(bound, 3)}, the factual's")
