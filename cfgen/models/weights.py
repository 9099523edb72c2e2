"""Weights of networks that others trained: state dicts, read without running code from them."""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

_NESTED = ("state_dict_ema", "state_dict", "model_state_dict", "model")
"""Where training loops put the weights in their checkpoints; timm, too, prefers averaged ones."""


def load_weights(network: nn.Module, path: Path) -> nn.Module:
    """Load a state dict into a network, from safetensors or a PyTorch checkpoint.

    A checkpoint may nest it ('state_dict', 'model') and prefix its keys ('module.', 'model.'); of
    averaged weights ('state_dict_ema') and last ones the averaged are taken.

    Raises:
        ValueError: the file cannot be read, or does not fit.
    """
    state = read_weights(path)
    try:
        network.load_state_dict(_without_prefix(state, next(iter(network.state_dict()))))
    except RuntimeError as error:
        raise ValueError(
            f"expected the weights in {path} to fit the architecture, got {error}; do check "
            "architecture, classes and channels"
        ) from error
    return network


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Read a state dict, wherever in the file it is.

    Raises:
        ValueError: the file is missing, cannot be read without running code from it, or holds
            something else.
    """
    if not path.is_file():
        raise ValueError(f"expected a file of weights in {path}, got none; do name one there is")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it may be TorchScript is said below
            # timm's training stores its arguments, plain values, beside the weights.
            with torch.serialization.safe_globals([Namespace]):
                state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpicklers raise nearly anything on what is no state dict
        raise ValueError(
            f"expected a state dict in {path}, got what cannot be read as one without running "
            f"code from it ({type(error).__name__}: {in_short(error)}); do save "
            "model.state_dict() (a TorchScript program is a classifier of kind: torchscript)"
        ) from error
    for key in _NESTED:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        raise ValueError(
            f"expected a state dict in {path}, got a {type(state).__name__}; do save "
            "model.state_dict()"
        )
    return state


def in_short(error: Exception) -> str:
    r"""Return what an error says in one line, of 200 letters at most.

    >>> in_short(ValueError("Missing keys:\n\tfc.weight"))
    'Missing keys: fc.weight'
    """
    return " ".join(str(error).split())[:200]


def _without_prefix(state: Mapping[str, Tensor], own: str) -> dict[str, Tensor]:
    """Strip what stands before the network's own keys; other keys are no part of the network."""
    before = [key.removesuffix(own) for key in state if key == own or key.endswith(f".{own}")]
    prefix = min(before, key=len, default="")
    return {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }
