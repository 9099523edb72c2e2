"""Measures by networks that others published: LPIPS and FID, by weights from files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from cfgen import metrics
from cfgen.digests import digest_of
from cfgen.models import alexnet, inception
from cfgen.types import Images
from evaluation.measures.image import INCEPTION, Instruments

_PUBLISHED = {"lpips": alexnet.PUBLISHED, "inception": inception.PUBLISHED}


class Weights(NamedTuple):
    """Files of weights; nothing is downloaded, and what has no file is not measured.

    Attributes:
        lpips: of AlexNet (`cfgen.models.alexnet.load_alexnet`).
        inception: of FID's Inception (`cfgen.models.inception.load_inception`).
    """

    lpips: Path | None = None
    inception: Path | None = None

    def files(self) -> dict[str, Path]:
        """Return the files there are, by what they are for."""
        return {name: path for name, path in self._asdict().items() if path is not None}


NO_WEIGHTS = Weights()


def with_weights(instruments: Instruments, weights: Weights) -> Instruments:
    """Add the networks of files to what a run is measured with.

    Raises:
        ValueError: a file is missing or of another network, or a judge has the name of FID's.
    """
    if weights.lpips is not None:
        instruments = replace(instruments, lpips=_lpips(weights.lpips, instruments.device))
    if weights.inception is None:
        return instruments
    if instruments.features is not None and instruments.features.name == INCEPTION:
        raise ValueError(
            f"expected FID's Inception alone under the name '{INCEPTION}', got a judge of that "
            "name; do rename the judge's folder, or leave --inception out."
        )
    network = inception.load_inception(weights.inception).to(instruments.device)
    return replace(instruments, inception=network)


def describe_weights(weights: Weights) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return each file with its sha256, and a note on each that is not the published one.

    Raises:
        OSError: a file cannot be read.
    """
    described, notes = {}, []
    for name, path in weights.files().items():
        digest = digest_of(path).hex()
        described[name] = {"file": str(path), "sha256": digest}
        if not digest.startswith(_PUBLISHED[name]):
            notes.append(
                f"{path.name}, the weights of --{name}, is not the file that is published (its "
                f"sha256 begins with {digest[:8]}, the published name says {_PUBLISHED[name]}): "
                "unless the weights in it are the same, its numbers compare to nobody else's."
            )
    return described, notes


def _lpips(path: Path, device: str) -> Callable[[Images, Images], Float[Tensor, " batch"]]:
    network = alexnet.load_alexnet(path).to(device)
    return lambda one, other: metrics.lpips(network(one), network(other), list(network.heads))
