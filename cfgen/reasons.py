"""Evidence in words: the pieces that weighed most, as one sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

MOST = 3
"""Pieces of evidence that a sentence names."""


def reasons(
    evidence: Mapping[str, float],
    judges: int,
    pull: Mapping[str, float],
    *,
    either_way: bool = False,
) -> str:
    """Say which evidence weighed most.

    Args:
        evidence: values by name, as in `cfgen.evidence.Evidence`.
        judges: how many judges were asked.
        pull: of each piece of evidence towards the likeliest verdict, away from it below 0.
        either_way: name what speaks against it too, as where nothing is decided.

    Example:
        >>> pull = {"judges_follow": 2.0, "judges_gain_mean": 1.5, "outside_lungs": 0.4}
        >>> known = {"judges_follow": 0.75, "judges_gain_mean": 3.0, "outside_lungs": 0.26}
        >>> reasons(known, 4, pull | {"prior_error": 0.0}, either_way=False)
        '3 of 4 judges follow; 74 % of the change lies in the lungs (not known here: prior)'
    """
    weight = {name: abs(value) if either_way else value for name, value in pull.items()}
    told: dict[str, str] = {}
    for name in sorted(weight, key=weight.__getitem__, reverse=True):
        value = evidence.get(name, math.nan)
        if weight[name] > 0 and not math.isnan(value):
            told.setdefault(_kind(name), _WORDS[name](value, judges))
    sentence = "; ".join(list(told.values())[:MOST]) or "no piece of evidence stands out"
    lacking = dict.fromkeys(
        _KINDS[_kind(name)] for name in pull if math.isnan(evidence.get(name, math.nan))
    )
    return f"{sentence} (not known here: {', '.join(lacking)})" if lacking else sentence


def _kind(name: str) -> str:
    """Evidence of one kind says much the same: a sentence names the weightiest of it."""
    return name if name.startswith("survives") else name.partition("_")[0]


_KINDS = {
    "judges": "judges",
    "survives_reencoding": "autoencoder",
    "survives_jpeg": "JPEG",
    "survives_noise": "noise",
    "survives_shift": "shift",
    "random": "autoencoder",
    "high": "change",
    "outside": "lungs",
    "prior": "prior",
}


def _survival(words: str) -> Callable[[float, int], str]:
    return lambda value, _: f"the flip {'survives' if value else 'does not survive'} {words}"


def _preference(value: float, _judges: int) -> str:
    side = "more" if value > 0 else "less"
    return f"the prior takes the result for the target {side} than for the source"


def _gain(value: float, who: str) -> str:
    way = "towards" if value >= 0 else "away from"
    return f"{who} by {abs(value):.1f} in log-odds {way} the target"


_WORDS: dict[str, Callable[[float, int], str]] = {
    "judges_follow": lambda value, n: (
        f"{round(value * n)} of {n} judges follow"
        if n > 1
        else f"the judge {'follows' if value else 'does not follow'}"
    ),
    "judges_gain_least": lambda value, _: _gain(value, "the least moved judge moves"),
    "judges_gain_mean": lambda value, _: _gain(value, "the judges move on average"),
    "survives_reencoding": _survival("re-encoding"),
    "survives_jpeg": _survival("JPEG"),
    "survives_noise": _survival("noise"),
    "survives_shift": lambda value, _: (
        f"the flip survives {round(4 * value)} of 4 shifts by a pixel"
    ),
    "random_start": lambda value, _: (
        f"from a random start {100 * value:.0f} % of the change's size more flips this classifier"
    ),
    "high_frequency": lambda value, _: (
        f"{100 * value:.0f} % of the change is waves shorter than 8 pixels"
    ),
    "outside_lungs": lambda value, _: f"{100 * (1 - value):.0f} % of the change lies in the lungs",
    "prior_error": lambda value, _: (
        f"the prior's error on the result is {math.exp(value):.2f} times that on the original"
    ),
    "prior_preference": _preference,
}
