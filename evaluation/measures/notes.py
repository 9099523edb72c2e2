"""What a reader of a run's numbers has to be told first."""

from __future__ import annotations

from collections.abc import Sequence

from cfgen.models.bundle import Bundle
from evaluation.runs import Row, Run

DRIFT = 0.01
"""From this difference of a probability on, the classifier is not the one searched with."""


def stopped(run: Run) -> list[str]:
    """Say where the search was stopped before its last sample."""
    tried = len(run.samples) + len(run.skipped)
    asked = int(run.config.get("samples") or tried)
    if tried >= asked:
        return []
    return [f"The search was stopped at {tried} of {asked} samples; the same command goes on."]


def drifted(run: Run, bundle: Bundle, measured: Sequence[Row]) -> list[str]:
    """Say where the models are no longer those that the run was made with."""
    now, then = bundle.searched_with(), run.config.get("weights") or {}
    changed = sorted(name for name in then if then[name] != now.get(name, then[name]))
    notes = []
    if changed:
        notes.append(f"The bundle's {', '.join(changed)} changed since the search.")
    pairs = zip(run.samples, measured, strict=True)
    drift = max(abs(_p(row) - _p(own)) for row, own in pairs)
    if drift > DRIFT:
        notes.append(
            f"p(target) of a factual differs by up to {drift:.2f} from the search's: it was made "
            "with another classifier."
        )
    return notes


def _p(row: Row) -> float:
    return float(row["p_target_factual"] or 0)
