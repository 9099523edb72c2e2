"""The verdicts of a run in a line."""

from __future__ import annotations

from collections.abc import Mapping

from cfgen.verdict import CALIBRATED


def verdict_lines(counts: Mapping[str, int]) -> list[str]:
    r"""Say how many counterfactuals got each verdict, and how far that is to be believed.

    >>> verdict_lines({"semantic": 3, "adversarial": 1})[0]
    '**Verdict** on 4 counterfactuals: 3 semantic, 1 adversarial (calibrated on phantoms only).\n'
    >>> verdict_lines({})
    []
    """
    if not counts:
        return []
    listed = ", ".join(f"{count} {name}" for name, count in counts.items())
    total = sum(counts.values())
    return [f"**Verdict** on {total} counterfactuals: {listed} ({CALIBRATED}).\n"]
