"""Audits a classifier from many counterfactuals: what all of them together say about it."""

from __future__ import annotations

from pathlib import Path

from evaluation import figures
from evaluation.audit.groups import (
    CONFUSION,
    ROBUSTNESS,
    SHORTCUT,
    SUBGROUPS,
    confusion,
    robustness,
    seen_in,
    shortcut,
    subgroups,
)
from evaluation.audit.lines import FILE, Line, lines_csv, section_table
from evaluation.audit.maps import SECTION as PATTERNS
from evaluation.audit.maps import pattern_figure, pattern_lines, patterns
from evaluation.measured import Measured, read_measured
from evaluation.writing import write_file

NOTES = {
    CONFUSION: "Share of the counterfactuals, by predicted class and target, that the classifier "
    "decides to be of each class.",
    ROBUSTNESS: "L2 within which a share of the images has a valid counterfactual: upper bounds "
    "of the distance to the boundary. Of all attempted, one that is not valid is farther than any, "
    "and a dash says that the share is not reached.",
    SHORTCUT: "How much of the squared change is where the finding cannot be, beside the share of "
    "the pixels that is there; and by how much a classifier that does not see the lungs follows.",
    SUBGROUPS: "Means with 95 % bootstrap intervals over patients, and less those of all other "
    "subgroups. One in twenty intervals excludes 0 by chance. The left half is the image's.",
    PATTERNS: "Kinds by k-means of the changes at 16 pixels a side and an L2 of 1; their number, "
    "of 2 to 5, is that of the greatest silhouette, and one kind where that is below 0.25.",
}


def audit(run: Path) -> str:
    """Audit the classifier of an evaluated run; write audit.md, audit.csv and audit.png into it.

    Of all that was attempted: where the counterfactuals arrive, how far they had to go, how much
    of the change is where the finding cannot be, what differs by the samples' subgroup, and the
    mean change with the kinds that the changes fall into.

    Args:
        run: the run's folder, made by `cfgen search` and measured by `cfgen evaluate`.

    Returns:
        The audit as Markdown.

    Raises:
        ValueError: the run is not there, not evaluated, or nothing in it was attempted.
    """
    if not (run / "metrics.csv").is_file():
        raise ValueError(
            f"expected an evaluated run, got {run} without metrics.csv; run `cfgen evaluate {run}` "
            "first."
        )
    measured = read_measured(run)
    found = patterns(measured.run)
    if not found:
        raise ValueError(
            f"expected counterfactuals that differ from their factuals, got none in {run}"
        )
    lines = [*_lines(measured), *pattern_lines(found)]
    text = _markdown(measured, lines)
    write_file(run / "audit.md", text)
    write_file(run / FILE, lines_csv(lines))
    figures.save(pattern_figure(found), run / "audit.png")
    return text


def _lines(measured: Measured) -> list[Line]:
    rows = seen_in(measured)
    return [
        *confusion(rows),
        *robustness(rows),
        *shortcut(rows, measured),
        *subgroups(rows),
    ]


def _markdown(measured: Measured, lines: list[Line]) -> str:
    config = measured.run.config
    judged = config.get("classifier") or config["bundle"]
    parts = [
        f"# Audit of {judged} by {measured.name}\n",
        f"From the counterfactuals of {len(measured.rows)} samples of {config['data']}, of all "
        "attempted. It says what moves this classifier along the paths of the method "
        f"{config['method']}; another method may find others.\n",
    ]
    for section in dict.fromkeys(one.section for one in lines):
        parts += [f"## {section}\n", f"{NOTES[section]}\n", section_table(lines, section)]
    parts.append("![Mean change, and the kinds of change](audit.png)\n")
    return "\n".join(parts)
