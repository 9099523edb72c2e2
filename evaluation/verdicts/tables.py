"""What a verdict model reached, as tables and a figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from cfgen.verdict import Verdict, VerdictModel
from evaluation.figures.style import AFTER, BEFORE
from evaluation.tables import markdown, number
from evaluation.verdicts.fit import RISK, Odds, RiskPoint

AIM_COVERAGE = 0.7


def verdicts_of(model: VerdictModel, odds: Odds) -> list[Verdict]:
    """Return the verdicts that a model gives at some probabilities of its classes."""
    best = odds.argmax(1)
    return [
        model.classes[best[k]] if decided else Verdict.UNCERTAIN
        for k, decided in enumerate(model.decides(odds).tolist())
    ]


def reached(model: VerdictModel, odds: Odds, truths: Sequence[Verdict]) -> dict:
    """Return confusion, coverage and risk of a model's verdicts."""
    given = verdicts_of(model, odds)
    pairs = Counter(zip(truths, given, strict=True))
    decided = [k for k, one in enumerate(given) if one != Verdict.UNCERTAIN]
    wrong = sum(given[k] != truths[k] for k in decided)
    return {
        "n": len(truths),
        "confusion": {
            str(truth): {str(one): pairs[truth, one] for one in Verdict} for truth in Verdict
        },
        "coverage": len(decided) / len(truths),
        "risk": wrong / len(decided) if decided else None,
    }


def reached_text(told: dict, model: VerdictModel) -> str:
    """Say what was reached, beside what was aimed at, with the confusion."""
    rows = [
        {"truth": truth, **{f"verdict {one}": str(n) for one, n in counts.items()}}
        for truth, counts in told["confusion"].items()
    ]
    right = None if told["risk"] is None else 1 - told["risk"]
    return (
        f"{told['n']} counterfactuals. Decided: {number(told['coverage'])} (aim {AIM_COVERAGE}), "
        f"at a probability of {number(model.threshold)} or more; right in {number(right)} of "
        f"these (aim {1 - RISK}).\n\n" + markdown(rows, tuple(rows[0]))
    )


def weights_table(model: VerdictModel) -> str:
    """Table of what each piece of evidence weighs, a column a verdict."""
    rows = [
        {
            "evidence, a standard deviation up": name,
            "mean": number(model.means[k]),
            "deviation": number(model.scales[k]),
            **{
                str(one): number(weights[k])
                for one, weights in zip(model.classes, model.weights, strict=True)
            },
        }
        for k, name in enumerate(model.features)
    ]
    return markdown(rows, tuple(rows[0]))


def by_search(
    model: VerdictModel, odds: Odds, truths: Sequence[Verdict], searches: Sequence[str]
) -> str:
    """Table of what a model says of each search's counterfactuals, beside what is true."""
    rows = []
    for search in dict.fromkeys(searches):
        kept = [k for k, one in enumerate(searches) if one == search]
        told = reached(model, odds[kept], [truths[k] for k in kept])
        true, given = Counter(truths[k] for k in kept), Counter(verdicts_of(model, odds[kept]))
        row = {"search": search, "n": str(len(kept))}
        row |= {"decided": number(told["coverage"]), "wrong of these": number(told["risk"])}
        row |= {f"{one}, true/given": f"{true[one]}/{given[one]}" for one in Verdict}
        rows.append(row)
    return markdown(rows, tuple(rows[0]))


def curve_table(curve: Sequence[RiskPoint], n: int) -> str:
    """Table of the risk at each tenth of n counterfactuals decided."""
    rows = []
    for share in np.arange(0.1, 1.01, 0.1):
        point = next((one for one in curve if one.decided >= share * n), None)
        if point is not None:
            risk = number(point.wrong / point.decided)
            rows.append(
                {
                    "decided": number(point.decided / n),
                    "wrong of these": risk,
                    "threshold": number(point.threshold),
                }
            )
    return markdown(rows, ("decided", "wrong of these", "threshold"))


def curve_figure(curve: Sequence[RiskPoint], n: int, told: dict) -> Figure:
    """Draw the risk against the share of n counterfactuals decided, and what was chosen."""
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    axes = figure.subplots()
    coverage = [point.decided / n for point in curve]
    axes.plot(coverage, [point.wrong / point.decided for point in curve], color=AFTER)
    if told["risk"] is not None:
        axes.scatter([told["coverage"]], [told["risk"]], color=AFTER, s=36, zorder=3)
        axes.annotate(
            "chosen", (told["coverage"], told["risk"]), xytext=(5, 5), textcoords="offset points"
        )
    axes.axhline(RISK, color=BEFORE, linewidth=1)
    axes.axvline(AIM_COVERAGE, color=BEFORE, linewidth=1)
    axes.set_xlabel("share decided")
    axes.set_ylabel("share of these that is wrong")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
