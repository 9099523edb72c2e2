"""Writes the tables of metrics into their page: `python docs/hooks/metrics_table.py`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from evaluation.axioms.words import AXIOMS
from evaluation.definitions import JUDGE_METRICS, METRICS, Metric
from evaluation.measures.realism import DEFINITIONS

PAGE = Path(__file__).parents[1] / "howto" / "metrics.md"


def tables() -> dict[str, str]:
    """The tables as Markdown, by the comments that they stand between."""
    judges = {
        f"judge_NAME_{suffix}": Metric(
            metric.label.format("NAME"), metric.decimals, metric.definition.format("NAME")
        )
        for suffix, metric in JUDGE_METRICS.items()
    }
    named = ("column", "called", "what it is")
    return {
        "metrics": _table(named, _rows(METRICS | judges)),
        "sets": _table(
            ("part", "what it is"), ((f"`{n}`", text) for n, text in DEFINITIONS.items())
        ),
        "axioms": _table(named, _rows(AXIOMS)),
    }


def _rows(metrics: Mapping[str, Metric]) -> Iterable[tuple[str, ...]]:
    return ((f"`{name}`", one.label, one.definition) for name, one in metrics.items())


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    listed = [head, ("---",) * len(head), *rows]
    text = "\n".join(f"| {' | '.join(row)} |" for row in listed)
    return re.sub("<(?=[a-z])", "&lt;", text) + "\n"


def main() -> None:
    """Replace the tables of the page."""
    page = PAGE.read_text()
    for name, table in tables().items():
        between = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", re.DOTALL)
        page = between.sub(lambda _, table=table: f"\n{table}\n", page)
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
