"""What can only be said of counterfactuals together: are they real, personal, themselves?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor

from cfgen import metrics
from cfgen.types import Images
from evaluation.batches import batches
from evaluation.measures.image import CODES, INCEPTION, Instruments
from evaluation.measures.real import Seen
from evaluation.runs import Row, Run
from evaluation.summary import attempted, finite, group_of, target_of

MOST_CHANGES = 1000
"""Changes towards one target that are compared with each other, at most: the first of the run."""
WITHIN = (5.0, 95.0)
"""Percentiles of real images between which a judge's log-odds are not exaggerated."""
SAME_PATIENT = "another image of the patient"

DEFINITIONS = {
    "frechet": (
        "squared Frechet distance of Gaussians fitted to the penultimate features of the network "
        "named, of the counterfactuals (all attempted) to real images of the target class from "
        "the same split, over that of such real images to those of other patients, the mean over "
        "100 draws at the same n; 1 is as close as real. Beside it that of the unchanged factuals. "
        "Where the network is the autoencoder, in 4 x 4 block means of its codes. Where it is "
        "'inception', by the weights of --inception, the distance is the FID, at this n: FIDs at "
        "another n, or of many thousand images, do not compare. In any other network it is not an "
        "'FID'"
    ),
    "kernel": (
        "unbiased squared maximum mean discrepancy with the kernel (<x, y> / d + 1)^3 in the same "
        "features, of all attempted to the real images; beside it the mean and the 95th "
        "percentile of real images to those of other patients over 100 draws, and that of the "
        "unchanged factuals. Where the network is 'inception' the distance is a KID, and in no "
        "other"
    ),
    "coverage": (
        "in the same features: precision, the share of the counterfactuals (all attempted) that "
        "are no further from a real image than its third nearest real one is, and recall, the "
        "share of the real images that are no further from a counterfactual than its third nearest "
        "is; the mean over 20 draws at the same n. Beside them those of real images against real "
        "images of other patients, and of the unchanged factuals"
    ),
    "on_real": (
        "how often the judge decides for the target on real images of the target class from the "
        "run's split; and where among its log-odds of these (percentile) the median log-odds of "
        "the counterfactuals is that it follows: below 5 or above 95 is unlike real images"
    ),
    "changes": (
        "of all attempted: mean cosine of any two changes, and the share of the changes' energy "
        "that the best multiple of the mean of the others explains; 1 is one template for all. Of "
        f"at most {MOST_CHANGES} for each target"
    ),
    "identity": (
        "share of the counterfactuals (all attempted) to which no factual of the run is nearer "
        "than their own, in 16 x 16 block means of the pixels and in the features of the network "
        "for distances; beside it the share of factuals to which, of all others, an image of the "
        "same patient is nearest, of patients with several images"
    ),
}


@dataclass(frozen=True)
class Taken:
    """What is kept of a run's images.

    Attributes:
        rows: of every sample.
        pixels: thumbnails of factuals and counterfactuals, in the order of the rows.
        features: the same in what sets of images are compared in, by name.
        changes: of those attempted, by target, at most `MOST_CHANGES` each.
    """

    rows: list[Row]
    pixels: Float[Tensor, "2 samples blocks"]
    features: Mapping[str, Float[Tensor, "2 samples _"]]
    changes: Mapping[str, Images]

    def places(self) -> dict[str, list[int]]:
        """Places of the attempted samples of each target, by its name."""
        found: dict[str, list[int]] = {}
        for place, row in enumerate(self.rows):
            if attempted(row):
                found.setdefault(target_of(row), []).append(place)
        return dict(sorted(found.items()))


@torch.inference_mode()
def take(run: Run, instruments: Instruments, batch_size: int) -> Taken:
    """Go through a run's images once, and keep of them what the measures of sets need."""
    rows: list[Row] = []
    pixels: list[Tensor] = []
    views = instruments.views()
    features: dict[str, list[Tensor]] = {view: [] for view in views}
    changes: dict[str, list[Tensor]] = {}
    for batch in batches(run, batch_size, instruments.device):
        rows += batch.rows
        both = (batch.factual, batch.image)
        pixels.append(torch.stack([metrics.low_passed(images) for images in both]).cpu())
        for view, see in views.items():
            features[view].append(torch.stack([see(images) for images in both]).cpu())
        for row, change in zip(batch.rows, (batch.image - batch.factual).cpu(), strict=True):
            so_far = changes.setdefault(target_of(row), [])
            if attempted(row) and len(so_far) < MOST_CHANGES:
                so_far.append(change)
    stacked = {name: torch.stack(some) for name, some in changes.items() if some}
    seen = {view: torch.cat(parts, 1) for view, parts in features.items()}
    return Taken(rows, torch.cat(pixels, 1), seen, stacked)


def judges_on_real(
    rows: Sequence[Mapping], real: Mapping[str, Seen], judges: Sequence[str]
) -> dict[str, dict[str, dict]]:
    """Return by judge and target how the judge sees real images, and the followed among them.

    Args:
        rows: samples with their measures.
        real: what is seen in real images, by class.
        judges: their names.
    """
    return {
        judge: {
            target: _on_real(rows, judge, target, seen)
            for target, seen in real.items()
            if judge in seen.right
        }
        for judge in judges
    }


def _on_real(rows: Sequence[Mapping], judge: str, target: str, seen: Seen) -> dict:
    followed = [
        float(row[f"judge_{judge}_log_odds"])
        for row in rows
        if attempted(row) and target_of(row) == target and row[f"judge_{judge}_follows"] == 1
    ]
    right = metrics.estimate(seen.right[judge].float().tolist(), seen.patients)
    middle = median(followed) if followed else math.nan
    rank = float(metrics.overshoot(torch.tensor([middle]), seen.log_odds[judge]))
    low, high = WITHIN
    return {
        "right": finite(right),
        "followed": len(followed),
        "median_log_odds": middle if followed else None,
        "percentile": rank if followed else None,
        "within": low <= rank <= high if followed else None,
    }


def templates(taken: Taken) -> dict[str, dict]:
    """Return by target how alike the changes are."""
    found = {}
    for target, changes in sorted(taken.changes.items()):
        cosine = metrics.mean_pairwise_cosine(changes)
        share = metrics.share_explained_by_mean(changes)
        if not math.isnan(cosine):
            found[target] = {
                "n": len(changes),
                "pairwise_cosine": cosine,
                "explained_by_mean": share,
            }
    return found


def identity(taken: Taken) -> dict[str, dict[str, dict]]:
    """Return by target, in pixels and in features, how often a counterfactual's own is nearest."""
    spaces = {"pixels": taken.pixels}
    for view, features in taken.features.items():
        if view not in (CODES, INCEPTION):
            spaces["features"] = features
    groups = [group_of(row) for row in taken.rows]
    found: dict[str, dict[str, dict]] = {target: {} for target in taken.places()}
    for space, (factuals, images) in spaces.items():
        own = metrics.own_is_nearest(images, factuals).float().tolist()
        for target, places in taken.places().items():
            some = [own[place] for place in places]
            found[target][space] = finite(
                metrics.estimate(some, [groups[place] for place in places])
            )
        if all(row["patient"] is not None for row in taken.rows):
            same = metrics.same_group_is_nearest(factuals, groups)
            if not same.isnan().all():
                known = finite(metrics.estimate(same.tolist(), groups))
                found.setdefault(SAME_PATIENT, {})[space] = known
    return found
