"""The numbers of a paper as LaTeX: results by measure and run, and paired differences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evaluation.comparison.paired import of_all
from evaluation.definitions import METRICS, describe
from evaluation.measured import Measured
from evaluation.measures.distances import in_network
from evaluation.summary import ALL, CORRECT, cell, finite
from evaluation.tables import interval, latex, number, p_value

AT_ONCE = 4
"""Runs that a table as wide as a page has room for."""
_LEFT_OUT = ("p_target_factual", "p_target", "reconstruction_flips", "l2_truth_factual")
_INTERVALS = (
    "Means with 95 % bootstrap intervals over patients; where fewer images than n have a value, "
    "their number is given."
)

Row = dict[str, str]


def results(runs: Sequence[Measured], subset: str) -> str:
    """Write a LaTeX table of every measure, a column a run, at most `AT_ONCE` runs a table.

    Args:
        runs: evaluated.
        subset: `ALL` or `CORRECT`.
    """
    rows = list(_rows(runs, subset))
    blocks = [runs[start : start + AT_ONCE] for start in range(0, len(runs), AT_ONCE)]
    short = subset.replace(" ", "-")
    return "\n".join(
        latex(
            rows,
            ("", *(run.name for run in block)),
            f"Counterfactuals of the images {subset}. {_INTERVALS}",
            label=f"tab:{short}" + (f"-{nth}" if nth else ""),
        )
        for nth, block in enumerate(blocks)
    )


def differences(runs: Sequence[Measured]) -> str:
    """Write a LaTeX table of the first run minus each other one, over the images of both."""
    first, *others = runs
    rows = [
        {
            "minus": one.control,
            "measure": describe(one.metric).label,
            "n": str(one.difference.n),
            "difference": interval(finite(one.difference), describe(one.metric).decimals),
            "p (Holm)": p_value(one.p_holm) if one.difference.n else "-",
        }
        for one in of_all(first, others)
    ]
    caption = (
        f"Mean paired differences, {first.name} minus each other run, over all images that both "
        "attempted, with 95 % bootstrap intervals over patients; p by sign-flip permutation of "
        "whole patients, corrected for all tests of the table."
    )
    return latex(rows, tuple(rows[0]), caption, label="tab:differences")


def _rows(runs: Sequence[Measured], subset: str) -> Iterator[Row]:
    blocks = {run.name: run.summary["subsets"][subset] for run in runs}
    yield {"": "n", **{name: str(block["n"]) for name, block in blocks.items()}}
    yield from _metrics(runs, subset, None)
    for target in sorted({target for run in runs for target in run.targets()}):
        yield from _metrics(runs, subset, target)
        if subset == ALL:
            yield from _distances(runs, target)
    medians = {name: block["median"].get("evaluations") for name, block in blocks.items()}
    yield {"": "classifier passes, median", **_numbers(medians, 0)}
    seconds = {name: block["seconds"] for name, block in blocks.items()}
    yield {"": "seconds an image", **_numbers(seconds, 3)}


def _metrics(runs: Sequence[Measured], subset: str, target: str | None) -> Iterator[Row]:
    """Yield a row a metric that any run has; of one target only how often judges follow."""
    judges = dict.fromkeys(name for run in runs for name in run.summary["judges"])
    follows = [f"judge_{name}_follows" for name in judges]
    plain = [name for name in METRICS if name not in _LEFT_OUT]
    names = ["valid", *follows] if target else [*plain[:2], *follows, *plain[2:]]
    for name in names:
        label, decimals, _ = describe(name)
        found = {}
        for run in runs:
            subsets = run.summary["direction"].get(target) if target else run.summary["subsets"]
            block = subsets[subset] if subsets else {"n": 0, "metrics": {}}
            found[run.name] = cell(block, name, decimals)
        if any(text != "-" for text in found.values()):
            yield {"": f"{label}, to {target}" if target else label, **found}


def _distances(runs: Sequence[Measured], target: str) -> Iterator[Row]:
    for measure, key, head, decimals in (
        ("frechet", "ratio", "Frechet ratio", 2),
        ("kernel", "distance", "kernel distance", 4),
        ("coverage", "precision", "precision", 2),
        ("coverage", "recall", "recall", 2),
    ):
        found = {
            run.name: in_network(run.summary.get(measure, {})).get(target, {}).get(key)
            for run in runs
        }
        if any(value is not None for value in found.values()):
            yield {"": f"{head}, to {target}", **_numbers(found, decimals)}


def _numbers(values: dict[str, float | None], decimals: int) -> Row:
    return {name: number(value, decimals) for name, value in values.items()}


SUBSETS = (CORRECT, ALL)
