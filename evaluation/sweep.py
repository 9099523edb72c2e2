"""Sweeps the weight of the distance: what confidence costs in proximity, and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfgen.methods import DEFAULT_METHOD
from evaluation import figures
from evaluation.compare import compare
from evaluation.plausibility import evaluate
from evaluation.search import search
from evaluation.summary import ALL


def sweep(
    bundle: str,
    data: str,
    out: Path,
    weights: Sequence[float] = (0.0, 0.01, 0.1, 0.5, 2.0),
    method: str = DEFAULT_METHOD,
    settings: dict[str, int | float | str] | None = None,
    split: str = "test",
    limit: int = 32,
    classifier: str | None = None,
) -> str:
    """Search and evaluate at several weights of the distance, then compare them.

    Args:
        bundle: name of a shipped bundle, or a path with a slash in it.
        data: as for `cfgen search`.
        out: folder for a run a weight, the comparison and tradeoff.png.
        weights: of the distance in the objective, lambda.
        method: one that descends on the objective.
        settings: of the method, beside the weight.
        split: of the data.
        limit: number of samples.
        classifier: package.module:function that stands in for the bundle's classifier.

    Returns:
        The comparison as Markdown.

    Raises:
        ValueError: something given is not to be had, or every sample is at its target already.
    """
    runs, points = [], []
    for weight in weights:
        run = out / f"lambda-{weight:g}"
        search(
            bundle,
            data,
            run,
            split,
            method,
            {**(settings or {}), "weight": weight},
            classifier=classifier,
            limit=limit,
        )
        measured = evaluate(run)["subsets"][ALL]["metrics"]
        if not measured:
            raise ValueError(
                f"expected samples that are not at their target from the start, got none in {run}; "
                "raise --limit"
            )
        runs.append(run)
        cost = measured["l2"]["mean"]
        points.append({"lambda": weight, "validity": measured["valid"]["mean"], "l2": cost})
    figures.save(figures.tradeoff(points), out / "tradeoff.png")
    return compare(runs, out)
