"""The models of a bundle that can be asked for evidence."""

from __future__ import annotations

from functools import partial

from cfgen.evidence import Witnesses
from cfgen.models.bundle import Bundle
from cfgen.models.prior import denoising_error


def witnesses_of(bundle: Bundle) -> Witnesses:
    """Return whoever a bundle has to ask: all its judges, its autoencoder, segmenter and prior."""
    return Witnesses(
        classifier=bundle.classifier,
        judges=bundle.judges,
        autoencoder=bundle.autoencoder if bundle.has("autoencoder") else None,
        lungs=bundle.segmenter.lungs if bundle.has("segmenter") else None,
        denoising=partial(denoising_error, bundle.prior) if bundle.has("prior") else None,
    )
