"""Forms of a network: other ways to compute the same, which may be faster on some machines.

None of them is faster everywhere, so that a search measures which ones are (`evaluation.search`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from cfgen.models.bundle import Bundle

PARTS = {
    "classifier": ("classifier", "network"),
    "encoder": ("autoencoder.vae", "encoder"),
    "decoder": ("autoencoder.vae", "decoder"),
    "prior": ("prior", "unet"),
}
"""Where the networks that a search asks are in a bundle: whose attribute they are."""


LEAST_COMPILED = 16
"""Images from which on a batch of any size is computed by the same program: below, torch chooses
other convolutions on CPUs, by a guard on the size, and for one image others again."""


class Form(NamedTuple):
    """A form of a network.

    Attributes:
        make: gives a network this form; the one given to it stays as it is.
        parts: the networks that can have it.
        exact: whether results change by rounding only.
    """

    make: Callable[[nn.Module], nn.Module]
    parts: tuple[str, ...]
    exact: bool = True


def folded(network: nn.Module) -> nn.Module:
    """Fold every batch norm into the convolution or dense layer before it (Jacob et al. 2018).

    A network that torch.fx cannot trace as a whole is taken piece by piece.

    Args:
        network: in evaluation mode, in which a batch norm is linear.

    Raises:
        ValueError: there is nothing to fold.

    Example:
        >>> layers = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()).eval()
        >>> [type(layer).__name__ for layer in folded(layers).children()]
        ['Conv2d', 'ReLU']
    """
    found = _fold(deepcopy(network))
    if _norms(found) == _norms(network):
        raise ValueError("expected a batch norm behind a convolution, got none that can be seen")
    return found


def _fold(network: nn.Module) -> nn.Module:
    try:
        return fuse(network)
    except Exception:  # whatever it meets in the code of a network that is not made for it
        for name, child in network.named_children():
            if any(True for _ in child.children()):
                setattr(network, name, _fold(child))
        return network


def _norms(network: nn.Module) -> int:
    return sum(isinstance(one, nn.BatchNorm1d | nn.BatchNorm2d) for one in network.modules())


def channels_last(network: nn.Module) -> nn.Module:
    """Store the weights, and with them all features, with the channels of a pixel side by side.

    Raises:
        ValueError: they are stored like that already.
    """
    weights = [weight for weight in network.parameters() if weight.ndim == 4]
    if all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights):
        raise ValueError("expected weights stored channel by channel, got none")
    return deepcopy(network).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


class Autocast(nn.Module):
    """Computes in bfloat16 what is said to bear it, and returns float32 again.

    Args:
        network: gives a tuple of tensors.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, given: Tensor, *others: Any, **named: Any) -> tuple[Tensor, ...]:  # noqa: ANN401
        """Ask the network what it takes, as it takes it."""
        with torch.autocast(given.device.type, torch.bfloat16):
            return tuple(one.float() for one in self.network(given, *others, **named))


class Compiled(nn.Module):
    """Runs a network as torch.compile makes it: once with and once without gradient.

    It would be compiled again for batches smaller than `LEAST_COMPILED`, and in inference mode,
    where a search does little: there the network is asked as it is.

    Args:
        network: the size of the batch is the first one of every tensor that it is given.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._compiled = torch.compile(network)

    def forward(self, given: Tensor, *others: Any, **named: Any) -> Any:  # noqa: ANN401
        """Ask the network what it takes, as it takes it."""
        if len(given) < LEAST_COMPILED or torch.is_inference_mode_enabled():
            return self.network(given, *others, **named)
        for one in (given, *others):
            if isinstance(one, Tensor):
                # Else every size would be compiled for, until torch gives up.
                torch._dynamo.mark_dynamic(one, 0)
        return self._compiled(given, *others, **named)


FORMS: dict[str, Form] = {
    "folded": Form(folded, ("classifier",)),
    # Loaded models are stored so already: it is for a classifier of someone's own.
    "channels-last": Form(channels_last, ("classifier",)),
    # What the classifier says and what is shown must stay what everyone else computes; what the
    # prior proposes is an edit, which a search then scales and judges.
    "autocast": Form(Autocast, ("prior",), exact=False),
    "compiled": Form(Compiled, tuple(PARTS)),
}
"""The forms by name, in the order in which one is put on top of the other."""


def network_of(bundle: Bundle, part: str) -> nn.Module:
    """The network of a part of a bundle, a name in `PARTS`, in the form that it has."""
    owner, name = PARTS[part]
    return getattr(attrgetter(owner)(bundle), name)


def place(bundle: Bundle, part: str, network: nn.Module) -> None:
    """Put a network in the place of that of a part of a bundle."""
    owner, name = PARTS[part]
    setattr(attrgetter(owner)(bundle), name, network)


def shaped(network: nn.Module, forms: Sequence[str]) -> nn.Module:
    """Give a network some forms, one on top of the other.

    Args:
        network: stays as it is.
        forms: names in `FORMS`.

    Raises:
        Exception: any, where torch cannot make one of them.
    """
    for form in forms:
        network = FORMS[form].make(network)
    return network
