"""explanation.md: one image in words and tables."""

from __future__ import annotations

import math

from cfgen import metrics
from evaluation.explain import words
from evaluation.explain.case import Case
from evaluation.tables import markdown, markdown_text

JUDGES_NOTE = (
    "A judge that does not follow means that the change may be noise that only this classifier "
    "sees; one that follows may share its confounders."
)


def describe(case: Case) -> str:
    """Write it all as Markdown; an unfamiliar image is said to be one before anything else."""
    found = case.found
    heading, told = words.verdict(case)
    joint = " " if told.startswith("(") else ": "
    familiar = markdown_text(words.familiarity(case))
    lines = [f"# {markdown_text(case.name)}: {found.outcome}", ""]
    if case.strange:
        lines += [f"**{familiar}**", ""]
    said = (words.answer(case), words.where(case), words.believe(case))
    lines += [
        f"**{heading}**{joint}{markdown_text(told)}.",
        "",
        markdown_text(" ".join(said)),
        "",
        f"{markdown_text(words.searched(case))} For research, not for diagnosis. "
        f"{words.CONVENTION}" + ("" if case.strange else f" {familiar}"),
        "",
        _said(case),
        size_of_change(case),
        JUDGES_NOTE,
        "",
        "## Evidence",
        "",
        markdown(evidence(case), ("evidence", "value")),
    ]
    if len(case.draws) > 1:
        rows = draws(case)
        lines += [f"## {len(rows)} draws", "", markdown(rows, tuple(rows[0]))]
    return "\n".join(lines)


def _said(case: Case) -> str:
    """Table of what classifier and judges say before and after."""
    found = case.found
    rows = [("classifier decides for", found.decided_before, found.decided_after)]
    p = zip(found.classes, found.before.tolist(), found.after.tolist(), strict=True)
    rows += [(f"p({name})", f"{before:.3f}", f"{after:.3f}") for name, before, after in p]
    judges = case.response.opinions[1:]
    rows += [(f"judge {judge.name} says", judge.before, judge.after) for judge in judges]
    columns = ("", "before", "after")
    return markdown([dict(zip(columns, row, strict=True)) for row in rows], columns)


def size_of_change(case: Case) -> str:
    """How large the change is."""
    pair = (case.found.factual[None], case.found.counterfactual[None])
    return (
        f"Change: L2 norm {float(metrics.l2(*pair)):.2f}, largest {float(metrics.linf(*pair)):.2f} "
        f"of the grey range, SSIM {float(metrics.ssim(*pair)):.3f}."
    )


def evidence(case: Case) -> list[dict[str, str]]:
    """Rows of what the verdict was made from; `cfgen.evidence.Evidence` defines each."""
    values = {name: float(column) for name, column in case.found.evidence._asdict().items()}
    return [
        {
            "evidence": name,
            "value": "not known" if math.isnan(value) else f"{round(value, 2) + 0.0:.2f}",
        }
        for name, value in values.items()
    ]


def draws(case: Case) -> list[dict[str, str]]:
    """A row a draw."""
    rows = []
    for draw, found in enumerate(case.draws):
        pair = (found.factual[None], found.counterfactual[None])
        rows.append(
            {
                "draw": str(draw),
                "outcome": str(found.outcome),
                "decides for": found.decided_after,
                "L2": f"{float(metrics.l2(*pair)):.2f}",
                "verdict": str(found.verdict.verdict) if found.verdict else "-",
            }
        )
    return rows
