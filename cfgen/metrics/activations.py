"""In which layers does a network take notice of the change?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cfgen.types import Images


class LayerChange(NamedTuple):
    """How much the activations of a layer change from factual to counterfactual.

    Attributes:
        layer: the layer's name in its network.
        change: L2 norm of the change, the mean over the images.
        relative: the same over the L2 norm of the factual's activations.
    """

    layer: str
    change: float
    relative: float


def activation_change(network: nn.Module, factual: Images, image: Images) -> list[LayerChange]:
    """Return the change |a(x') - a(x)|_2 in every convolution's activations, largest first.

    In a network without convolutions its dense layers stand in for them. A layer that is called
    several times in a pass counts with all its calls. The norms grow with the size of a layer's
    activations, the relative ones do not.

    Args:
        network: a network in evaluation mode, from images to anything.
        factual: the images before.
        image: the images after.

    Raises:
        ValueError: the network is in training mode, or has neither convolutions nor dense layers.
    """
    if network.training:
        raise ValueError(
            "expected a network in evaluation mode, got one in training mode, whose dropout "
            "would be measured as change; call its eval() first."
        )
    layers = _layers(network, nn.Conv2d) or _layers(network, nn.Linear)
    if not layers:
        raise ValueError(
            f"expected a network with nn.Conv2d or nn.Linear layers, got {type(network).__name__} "
            "without any; pass one whose layers are modules."
        )
    squares = {name: torch.zeros(2, len(factual)) for name in layers}

    def watch(name: str) -> torch.utils.hooks.RemovableHandle:
        def add(_layer: nn.Module, _inputs: object, activations: Tensor) -> None:
            squares[name] += _squares(activations).cpu()

        return layers[name].register_forward_hook(add)

    handles = [watch(name) for name in layers]
    try:
        with torch.inference_mode():
            network(torch.cat([factual, image]))
    finally:
        for handle in handles:
            handle.remove()
    changes = [_layer_change(name, norms) for name, norms in squares.items()]
    return sorted(changes, key=lambda layer: layer.change, reverse=True)


def _layers(network: nn.Module, kind: type[nn.Module]) -> dict[str, nn.Module]:
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, kind)}


def _squares(activations: Float[Tensor, "both ..."]) -> Float[Tensor, "2 batch"]:
    """Squared norms of the change and of the factuals, whose activations come first."""
    before, after = activations.flatten(1).float().chunk(2)
    return torch.stack([(after - before).square().sum(1), before.square().sum(1)])


def _layer_change(name: str, squares: Float[Tensor, "2 batch"]) -> LayerChange:
    change, before = squares.sqrt()
    relative = torch.where(before > 0, change / before, torch.nan)
    return LayerChange(name, float(change.mean()), float(relative.nanmean()))
