"""Puts evaluated runs side by side, a row a run: as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evaluation import figures
from evaluation.comparison.columns import Column, columns_of
from evaluation.comparison.paired import NOTE, of_all, paired_csv, paired_table
from evaluation.comparison.pareto import (
    default_budget,
    pareto_csv,
    pareto_figure,
    pareto_points,
    pareto_table,
)
from evaluation.measured import Measured, read_measured
from evaluation.runs import read_run
from evaluation.summary import ALL, CORRECT
from evaluation.tables import Cell, csv_text, interval, latex, markdown, number
from evaluation.writing import make_folder, write_file


@dataclass(frozen=True)
class _Evaluated:
    """A run as far as comparing needs it."""

    path: Path
    summary: Mapping
    ids: frozenset[int]
    weights: Mapping


def compare(runs: Sequence[Path], out: Path, budget: float | None = None) -> str:
    """Compare evaluated runs; write comparison.md, .csv and .tex into a folder.

    Every run is shown on the samples that it has; where these differ, or the models do, the
    output says so first. The first run is held against each other one, sample by sample
    (paired.csv), and all of them on the axes of validity, realism and proximity at equal
    evaluations (pareto.md, .csv and .png).

    Args:
        runs: folders that `cfgen evaluate` has been through.
        out: the folder to write into; made where it is missing.
        budget: passes of the classifier beyond which a sample counts as not valid for the
            Pareto front; by default the median of the runs' medians.

    Returns:
        The Markdown.

    Raises:
        ValueError: no runs, one that is not evaluated, or `out` cannot be written.
    """
    if not runs:
        raise ValueError("expected at least one run, got none; name the folders to compare.")
    found = [_read(Path(path)) for path in runs]
    warnings = _warnings(found)
    columns = columns_of([one.summary for one in found])
    tables = {subset: _turned(found, subset, columns) for subset in (ALL, CORRECT)}
    heads = ("", *_names(found))
    parts = [f"**Warning:** {warning}\n" for warning in warnings]
    for subset, rows in tables.items():
        parts += [f"## {subset[0].upper()}{subset[1:]}\n", markdown(rows, heads)]
    parts.append(
        "Means with 95 % bootstrap intervals; evaluations are medians. A judge follows 'of "
        "valid': of the valid counterfactuals whose factual it had right.\n"
    )
    make_folder(out)
    measured = [
        replace(read_measured(one.path), name=name)
        for name, one in zip(_names(found), found, strict=True)
    ]
    parts += [*_write_paired(measured, out), *_write_pareto(measured, out, budget)]
    text = "\n".join(parts)
    write_file(out / "comparison.md", text)
    write_file(out / "comparison.tex", _latex(tables, heads, warnings))
    write_file(out / "comparison.csv", _csv(found, columns))
    return text


def _write_paired(runs: Sequence[Measured], out: Path) -> list[str]:
    """Write the first run minus each other one; return it for reading."""
    first, *others = runs
    paired = of_all(first, others)
    write_file(out / "paired.csv", paired_csv(paired))
    return [f"## {first.name} minus each other run\n", NOTE, paired_table(paired)] if paired else []


def _write_pareto(runs: Sequence[Measured], out: Path, budget: float | None) -> list[str]:
    """Write the Pareto front, as files of its own too; return it for reading."""
    passes = default_budget(runs) if budget is None else budget
    points = pareto_points(runs, passes)
    text = pareto_table(points, passes)
    write_file(out / "pareto.md", text)
    write_file(out / "pareto.csv", pareto_csv(points, passes))
    figures.save(pareto_figure(points, passes), out / "pareto.png")
    return ["## Pareto front of validity, realism and proximity\n", text]


def warnings_of(runs: Sequence[Path]) -> list[str]:
    """Return what makes evaluated runs hard to compare, and what each evaluation noted.

    Raises:
        ValueError: one is no run, or not evaluated, or its evaluation is of other samples.
    """
    return _warnings([_read(path) for path in runs])


def _read(path: Path) -> _Evaluated:
    run = read_run(path)
    try:
        summary = json.loads((path / "summary.json").read_text(encoding="utf-8"))
        with (path / "metrics.csv").open(newline="", encoding="utf-8") as file:
            measured = {int(row["id"]) for row in csv.DictReader(file)}
    except FileNotFoundError as error:
        raise ValueError(
            f"expected an evaluated run, got {path} without {Path(error.filename).name}; run "
            f"`cfgen evaluate {path}` first."
        ) from error
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(
            f"expected an evaluation in {path}, got one that cannot be read ({error}); run "
            f"`cfgen evaluate {path}` again."
        ) from error
    ids = frozenset(int(str(row["id"])) for row in run.samples)
    if ids != measured:
        raise ValueError(
            f"expected an evaluation of the {len(ids)} samples of {path}, got one of "
            f"{len(measured)}; run `cfgen evaluate {path}` again."
        )
    return _Evaluated(path, summary, ids, run.config.get("weights") or {})


def _warnings(found: Sequence[_Evaluated]) -> list[str]:
    warnings = []
    if len({one.ids for one in found}) > 1:
        common = frozenset.intersection(*(one.ids for one in found))
        sizes = ", ".join(f"{one.path.name} {len(one.ids)}" for one in found)
        warnings.append(
            f"the runs are not of the same samples: {len(common)} are common to all ({sizes}). "
            "Each row is of its own run's samples."
        )
    parts = sorted({part for one in found for part in one.weights})
    # A part that one run did without, such as adopted pairs the prior, is no difference.
    differ = [
        part
        for part in parts
        if len({one.weights[part] for one in found if part in one.weights}) > 1
    ]
    if differ:
        warnings.append(f"the runs were made with different models: {', '.join(differ)}.")
    for one in found:
        warnings += [f"{one.path.name}: {note}" for note in one.summary["notes"]]
    return warnings


def _names(found: Sequence[_Evaluated]) -> list[str]:
    """Names of the runs' folders, with as much of the path as tells them apart."""
    short = [one.path.name for one in found]
    return short if len(set(short)) == len(short) else [one.path.as_posix() for one in found]


