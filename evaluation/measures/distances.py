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
            before, after = features[:, places]
            measured = _compared(before, after, seen.features[view], seen.patients)
            for measure, values in measured.items():
                found[measure].setdefault(view, {})[target] = values
    return found


def in_network(found: Mapping[str, Mapping]) -> Mapping[str, Mapping]:
    """Return a measure by target in the one network that a run is measured in, not in its codes."""
    return next((known for view, known in found.items() if view != CODES), {})


def _compared(
    before: Float[Tensor, "samples units"],
    after: Float[Tensor, "samples units"],
    real: Float[Tensor, "real units"],
    patients: Sequence[str],
) -> dict[str, dict]:
    """Hold factuals and counterfactuals against the real images of their target."""
    n = min(len(after), largest_draw(patients))
    found: dict[str, dict] = {}
    if n >= 2:
        found["frechet"] = {
            **metrics.frechet_ratio(after, real, patients)._asdict(),
            "ratio_factual": metrics.frechet_ratio(before, real, patients).ratio,
        }
        found["kernel"] = {
            **metrics.kernel_comparison(after, real, patients)._asdict(),
            "factual": metrics.kernel_distance(before, real),
        }
    if n > NEIGHBOURS:
        unchanged = metrics.coverage(before, real, patients)
        found["coverage"] = {
            **metrics.coverage(after, real, patients)._asdict(),
            "precision_factual": unchanged.precision,
            "recall_factual": unchanged.recall,
        }
    return {measure: {**values, "n_real": len(patients)} for measure, values in found.items()}
