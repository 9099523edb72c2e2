"""The columns of a comparison: which there are, and how a summary fills them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from evaluation.definitions import describe
from evaluation.summary import ALL
from evaluation.tables import Cell

_BEFORE_JUDGES = ("valid", "flip")
_AFTER_JUDGES = (
    "panel_follows",
    "non_adversarial",
    "p_change",
    "cout",
    "border_shift",
    "ssim",
    "ssim_outside",
    "ms_ssim",
    "psnr",
    "gmsd",
    "fsim",
    "haarpsi",
    "vif",
    "lpips",
    "l1",
    "l2",
    "linf",
    "changed",
    "sparsity",
    "high_frequency",
    "im1",
    "im2",
    "energy_in_opacity",
    "iou_opacity",
    "pointing_opacity",
    "ssim_outside_opacity",
    "energy_in_marker",
    "energy_in_lungs",
    "inside_ratio",
    "l2_truth",
    "ssim_truth",
    "ssim_truth_factual",
)


@dataclass(frozen=True)
class Column:
    """A column of the comparison: its head, its decimals, and how a summary's cell is found."""

    head: str
    decimals: int
    find: Callable[[Mapping, str], Cell | Mapping]


class _Measure(NamedTuple):
    """A measure of all attempted images together: where a summary has it, for each target."""

    head: str
    decimals: int
    path: tuple[str, ...]
    key: str

    def targets(self, summary: Mapping) -> Mapping:
        """Return what the summary knows by target; an older evaluation lacks it."""
        for name in self.path:
            summary = summary.get(name, {})
        return summary

    def of(self, target: str) -> Callable[[Mapping, str], Cell | Mapping]:
        """Return how the measure of a target is found; it says nothing of a subset."""

        def find(summary: Mapping, subset: str) -> Cell | Mapping:
            known = self.targets(summary).get(target, {})
            return known.get(self.key) if subset == ALL else None

        return find


_ALIKE = (
    _Measure("pairwise cosine of changes", 2, ("changes",), "pairwise_cosine"),
    _Measure("changes explained by their mean", 2, ("changes",), "explained_by_mean"),
    _Measure("own factual nearest", 2, ("identity",), "pixels"),
)


def columns_of(summaries: Sequence[Mapping]) -> list[Column]:
    """Return the columns that at least one of the runs fills, given their summaries."""
    measured = {metric for one in summaries for metric in one["definitions"]}
    judges = sorted({judge for one in summaries for judge in one["judges"]})
    targets = sorted({target for one in summaries for target in one["direction"]})
    columns = [
        Column("method", 0, lambda summary, _: summary["method"]),
        Column("n", 0, lambda summary, subset: summary["subsets"][subset]["n"]),
        *map(_metric, _BEFORE_JUDGES),
    ]
    for judge in judges:
        columns += [_metric(f"judge_{judge}_follows_valid", to) for to in (None, *targets)]
        columns.append(_metric(f"judge_{judge}_factual_right"))
        columns += _of_sets(summaries, _on_real(judge), targets)
    columns += [_metric(metric) for metric in _AFTER_JUDGES if metric in measured]
    networks = sorted({name for one in summaries for name in one["frechet"]})
    for network in networks:
        columns += _of_sets(summaries, _distances(network), targets)
    columns += _of_sets(summaries, _ALIKE, targets)
    columns.append(Column("evaluations", 0, _evaluations))
    columns.append(Column("s/sample", 3, lambda found, subset: found["subsets"][subset]["seconds"]))
    return columns


def _metric(name: str, target: str | None = None) -> Column:
    """Column of a metric, of all targets or of one."""
    shown = describe(name)

    def find(summary: Mapping, subset: str) -> Mapping | None:
        subsets = summary["direction"].get(target) if target else summary["subsets"]
        return subsets[subset]["metrics"].get(name) if subsets else None

    head = f"{shown.label}, to {target}" if target else shown.label
    return Column(head, shown.decimals, find)


def _on_real(judge: str) -> Sequence[_Measure]:
    """How a judge sees real images, and where the followed lie among these."""
    return (
        _Measure(f"{judge} right on real", 2, ("on_real", judge), "right"),
        _Measure(f"{judge} percentile of followed", 0, ("on_real", judge), "percentile"),
    )


def _distances(network: str) -> Sequence[_Measure]:
    kernel, coverage = ("kernel", network), ("coverage", network)
    high = f"kernel distance of real images ({network}), 95th percentile"
    return (
        _Measure(f"Frechet ratio ({network})", 2, ("frechet", network), "ratio"),
        _Measure(f"kernel distance ({network})", 4, kernel, "distance"),
        _Measure(high, 4, kernel, "real_high"),
        _Measure(f"precision ({network})", 2, coverage, "precision"),
        _Measure(f"recall ({network})", 2, coverage, "recall"),
    )


def _of_sets(
    summaries: Sequence[Mapping], measures: Sequence[_Measure], targets: Sequence[str]
) -> list[Column]:
    """Columns of measures of the images together, by target, where a run has them."""
    return [
        Column(f"{measure.head}, to {target}", measure.decimals, measure.of(target))
        for measure in measures
        if any(measure.targets(summary) for summary in summaries)
        for target in targets
    ]


def _evaluations(summary: Mapping, subset: str) -> float | None:
    return summary["subsets"][subset]["median"].get("evaluations")
