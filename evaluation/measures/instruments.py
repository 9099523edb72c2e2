"""Which models a run is measured with: those of its bundle, or judges named instead."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from torch import nn

from cfgen.data import phantom
from cfgen.models.bundle import BORDER, Bundle, load_judges
from cfgen.models.classifier import Classifier
from evaluation.measures.image import FeatureNetwork, Instruments
from evaluation.runs import Run


def instruments_of(run: Run, bundle: Bundle, judges: Path | None) -> Instruments:
    """Return what a run is measured with.

    Args:
        run: the run.
        bundle: its own.
        judges: a folder with judges to ask instead of the bundle's.

    Raises:
        ValueError: there are no judges in the folder.
    """
    panel, border = bundle.judges, bundle.border
    if judges is not None:
        panel = _asked_instead(judges, bundle.device)
        border = panel.pop(BORDER, border)
    is_phantom = str(run.config["data"]).partition(":")[0] == "phantom"
    return Instruments(
        classifier=bundle.classifier,
        judges=panel,
        border=border,
        features=_feature_network(bundle.development) or _feature_network(panel),
        lungs=bundle.segmenter.lungs if bundle.has("segmenter") else None,
        autoencoder=bundle.autoencoder if bundle.has("autoencoder") else None,
        prior=bundle.prior if bundle.has("prior") else None,
        phantom=partial(phantom.of_path, size=bundle.size) if is_phantom else None,
        device=bundle.device,
    )


def _asked_instead(folder: Path, device: str) -> dict[str, Classifier]:
    """Judges of a folder, where the bundle's are not to be asked."""
    found = load_judges(folder)
    if not found:
        raise ValueError(
            f"expected judges in {folder}, each in a folder of its own, got none; name a folder "
            "such as BUNDLE/judges."
        )
    for judge in found.values():
        nn.Module.to(judge, device)
    return found


def _feature_network(candidates: dict[str, Classifier]) -> FeatureNetwork | None:
    """Return the first by name that sees whole images, None where none does.

    One for development is asked for first, for that is on no panel.
    """
    whole = {
        name: one for name, one in candidates.items() if one.view == "whole" and one.has_features
    }
    return FeatureNetwork(*min(whole.items())) if whole else None
