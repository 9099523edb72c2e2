"""One run against others, sample by sample: paired differences, their intervals and tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from cfgen.metrics import Estimate, holm
from evaluation.definitions import describe
from evaluation.measured import Measured, difference, difference_p, judged_by, pairs
from evaluation.summary import ALL, CORRECT, finite
from evaluation.tables import Cell, csv_text, interval, markdown, p_value

NOTE = (
    "Mean paired differences with 95 % bootstrap intervals over patients; p by sign-flip "
    "permutation, the samples of a patient flipped together, corrected for all tests of the table "
    "(Holm).\n"
)
HEADS = ("control", "target", "metric", *Estimate.__annotations__, "p", "p_holm")


class Paired(NamedTuple):
    """A difference of two runs, over the same samples.

    Attributes:
        control: name of the run that is subtracted.
        target: of the samples; None for every target.
        metric: a column of metrics.csv.
        difference: first run minus control.
        p: of the difference, see `cfgen.metrics.sign_flip_p`.
        p_holm: the same, corrected for all tests that stand in one table.
    """

    control: str
    target: str | None
    metric: str
    difference: Estimate
    p: float
    p_holm: float


def by_target(method: Measured, controls: Sequence[Measured]) -> list[Paired]:
    """Return method minus each control, by target and metric, on what is classified correctly."""
    return _corrected(
        paired
        for control in controls
        for target in method.targets()
        for paired in _against(method, control, judged_by(method), target, CORRECT)
    )


def of_all(method: Measured, controls: Sequence[Measured]) -> list[Paired]:
    """Return method minus each control by metric, on all that both attempted."""
    measured = next(iter(method.rows.values()))
    names = [name for name in ("valid", *judged_by(method), "l2") if name in measured]
    return _corrected(
        paired for control in controls for paired in _against(method, control, names, None, ALL)
    )


def paired_table(found: Sequence[Paired]) -> str:
    """Write differences for reading, a row a control and target."""
    lines: dict[tuple[str, str | None], dict[str, str]] = {}
    for one in found:
        line = lines.setdefault((one.control, one.target), {"minus": one.control})
        if one.target is not None:
            line["target"] = one.target
        label, decimals, _ = describe(one.metric)
        line["n"] = str(max(int(line.get("n", 0)), one.difference.n))
        line[label] = interval(finite(one.difference), decimals)
        if one.difference.n:
            line[label] += f", {p_value(one.p_holm)}"
    rows = list(lines.values())
    return (
        markdown(rows, tuple(dict.fromkeys(head for row in rows for head in row))) if rows else ""
    )


def paired_csv(found: Sequence[Paired]) -> str:
    """Write the same without rounding, a row a number."""
    rows: list[dict[str, Cell]] = [
        {
            "control": one.control,
            "target": one.target,
            "metric": one.metric,
            **finite(one.difference),
            "p": one.p if one.difference.n else None,
            "p_holm": one.p_holm if one.difference.n else None,
        }
        for one in found
    ]
    return csv_text(rows, HEADS)


def _against(
    method: Measured, control: Measured, names: Sequence[str], target: str | None, subset: str
) -> Iterator[Paired]:
    both = list(pairs(method, control, target, subset))
    for name in names:
        p = difference_p(both, name)
        yield Paired(control.name, target, name, difference(both, name), p, p)


def _corrected(found: Iterable[Paired]) -> list[Paired]:
    every = list(found)
    p_values = holm([one.p for one in every])
    return [one._replace(p_holm=p) for one, p in zip(every, p_values, strict=True)]
