"""The columns of the page's table of cases: all that is known of each, to sort and filter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from cfgen.verdict import CALIBRATED
from evaluation.definitions import METRICS, Metric, describe
from evaluation.report.cases import Case
from evaluation.runs import Value
from evaluation.summary import target_of

_TEXTS = {
    "file": Metric("file", 0, "path of the sample"),
    "result": Metric("result", 0, "how the case ended"),
    "verdict": Metric("verdict", 0, f"{CALIBRATED}; the reasons stand beside the images"),
    "direction": Metric("direction", 0, "predicted class and target"),
    "outcome": Metric("outcome", 0, "how the search ended"),
    "label": Metric("label", 0, "class in the data set"),
    "source": Metric("predicted", 0, "class that the model predicts"),
    "target": Metric("target", 0, "class that was to be reached"),
    "subgroup": Metric("subgroup", 0, "group in the data set"),
}
_NUMBERS = {
    "probability": Metric("p of verdict", 2, "probability of the likeliest verdict"),
    "draw": Metric("draw", 0, "which counterfactual of the same image"),
    "p_target_factual": METRICS["p_target_factual"],
    "p_target": METRICS["p_target"],
    "steps": Metric("steps", 0, "of the search, before the image was made"),
    "evaluations": Metric("evaluations", 0, "forward passes of the classifier"),
    "prior_passes": Metric("prior passes", 0, "forward passes of the generative prior"),
    "decodes": Metric("decodes", 0, "forward passes of the decoder"),
    "seconds": Metric("seconds", 3, "time of all that were searched together, over their number"),
}
_FLAG = re.compile(
    r"valid|flip|reconstruction_flips|pointing_opacity"
    r"|judge_.+_(follows_valid|follows|flips|factual_right)"
)
_SHOWN = {"file", "result", "verdict", "direction", "p_target", "panel_follows", "ssim"}
_FILTERED = {"file", "result", "verdict", "direction", "outcome", "subgroup"}


class Column(NamedTuple):
    """One column.

    Attributes:
        key: its name in the run's tables.
        label: its name on the page.
        kind: 'text', 'choice' (one of few values), 'flag' (1 or 0) or 'number'.
        decimals: of a number.
        definition: what it is.
        shown: whether it stands in the table from the start.
        filtered: whether its filter is offered from the start.
        values: one a case; None where it is not known.
    """

    key: str
    label: str
    kind: str
    decimals: int
    definition: str
    shown: bool
    filtered: bool
    values: list[Value]


def columns_of(cases: Sequence[Case]) -> list[Column]:
    """Return all columns of some cases, without those of which nothing is known.

    No column names a patient: a page is passed on more easily than a table.
    """
    rows = [_row(case) for case in cases]
    found = [_column(key, [row[key] for row in rows]) for key in rows[0]]
    return [column for column in found if any(value is not None for value in column.values)]


def described(name: str) -> Metric:
    """Return how a measure is shown; one that is unknown here keeps its name."""
    try:
        return describe(name)
    except ValueError:
        return Metric(name.replace("_", " "), 3, "")


def _row(case: Case) -> dict[str, Value]:
    sample = case.sample
    texts: dict[str, Value] = {
        "file": sample["path"],
        "result": str(case.result),
        "verdict": case.verdict.get("verdict"),
        "direction": case.direction,
        "target": target_of(sample),
    }
    probability = case.verdict.get("probability")
    numbers: dict[str, Value] = {"probability": float(probability) if probability else None}
    known = texts | numbers
    asked = {key: known.get(key, sample.get(key)) for key in (*_TEXTS, *_NUMBERS)}
    return asked | {key: value for key, value in case.measures.items() if key not in asked}


def _column(key: str, values: list[Value]) -> Column:
    label, decimals, definition = (_TEXTS | _NUMBERS).get(key) or described(key)
    if key in _TEXTS:
        kind = "text" if key == "file" else "choice"
    else:
        kind = "flag" if _FLAG.fullmatch(key) else "number"
    short = [float(f"{value:.6g}") if isinstance(value, float) else value for value in values]
    few = key != "subgroup" or len(set(values)) > 1
    return Column(
        key, label, kind, decimals, definition, key in _SHOWN, key in _FILTERED and few, short
    )
