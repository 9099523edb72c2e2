"""What the page says first: how all cases ended, with what failed beside what worked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from cfgen.verdict import Verdict
from evaluation.report.cases import RESULTS, Case, Result
from evaluation.runs import Row
from evaluation.summary import attempted

_GOOD = {Result.FOLLOWED, Result.REACHED}
_BAD = {Result.MISSED, Result.ALONE}
VERDICTS = {
    Verdict.SEMANTIC: "the change is of the finding",
    Verdict.SPECIFIC: "structured and stable, but only this model takes it for the finding: "
    "perhaps a shortcut of it",
    Verdict.ADVERSARIAL: "noise that flips this model",
    Verdict.UNCERTAIN: "the evidence does not say",
}
"""What each verdict means."""
MARKS = {
    Result.FOLLOWED: "●",
    Result.PARTLY: "◐",
    Result.ALONE: "○",
    Result.UNJUDGED: "◌",
    Result.REACHED: "◌",
    Result.MISSED: "✕",
    Result.ALREADY: "=",
    "skipped": "∅",
    Verdict.SEMANTIC: "■",
    Verdict.SPECIFIC: "◆",
    Verdict.ADVERSARIAL: "▲",
    Verdict.UNCERTAIN: "□",
}
"""Marks that tell the kinds apart where colours do not."""


class Count(NamedTuple):
    """How many cases are of a kind.

    Attributes:
        label: the kind.
        words: what it means.
        tone: 'good', 'bad' or 'plain'.
        n: its cases.
        share: of all, in [0, 1].
        key: the column that holds the kind; '' where these are no cases.
    """

    label: str
    words: str
    tone: str
    n: int
    share: float
    key: str


def count_results(cases: Sequence[Case], skipped: Sequence[Row]) -> list[Count]:
    """Count how all files of a run ended; the shares add up to 1."""
    counts = Counter(case.result for case in cases)
    total = len(cases) + len(skipped)
    asked = {Result.FOLLOWED, Result.ALONE} if cases[0].measures else {Result.REACHED}
    found = [
        Count(str(one), words, _tone(one), counts[one], counts[one] / total, "result")
        for one, words in RESULTS.items()
        if counts[one] or one in asked | {Result.MISSED}
    ]
    words = "could not be read; in no other number on this page"
    return [*found, Count("skipped", words, "bad", len(skipped), len(skipped) / total, "")]


def count_verdicts(cases: Sequence[Case]) -> list[Count]:
    """Count the verdicts on the cases that had a way to go; none where there are no verdicts."""
    given = [case.verdict["verdict"] for case in cases if case.verdict and attempted(case.sample)]
    counts = Counter(given)
    tones = {Verdict.SEMANTIC: "good", Verdict.ADVERSARIAL: "bad"}
    return [
        Count(
            str(one),
            words,
            tones.get(one, "plain"),
            counts[str(one)],
            counts[str(one)] / len(given),
            "verdict",
        )
        for one, words in VERDICTS.items()
        if given
    ]


def by_direction(cases: Sequence[Case]) -> dict[str, dict[str, int]]:
    """Count the results of each pair of predicted class and target."""
    results = [str(one) for one in RESULTS if any(case.result == one for case in cases)]
    counts: dict[str, Counter[str]] = {}
    for case in cases:
        counts.setdefault(case.direction, Counter())[str(case.result)] += 1
    return {name: {one: counts[name][one] for one in results} for name in sorted(counts)}


def _tone(result: Result) -> str:
    return "good" if result in _GOOD else "bad" if result in _BAD else "plain"
