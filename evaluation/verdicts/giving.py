"""The verdict on every sample of a run: `evidence.csv`, `verdicts.csv`, and how they are read."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from tqdm import tqdm

from cfgen.evidence import Evidence, Witnesses, gather
from cfgen.goals import CONFIDENCE, OTHER, make_goal
from cfgen.models.bundle import Bundle
from cfgen.models.classifier import Classifier
from cfgen.verdict import ALREADY, Verdict, VerdictModel, find_model
from cfgen.witnesses import witnesses_of
from evaluation.batches import batches
from evaluation.runs import Row, Run
from evaluation.summary import attempted, target_of
from evaluation.tables import csv_text
from evaluation.writing import write_file

EVIDENCE = "evidence.csv"
VERDICTS = "verdicts.csv"
VERDICT_COLUMNS = ("id", "verdict", "probability", "reasons")


def gather_evidence(
    run: Run, witnesses: Witnesses, device: str = "cpu", batch_size: int = 64
) -> list[Row]:
    """Gather the evidence on every sample of a run and write it as RUN/evidence.csv.

    Args:
        run: the run.
        witnesses: the models asked, on the device.
        device: where the images are sent.
        batch_size: images that a model is given at once.

    Returns:
        A row a sample, in the order of the run's samples: its id and the fields of
        `cfgen.evidence.Evidence`; None for what is not known.
    """
    confidence = run.config.get("confidence", CONFIDENCE)
    found: dict[object, Row] = {}
    with tqdm(total=len(run.samples), desc="evidence", unit="image") as progress:
        for batch in batches(run, batch_size, device):
            names = [target_of(row) for row in batch.rows]
            # A shard has one kind of goal: each image a class of its own, or all any other.
            target = OTHER if OTHER in names else names
            goal = make_goal(witnesses.classifier, batch.factual, target, confidence)
            ids = [int(row["id"] or 0) for row in batch.rows]
            evidence = gather(witnesses, goal, batch.factual, batch.image, torch.tensor(ids))
            columns = [column.tolist() for column in evidence]
            for identity, values in zip(ids, zip(*columns, strict=True), strict=True):
                known = [None if math.isnan(value) else value for value in values]
                found[identity] = {
                    "id": identity,
                    **dict(zip(Evidence._fields, known, strict=True)),
                }
            progress.update(len(ids))
    rows = [found[row["id"]] for row in run.samples]
    write_file(run.path / EVIDENCE, csv_text(rows, ("id", *Evidence._fields)))
    return rows


def read_evidence(run: Run) -> list[Row] | None:
    """Read RUN/evidence.csv, in the order of the run's samples.

    Returns:
        The rows; None where there is no such file, or one of other samples or of other evidence.
    """
    path = run.path / EVIDENCE
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = {int(row["id"]): row for row in reader}
    ids = [int(row["id"] or 0) for row in run.samples]
    if tuple(reader.fieldnames or ()) != ("id", *Evidence._fields) or rows.keys() != set(ids):
        return None
    return [_typed(identity, rows[identity]) for identity in ids]


def _typed(identity: int, row: Mapping[str, str]) -> Row:
    typed: Row = {name: float(text) if text else None for name, text in row.items()}
    return typed | {"id": identity}


def evidence_of(rows: Sequence[Row]) -> Evidence:
    """Return rows of evidence as a batch."""
    columns = {name: [row[name] for row in rows] for name in Evidence._fields}
    return Evidence(
        **{
            name: torch.tensor([math.nan if v is None else float(v) for v in values])
            for name, values in columns.items()
        }
    )


def write_verdicts(run: Run, model: VerdictModel, evidence: Sequence[Row]) -> list[Row]:
    """Decide on every sample of a run and write RUN/verdicts.csv.

    Args:
        run: the run.
        model: the calibrated decision model.
        evidence: rows as `gather_evidence` returns them.

    Returns:
        A row a sample: `id`, `verdict`, `probability` of the likeliest verdict, and `reasons`.
    """
    decisions = model.decide(evidence_of(evidence))
    rows: list[Row] = []
    for sample, decided in zip(run.samples, decisions, strict=True):
        decision = decided if attempted(sample) else ALREADY
        rows.append(
            {
                "id": sample["id"],
                "verdict": str(decision.verdict),
                "probability": decision.probability,
                "reasons": decision.reasons,
            }
        )
    write_file(run.path / VERDICTS, csv_text(rows, VERDICT_COLUMNS))
    return rows


def read_verdicts(run: Run) -> dict[int, dict[str, str]]:
    """Read RUN/verdicts.csv by id; nothing where there is none, or one of other samples."""
    path = run.path / VERDICTS
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = {int(row["id"]): row for row in csv.DictReader(file)}
    return rows if rows.keys() == {row["id"] for row in run.samples} else {}


def count_verdicts(run: Run, verdicts: Mapping[int, Mapping[str, object]]) -> dict[str, int]:
    """Count the verdicts over the samples that had a way to go; all four, in their own order."""
    counts = Counter(str(verdicts[i]["verdict"]) for i in _attempted_ids(run))
    return {str(verdict): counts[str(verdict)] for verdict in Verdict}


def give_verdicts(
    run: Run, bundle: Bundle, judges: Mapping[str, Classifier], batch_size: int = 64
) -> dict[str, int]:
    """Gather the evidence on a run's samples and decide, where there is a model to decide by.

    Args:
        run: the run.
        bundle: whose models are asked.
        judges: asked in place of the bundle's own.
        batch_size: images that a model is given at once.

    Returns:
        How many samples that had a way to go got each verdict; nothing where there is no model,
        or no judge, for all models were calibrated with some.
    """
    model = find_model(bundle.path)
    if model is None or not judges:
        return {}
    witnesses = replace(witnesses_of(bundle), judges=judges)
    evidence = gather_evidence(run, witnesses, bundle.device, batch_size)
    write_verdicts(run, model, evidence)
    return count_verdicts(run, read_verdicts(run))


def _attempted_ids(run: Run) -> Iterator[int]:
    return (int(row["id"] or 0) for row in run.samples if attempted(row))
