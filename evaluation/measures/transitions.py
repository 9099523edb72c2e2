"""What the classifier says on the way from factual to counterfactual: COUT and its curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import torch
from tqdm import tqdm

from cfgen import metrics
from cfgen.models.classifier import Classifier
from evaluation.batches import batches
from evaluation.measures.judging import transition
from evaluation.runs import Row, Run
from evaluation.summary import attempted, target_of
from evaluation.tables import csv_text
from evaluation.writing import write_file

STEPS = 16
"""Sets of pixels that are swapped in: so many passes of the classifier, and one."""
COUT = "cout.csv"
COLUMNS = ("target", "share", "p_target", "p_source", "n")

Curves = Mapping[object, tuple[Sequence[float], Sequence[float]]]
"""Probabilities of target and source at each point, by the sample's id."""


@torch.inference_mode()
def transitions(
    run: Run, classifier: Classifier, device: str = "cpu", batch_size: int = 64
) -> tuple[list[float], Curves]:
    """Return COUT of every sample, in the order of the run's samples, and the curves.

    Args:
        run: the run.
        classifier: the one that the counterfactuals were searched for, on the device.
        device: where the images are sent.
        batch_size: images that it is given at once.

    Raises:
        ValueError: a source of the run is none of its classes.
    """
    curves: dict[object, tuple[list[float], list[float]]] = {}
    scores: dict[object, float] = {}
    with tqdm(total=len(run.samples), desc="transitions", unit="image") as progress:
        for batch in batches(run, batch_size, device):
            target, source = transition(batch, classifier, STEPS)
            found = zip(
                batch.rows,
                metrics.cout(target, source).tolist(),
                target.tolist(),
                source.tolist(),
                strict=True,
            )
            for row, score, *both in found:
                scores[row["id"]], curves[row["id"]] = score, (both[0], both[1])
            progress.update(len(batch.rows))
    return [scores[row["id"]] for row in run.samples], curves


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
