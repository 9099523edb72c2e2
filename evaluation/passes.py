"""Which passes of the networks a search makes, counted by hooks, whatever it says of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn

from cfgen.models.bundle import Bundle

GRADIENT = " + backward"
KINDS = (
    "classifier",
    "classifier" + GRADIENT,
    "decoder",
    "decoder" + GRADIENT,
    "encoder",
    "prior",
)
"""Forward passes alone, and those with a backward one for the gradient at what goes in."""


@dataclass(frozen=True)
class Tally:
    """What has been counted.

    Attributes:
        passes: images or codes that went through each kind of pass; without kinds none took.
        calls: how often the networks were called, by kind and by the size of the batch.
    """

    passes: Counter[str] = field(default_factory=Counter)
    calls: Counter[tuple[str, int]] = field(default_factory=Counter)


def networks(bundle: Bundle) -> dict[str, nn.Module]:
    """The networks of a bundle that a search asks, by the kind of their forward pass."""
    found: dict[str, nn.Module] = {"classifier": bundle.classifier}
    if bundle.has("autoencoder"):
        vae = bundle.autoencoder.vae
        found |= {"encoder": vae.encoder, "decoder": vae.decoder}
    if bundle.has("prior"):
        found["prior"] = bundle.prior
    return found


@contextmanager
def counting(bundle: Bundle) -> Iterator[Tally]:
    """Count the passes made meanwhile.

    A backward pass counts for the images whose gradient is not zero: those that are carried along
    in a batch could have been left out. Calls have them all.

    Yields:
        The counts so far; of an image with a backward pass, the forward one is not counted apart.
    """
    tally = Tally()
    handles = [
        network.register_forward_hook(_noting(kind, tally))
        for kind, network in networks(bundle).items()
    ]
    try:
        yield tally
    finally:
        for handle in handles:
            handle.remove()


def _noting(kind: str, tally: Tally):  # noqa: ANN202 - a hook
    def returned(gradient: Tensor) -> None:
        wanted = int(gradient.flatten(1).any(1).sum())
        tally.passes[kind] -= wanted
        tally.passes[kind + GRADIENT] += wanted
        tally.calls[kind, len(gradient)] -= 1
        tally.calls[kind + GRADIENT, len(gradient)] += 1

    def passed(_network: nn.Module, _given: object, result: Tensor) -> None:
        tally.passes[kind] += len(result)
        tally.calls[kind, len(result)] += 1
        if result.requires_grad:
            result.register_hook(returned)

    return passed


def forward_passes(passes: Mapping[str, int], kind: str) -> int:
    """Forward passes of a network, with and without a backward one.

    >>> forward_passes({"decoder": 3, "decoder + backward": 4}, "decoder")
    7
    """
    return passes.get(kind, 0) + passes.get(kind + GRADIENT, 0)
