"""What a method is asked to reach, what it reached, and whether that is enough."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from evaluation.summary import CORRECT
from evaluation.tables import markdown, number

MARGIN = 0.05
"""How far a judge may follow less often than it is right on real images of the target."""


class Target(NamedTuple):
    """One thing asked.

    Attributes:
        name: of what is measured.
        asked: least value, or greatest where `least` is false.
        reached: the value; NaN where it was not measured.
        least: whether more is better.
    """

    name: str
    asked: float
    reached: float
    least: bool = True

    @property
    def met(self) -> bool:
        """Whether what was reached is enough; what was not measured is not."""
        return self.reached >= self.asked if self.least else self.reached <= self.asked


def targets_table(method: Path, class_mean: Path) -> str:
    """The targets of a method, of those classified correctly, as Markdown.

    Args:
        method: folder of its evaluated run.
        class_mean: the same of the class mean with the same steps, whose shift of the border
            judge is the measure of the method's.
    """
    ours, theirs = (_read(folder) for folder in (method, class_mean))
    lines = [
        {
            "target": target.name,
            "asked": f"{'at least' if target.least else 'at most'} {number(target.asked, 2)}",
            "reached": "not measured" if math.isnan(target.reached) else number(target.reached, 3),
            "": "met" if target.met else "not met",
        }
        for target in targets(ours, theirs)
    ]
    return f"## Targets of {method.name}\n\n" + markdown(lines, tuple(lines[0]))


def targets(ours: Mapping, class_mean: Mapping) -> Iterator[Target]:
    """Everything asked of a method, from its summary and that of the class mean."""
    means = ours["subsets"][CORRECT]["metrics"]
    yield Target("valid", 0.98, _mean(means, "valid"))
    yield Target("seconds an image", 1.0, ours["subsets"][CORRECT]["seconds"] or math.nan, False)
    yield Target("SSIM", 0.94, _mean(means, "ssim"))
    yield Target("SSIM outside the lungs", 0.95, _mean(means, "ssim_outside"))
    yield Target("change in the lungs, over chance", 2.0, _mean(means, "inside_ratio"))
    for judge in sorted(ours["on_real"]):
        for name, found in sorted(ours["on_real"][judge].items()):
            followed = _mean(_of_target(ours, name), f"judge_{judge}_follows")
            right = found["right"]["mean"]
            yield Target(f"{judge} follows, to {name}", (right or 0) - MARGIN, followed)
            rank = found["percentile"]
            apart = math.nan if rank is None else abs(rank - 50)
            yield Target(f"{judge}: percentile from the middle, to {name}", 45.0, apart, False)
    for name in sorted(ours["direction"]):
        shift = abs(_mean(_of_target(ours, name), "border_shift"))
        yield Target(
            f"border judge's shift over the class mean's, to {name}",
            0.5,
            shift / abs(_mean(_of_target(class_mean, name), "border_shift") or math.nan),
            False,
        )
        alike = ours["changes"].get(name, {}).get("pairwise_cosine", math.nan)
        yield Target(f"cosine of any two changes, to {name}", 0.5, alike, False)
        for network, found in ours["frechet"].items():
            ratio = found.get(name, {}).get("ratio", math.nan)
            yield Target(f"Frechet ratio ({network}), to {name}", 2.0, ratio, False)


def _read(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def _of_target(summary: Mapping, name: str) -> Mapping:
    return summary["direction"].get(name, {}).get(CORRECT, {}).get("metrics", {})


def _mean(means: Mapping, metric: str) -> float:
    found = means.get(metric, {}).get("mean")
    return math.nan if found is None else float(found)
