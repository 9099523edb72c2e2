"""One self-contained HTML page of a run: what was found, how far to believe it, every case.

The page needs no network and no other file: images are WebP inside it, made into pictures only
when they are looked at. It is written case by case, so a run of any length fits in memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from jinja2.environment import TemplateStream

from cfgen.verdict import CALIBRATED
from evaluation.report.beside import Other, names, pictures, read_other, told
from evaluation.report.cases import Case, judges_of, read_cases, spread
from evaluation.report.columns import columns_of
from evaluation.report.commands import commands
from evaluation.report.findings import MARKS, by_direction, count_results, count_verdicts
from evaluation.report.images import FULL, change_scale, film, walk
from evaluation.report.numbers import EMPTY, read_summary
from evaluation.report.page import page_of
from evaluation.report.patterns import read_patterns
from evaluation.runs import Run, read_run
from evaluation.writing import PARTIAL

LIMIT = 1000


def report(run: Path, beside: Sequence[Path] = (), limit: int = LIMIT) -> Path:
    """Write RUN/report.html and return its path.

    A run that was not evaluated is shown without its measures, and says so. All differences are
    drawn on one scale, which the reader can change.

    Args:
        run: the run's folder.
        beside: other runs over the same images, whose counterfactuals stand beside each case's.
        limit: how many cases to show at most, evenly spaced through the run; the page says how
            many are left out.

    Raises:
        ValueError: if a folder holds no run, the limit is below 1, the measures are of other
            samples than the run's, a run beside is of other images, or the page cannot be written.
    """
    if limit < 1:
        raise ValueError(
            f"expected a limit of at least 1 case, got {limit}; leave it out for {LIMIT}"
        )
    record = read_run(run)
    cases = read_cases(record)
    shown = spread(cases, limit)
    others = [read_other(path, shown) for path in beside]
    stream = page_of(
        **_about(record),
        **_found(record, cases),
        commands=commands(record, list(cases[0].measures), beside, limit),
        count=len(shown),
        table=_table(record, shown, others),
        blocks=_blocks(record, shown, others),
    )
    return _write(stream, run / "report.html")


def _about(run: Run) -> dict[str, object]:
    """Return what the run was asked for."""
    config = run.config
    return {
        "judged": config.get("classifier") or config.get("bundle") or "an unnamed classifier",
        "config": config,
        "settings": yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        "folder": run.path.as_posix(),
    }


def _found(run: Run, cases: Sequence[Case]) -> dict[str, object]:
    """Return what all its cases together say, whether they are on the page or not."""
    measured = bool(cases[0].measures)
    return {
        "total": len(cases),
        "skipped": run.skipped,
        "measured": measured,
        "judges": judges_of(cases),
        "results": count_results(cases, run.skipped),
        "verdicts": count_verdicts(cases),
        "calibrated": CALIBRATED,
        "marks": MARKS,
        "directions": by_direction(cases),
        "summary": read_summary(run.path / "summary.json") if measured else EMPTY,
        "patterns": read_patterns(run.path),
    }


def _table(run: Run, shown: Sequence[Case], others: Sequence[Other]) -> dict[str, object]:
    """Return what the page's script sorts and filters by."""
    return {
        "columns": [column._asdict() for column in columns_of(shown)],
        "methods": names([run, *(other.run for other in others)]),
        "scale": change_scale(run, {case.id for case in shown}),
        "full": FULL,
        "marks": MARKS,
    }


def _blocks(run: Run, shown: Sequence[Case], others: Sequence[Other]) -> Iterator[tuple[int, dict]]:
    """Yield each case's place in the table with its images and what is said of them."""
    rank = {case.id: place for place, case in enumerate(shown)}
    for i, factual, image in walk(run, set(rank)):
        case = shown[rank[i]]
        own = told(case) | pictures(factual, image)
        yield (
            rank[i],
            {
                "reasons": case.verdict.get("reasons"),
                "factual": film(factual),
                "found": [own, *(other.found(i, factual) for other in others)],
            },
        )


def _write(stream: TemplateStream, path: Path) -> Path:
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            stream.dump(file, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ValueError(
            f"expected a place that can be written, got {path} ({error.strerror or error}); free "
            "space there, or copy the run to another folder."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    return path
