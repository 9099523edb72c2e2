"""What the columns of a run's `axioms.csv` mean, and how they are told."""

from __future__ import annotations

from collections.abc import Sequence

from cfgen.metrics import estimate
from evaluation.definitions import Metric
from evaluation.runs import Row, Run
from evaluation.summary import finite, group_of
from evaluation.tables import interval, markdown

AXIOMS = {
    "composition_1": Metric(
        "composition, 1 cycle",
        4,
        "mean absolute change of a pixel by encoding and decoding the factual; 0 is ideal",
    ),
    "composition_10": Metric("composition, 10 cycles", 4, "the same ten times in a row"),
    "residual_1": Metric(
        "composition, residual, 1 cycle",
        4,
        "the same with residual decoding, as the methods search by default: 0 but for rounding",
    ),
    "residual_10": Metric("composition, residual, 10 cycles", 4, "the same ten times in a row"),
    "reversibility": Metric(
        "reversibility",
        4,
        "mean absolute difference of a pixel between the factual and what the same search finds "
        "from the counterfactual back to the source class; of counterfactuals that left it",
    ),
    "l1": Metric("L1", 4, "mean absolute change of a pixel: what never returning scores"),
    "least_share": Metric(
        "least share",
        2,
        "least share of the change, in 16ths along the straight line, that reaches the run's goal; "
        "1 is minimal; of counterfactuals that reach it",
    ),
    "latent_divergence": Metric(
        "CLD",
        2,
        "counterfactual latent divergence in the autoencoder's codes, among the factuals tested "
        "by predicted class; from .69 to 1.69, lower is better",
    ),
    "stability": Metric(
        "stability",
        2,
        "distance of the counterfactuals of the factual and of the factual with normal noise of "
        "0.02, over that of the two factuals; 1 is the same change, lower is steadier",
    ),
}


def to_markdown(run: Run, rows: Sequence[Row], table: Sequence[Row]) -> str:
    """Write axioms for reading.

    Args:
        run: the run.
        rows: the samples tested.
        table: their axioms, in the same order.
    """
    groups = [group_of(row) for row in rows]
    names = [name for name in table[0] if name in AXIOMS]
    lines = []
    for name in names:
        values = [None if row[name] is None else float(row[name] or 0) for row in table]
        known = estimate(values, groups)
        shown = interval(finite(known), AXIOMS[name].decimals)
        lines.append({"": AXIOMS[name].label, "mean": shown, "n": str(known.n)})
    return "\n".join(
        [
            f"# {run.path.name}: axioms of `{run.config['method']}`\n",
            f"The first {len(rows)} samples that had a way to go, whatever the search's outcome. "
            "Means with 95 % bootstrap intervals over patients, or images where these are unknown. "
            "Effectiveness is `valid` in summary.md.\n",
            markdown(lines, ("", "mean", "n")),
            "## Definitions\n",
            "".join(f"- `{name}`: {AXIOMS[name].definition}.\n" for name in names),
        ]
    )
