"""Saved models: a folder with config.json and safetensors, read without running code from it."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import torch
from diffusers.models.modeling_utils import ModelMixin
from safetensors import SafetensorError
from torch import nn

from cfgen.digests import digest_of

WEIGHTS = "diffusion_pytorch_model.safetensors"


def load_model(kind: type[ModelMixin], path: Path) -> ModelMixin:
    """Load a model of one kind, frozen and in evaluation mode.

    Raises:
        ValueError: the folder is missing, incomplete, or holds another kind of model.
    """
    path = Path(path)
    for name in ("config.json", WEIGHTS):
        if not (path / name).is_file():
            raise ValueError(
                f"expected a saved {kind.__name__} in {path}, got no {name} there; do train it "
                f"with `cfgen train {kind.__name__.lower()}` or point to a folder that has one"
            )
    try:
        made_as = json.loads((path / "config.json").read_text())["_class_name"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"expected the JSON of a saved {kind.__name__} in {path / 'config.json'}, got "
            f"{error!r}; do copy or train the model again"
        ) from error
    if made_as != kind.__name__:
        raise ValueError(f"expected a saved {kind.__name__} in {path}, got a {made_as}")
    try:
        model, info = kind.from_pretrained(  # pyright: ignore[reportGeneralTypeIssues]
            path,
            local_files_only=True,
            low_cpu_mem_usage=False,
            use_safetensors=True,  # never fall back on a pickle
            output_loading_info=True,
        )
        # What the file lacks diffusers would leave at random, and say so in a log only.
        if info["missing_keys"] or info["unexpected_keys"]:
            raise ValueError(f"missing {info['missing_keys']}, unknown {info['unexpected_keys']}")
    except (OSError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
        raise ValueError(
            f"expected the weights in {path} to fit their config.json, got {error}; do copy or "
            "train the model again"
        ) from error
    assert isinstance(model, ModelMixin)
    nn.Module.to(model, memory_format=torch.channels_last)
    return model.eval().requires_grad_(False)


def save_half(model: ModelMixin, path: Path) -> None:
    """Save a model's weights in half precision, at half the size; it is loaded in single again.

    Rounding to 11 bits changes the estimates of a denoiser far less than any choice of its noise.
    """
    halved = deepcopy(model)
    nn.Module.half(halved)  # diffusers' own `half` hides its types
    halved.save_pretrained(path)


def weights_hash(path: Path) -> str:
    """Sha256 of a saved model's weights, in hexadecimal."""
    return digest_of(path / WEIGHTS).hex()
