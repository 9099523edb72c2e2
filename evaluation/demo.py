"""The main job on embedded data: search, evaluate, compare and report on phantoms."""

from __future__ import annotations

from pathlib import Path

from cfgen.methods import DEFAULT_METHOD, METHODS
from evaluation.compare import compare
from evaluation.plausibility import evaluate
from evaluation.report.main import report
from evaluation.search import search

BUNDLE = "phantom-64"


def demo(out: Path = Path("runs/demo"), limit: int = 32) -> str:
    """Search counterfactuals of phantoms by every method; evaluate, compare and report them.

    Args:
        out: folder for the runs, the comparison and the reports.
        limit: number of phantoms.

    Returns:
        The comparison, and where the report is.
    """
    runs = [out / method for method in METHODS]
    for run, method in zip(runs, METHODS, strict=True):
        search(BUNDLE, "phantom", run, method=method, limit=limit)
        evaluate(run)
        report(run)
    table = compare(runs, out / "comparison")
    page = (out / DEFAULT_METHOD / "report.html").resolve()
    return f"{table}\nopen {page}"
