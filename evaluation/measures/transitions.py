"""What the classifier says on the way from factual to counterfactual: the curves of COUT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from evaluation.runs import Row, Run
from evaluation.summary import attempted, target_of
from evaluation.tables import csv_text
from evaluation.writing import write_file

STEPS = 12
"""Sets of pixels that are swapped in: so many passes of the classifier, and one.

On 32 validation films COUT differs from that of 64 sets by .011 on average, with 8 by .024, with
16 by .006.
"""
COUT = "cout.csv"
COLUMNS = ("target", "share", "p_target", "p_source", "n")

Curves = Mapping[object, tuple[Sequence[float], Sequence[float]]]
"""Probabilities of target and source at each point, by the sample's id."""


def write_curves(run: Run, curves: Curves) -> list[Row]:
    """Write the mean curves towards each target, of all attempted, as RUN/cout.csv.

    Returns:
        Its rows: the target, the share of the pixels that are swapped in, the mean probability of
        target and source there, and of how many samples.
    """
    ids: dict[str, list[object]] = {}
    for row in run.samples:
        if attempted(row):
            ids.setdefault(target_of(row), []).append(row["id"])
    rows: list[Row] = [
        {
            "target": target,
            "share": point / STEPS,
            "p_target": fmean(curves[i][0][point] for i in some),
            "p_source": fmean(curves[i][1][point] for i in some),
            "n": len(some),
        }
        for target, some in sorted(ids.items())
        for point in range(STEPS + 1)
    ]
    write_file(run.path / COUT, csv_text(rows, COLUMNS))
    return rows
