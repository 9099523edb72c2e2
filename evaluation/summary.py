"""Sums up the measures of a run: every average with its n, its subset and its interval."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import median

from cfgen.goals import OTHER
from cfgen.metrics import Estimate, estimate
from cfgen.types import Outcome
from evaluation.definitions import METRICS, describe
from evaluation.runs import Row, Value
from evaluation.sections import sections
from evaluation.tables import interval, markdown, number
from evaluation.verdicts.words import verdict_lines

ALL = "all attempted"
CORRECT = "classified correctly"
VALID_ONES = "valid ones"

SUBSETS = {
    ALL: "every readable sample but those that were at the target from the start, whatever the "
    "search's outcome",
    CORRECT: "of these, those whose factual the classifier assigns to its label",
    VALID_ONES: "of all attempted, those that are valid",
}
COSTS = ("steps", "evaluations", "decodes", "prior_passes")


def summarise(samples: Sequence[Row], measured: Sequence[Row]) -> dict:
    """Sum up a run.

    Args:
        samples: the rows of `samples.csv`.
        measured: the rows of `metrics.csv`, in the same order.

    Returns:
        `samples` (how many), `outcomes`, `patients`, `subsets` (a block each) and `direction` (by
        the name of the target, a block for each subset); a block has n, its metrics' estimates
        and its costs. Nothing in it is NaN: a number that does not exist is None.
    """
    rows = [{**sample, **own} for sample, own in zip(samples, measured, strict=True)]
    targets = sorted({target_of(row) for row in rows})
    return {
        "samples": len(rows),
        "outcomes": dict(Counter(str(row["outcome"]) for row in rows)),
        "patients": _patients(rows),
        "subsets": {name: _block(_subset(rows, name)) for name in SUBSETS},
        "direction": {
            target: {
                name: _block(row for row in _subset(rows, name) if target_of(row) == target)
                for name in SUBSETS
            }
            for target in targets
        },
        "definitions": {name: describe(name).definition for name in _names(rows)} | SUBSETS,
    }


def target_of(row: Mapping[str, object]) -> str:
    """Return the name of a sample's target class, or 'other' where any but the source will do."""
    return str(row["target"] or OTHER)


def attempted(row: Mapping[str, object]) -> bool:
    """Return whether a sample had a way to go: its target was not there from the start."""
    return row["outcome"] != Outcome.ALREADY


def group_of(row: Mapping[str, object]) -> object:
    """Return whose image a sample is: draws of one image are not independent either."""
    return row["patient"] or row["path"]


def finite(known: Estimate) -> dict[str, float | int | None]:
    """Return an estimate as a summary holds it, what is not finite as None."""
    values = asdict(known)
    return {key: value if math.isfinite(value) else None for key, value in values.items()}


def to_markdown(summary: Mapping) -> str:
    """Write a summary for reading: the subsets, the directions, then the rest."""
    blocks = {name: block for name, block in summary["subsets"].items() if block["n"]}
    parts = [
        f"# {summary['run']}: {summary['method']}\n",
        f"{summary['samples']} samples ({_listed(summary['outcomes'])}), {summary['skipped']} "
        f"files skipped. Means with 95 % bootstrap intervals over "
        f"{_patients_text(summary['patients'])}.\n",
        *verdict_lines(summary.get("verdicts") or {}),
        *(f"**Note:** {note}\n" for note in summary["notes"]),
        _metrics_table(blocks),
    ]
    directions = summary["direction"] if len(summary["direction"]) > 1 else {}
    for target, subsets in directions.items():
        known = {name: block for name, block in subsets.items() if block["n"]}
        if known:
            parts += [f"## Target {target}\n", _metrics_table(known)]
    parts += sections(summary)
    parts += ["## Definitions\n", _definitions(summary["definitions"])]
    return "\n".join(parts)


def _subset(rows: Sequence[Row], name: str) -> list[Row]:
    tried = [row for row in rows if attempted(row)]
    if name == CORRECT:
        return [row for row in tried if row["source"] == row["label"]]
    if name == VALID_ONES:
        return [row for row in tried if row["valid"]]
    return tried


def _names(rows: Sequence[Row]) -> list[str]:
    """Return the metrics that were measured, in the order in which they are shown."""
    measured = [name for name in rows[0] if name in METRICS or name.startswith("judge_")]
    judged = [name for name in measured if name not in METRICS]
    known = [name for name in METRICS if name in measured]
    return known[:5] + judged + known[5:]


def _block(rows: Iterable[Row]) -> dict:
    rows = list(rows)
    if not rows:
        return {"n": 0, "metrics": {}, "median": {}, "seconds": None, "outcomes": {}}
    groups = [group_of(row) for row in rows]
    found = {
        name: finite(estimate([_number(row[name]) for row in rows], groups))
        for name in _names(rows)
    }
    known = {name: [_number(row[name]) for row in rows] for name in (*COSTS, "seconds")}
    costs = {name: [v for v in values if v is not None] for name, values in known.items()}
    seconds = costs.pop("seconds")
    return {
        "n": len(rows),
        "metrics": found,
        "median": {name: median(values) if values else None for name, values in costs.items()},
        "seconds": sum(seconds) / len(seconds) if seconds else None,
        "outcomes": dict(Counter(str(row["outcome"]) for row in rows)),
    }


def _number(value: Value) -> float | None:
    return None if value is None else float(value)


def _patients(rows: Sequence[Row]) -> int | None:
    """Return how many patients there are; None where that is not known of every sample."""
    patients = {row["patient"] for row in rows}
    return None if None in patients else len(patients)


def _patients_text(patients: int | None) -> str:
    if patients is None:
        return "images (patients unknown)"
    return f"{patients} patients"


def _metrics_table(blocks: Mapping[str, Mapping]) -> str:
    heads = {name: f"{name} (n = {block['n']})" for name, block in blocks.items()}
    metrics = dict.fromkeys(name for block in blocks.values() for name in block["metrics"])
    lines = []
    for metric in metrics:
        label, decimals, _ = describe(metric)
        cells = {heads[name]: cell(block, metric, decimals) for name, block in blocks.items()}
        lines.append({"": label, **cells})
    for cost in COSTS:
        cells = {heads[name]: number(block["median"][cost], 0) for name, block in blocks.items()}
        lines.append({"": f"{cost.replace('_', ' ')}, median", **cells})
    cells = {heads[name]: number(block["seconds"], 3) for name, block in blocks.items()}
    lines.append({"": "seconds a sample", **cells})
    return markdown(lines, ("", *heads.values()))


def cell(block: Mapping, metric: str, decimals: int) -> str:
    """Write a metric of a block for a table; it says its n where that is not the block's."""
    estimate_ = block["metrics"].get(metric)
    text = interval(estimate_, decimals)
    if estimate_ is None or estimate_["n"] in (0, block["n"]):
        return text
    return f"{text} (n = {estimate_['n']})"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _definitions(definitions: Mapping[str, str]) -> str:
    return "".join(f"- `{name}`: {text}.\n" for name, text in definitions.items())
