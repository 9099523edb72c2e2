"""Which passes of the networks a search makes, counted by hooks, whatever it says of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

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

Passes = Counter[str]
"""How many images or codes went through each kind of pass; without the kinds that none took."""


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
def counting(bundle: Bundle) -> Iterator[Passes]:
    """Count the passes made meanwhile.

    A backward pass counts for the images whose gradient is not zero: those that are carried along
    in a batch could have been left out.

    Yields:
        The counts so far; of an image with a backward pass, the forward one is not counted apart.
    """
    passes: Passes = Counter()
    handles = [
        network.register_forward_hook(_noting(kind, passes))
        for kind, network in networks(bundle).items()
    ]
    try:
        yield passes
    finally:
        for handle in handles:
            handle.remove()


def _noting(kind: str, passes: Passes):  # noqa: ANN202 - a hook
    def returned(gradient: Tensor) -> None:
        wanted = int(gradient.flatten(1).any(1).sum())
        passes[kind] -= wanted
        passes[kind + GRADIENT] += wanted

    def passed(_network: nn.Module, _given: object, result: Tensor) -> None:
        passes[kind] += len(result)
        if result.requires_grad:
            result.register_hook(returned)

    return passed


def forward_passes(passes: Mapping[str, int], kind: str) -> int:
    """Forward passes of a network, with and without a backward one.

    >>> forward_passes({"decoder": 3, "decoder + backward": 4}, "decoder")
    7
    """
    return passes.get(kind, 0) + passes.get(kind + GRADIENT, 0)
