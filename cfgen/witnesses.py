"""The models of a bundle that can be asked for evidence."""

from __future__ import annotations

from functools import partial

from cfgen.evidence import Witnesses
from cfgen.models.bundle import Bundle
from cfgen.models.prior import denoising_error


def witnesses_of(bundle: Bundle) -> Witnesses:
    """Return whoever a bundle has to ask: all its judges, its autoencoder, segmenter and prior."""
    there = {folder.parent.name for folder in bundle.path.glob("*/config.json")}
    return Witnesses(
        classifier=bundle.classifier,
        judges=bundle.judges,
        autoencoder=bundle.autoencoder if "autoencoder" in there else None,
        lungs=bundle.segmenter.lungs if "segmenter" in there else None,
        denoising=partial(denoising_error, bundle.prior) if "prior" in there else None,
    )
