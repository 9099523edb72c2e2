"""What the audit of a run says of all its counterfactuals together, for its page."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from evaluation.audit.lines import Table, cells, read_lines
from evaluation.report.images import sheet


class Patterns(NamedTuple):
    """An audit: its picture as data, and its tables by their names."""

    picture: str
    tables: dict[str, Table]


def read_patterns(run: Path) -> Patterns | None:
    """Return a run's audit; None where it was not audited."""
    lines, picture = read_lines(run), run / "audit.png"
    if not (lines and picture.is_file()):
        return None
    sections = dict.fromkeys(one.section for one in lines)
    return Patterns(sheet(picture), {name: cells(lines, name) for name in sections})