def _turned(
    found: Sequence[_Evaluated], subset: str, columns: Sequence[Column]
) -> list[dict[str, str]]:
    """One row a measure and one column a run: there are many measures and few runs."""
    sizes = [one.summary["subsets"][subset]["n"] for one in found]
    runs = list(zip(_names(found), found, sizes, strict=True))
    return [
        {
            "": column.head,
            **{
                name: _text(column.find(one.summary, subset), column.decimals, n)
                for name, one, n in runs
            },
        }
        for column in columns
    ]


def _text(value: Cell | Mapping, decimals: int, n: int) -> str:
    """Write a cell; an estimate says its n where that is not the row's."""
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        return number(value, decimals)
    text = interval(value, decimals)
    return text if value["n"] in (0, n) else f"{text} (n = {value['n']})"


def _exact_row(one: _Evaluated, subset: str, columns: Sequence[Column]) -> dict[str, Cell]:
    row: dict[str, Cell] = {"run": one.path.as_posix(), "subset": subset}
    for column in columns:
        value = column.find(one.summary, subset)
        if isinstance(value, Mapping):
            row[column.head] = value["mean"]
            row |= {f"{column.head} ({key})": value[key] for key in ("low", "high", "n")}
        else:
            row[column.head] = value
    return row


def _csv(found: Sequence[_Evaluated], columns: Sequence[Column]) -> str:
    """Return the same table without rounding, the ends of the intervals in columns of their own."""
    rows = [_exact_row(one, subset, columns) for subset in (ALL, CORRECT) for one in found]
    return csv_text(rows, tuple(dict.fromkeys(head for row in rows for head in row)))


def _latex(
    tables: Mapping[str, Sequence[Mapping[str, str]]], heads: Sequence[str], warnings: list[str]
) -> str:
    return "\n".join(
        latex(rows, heads, " ".join([f"Counterfactuals, {subset}.", *warnings]))
        for subset, rows in tables.items()
    )
