"""How far are a run's counterfactuals, as a set, from real images of their target?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from cfgen import metrics
from cfgen.metrics.draws import largest_draw
from cfgen.metrics.manifold import NEIGHBOURS
from evaluation.measures.image import CODES
from evaluation.measures.real import Seen
from evaluation.measures.realism import Taken


def distances(taken: Taken, real: Mapping[str, Seen]) -> dict[str, dict]:
    """Return Frechet and kernel distances, and coverage, by view and target, as in a summary.

    A target with too few counterfactuals or real images for a measure is left out of it.

    Args:
        taken: of the run.
        real: what is seen in real images, by class.
    """
    found: dict[str, dict] = {"frechet": {}, "kernel": {}, "coverage": {}}
    for view, features in taken.features.items():
        for target, places in taken.places().items():
            seen = real.get(target)
            if seen is None or view not in seen.features:
                continue
            measured = _compared(features[:, places], seen.features[view], seen.patients)
            for measure, values in measured.items():
                found[measure].setdefault(view, {})[target] = values
    return found


def in_network(found: Mapping[str, Mapping]) -> Mapping[str, Mapping]:
    """Return a measure by target in the one network that a run is measured in, not in its codes."""
    return next((known for view, known in found.items() if view != CODES), {})


def _compared(
    pairs: Float[Tensor, "2 samples units"],
    real: Float[Tensor, "real units"],
    patients: Sequence[str],
) -> dict[str, dict]:
    """Hold factuals and counterfactuals against the real images of their target."""
    n = min(pairs.shape[1], largest_draw(patients))
    before, after = pairs
    found: dict[str, dict] = {}
    if n >= 2:
        factual, ours = metrics.frechet_ratios(pairs, real, patients)
        found["frechet"] = {**ours._asdict(), "ratio_factual": factual.ratio}
        found["kernel"] = {
            **metrics.kernel_comparison(after, real, patients)._asdict(),
            "factual": metrics.kernel_distance(before, real),
        }
    if n > NEIGHBOURS:
        unchanged, ours = metrics.coverages(pairs, real, patients)
        found["coverage"] = {
            **ours._asdict(),
            "precision_factual": unchanged.precision,
            "recall_factual": unchanged.recall,
        }
    return {measure: {**values, "n_real": len(patients)} for measure, values in found.items()}
