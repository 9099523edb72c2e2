"""Saved models: a folder with config.json and safetensors, read without running code from it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from diffusers.models.modeling_utils import ModelMixin

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
                "with `cfgen train` or point to a folder that has one"
            )
    try:
        made_as = json.loads((path / "config.json").read_text()).get("_class_name")
    except (OSError, ValueError) as error:
        raise ValueError(f"expected JSON in {path / 'config.json'}, got {error}") from error
    if made_as != kind.__name__:
        raise ValueError(f"expected a saved {kind.__name__} in {path}, got a {made_as}")
    try:
        model = kind.from_pretrained(path, local_files_only=True, low_cpu_mem_usage=False)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"expected the weights in {path} to fit their config.json, got {error}; do copy or "
            "train the model again"
        ) from error
    assert isinstance(model, ModelMixin)
    return model.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def weights_hash(path: Path) -> str:
    """Sha256 of a saved model's weights, in hexadecimal."""
    return hashlib.sha256((path / WEIGHTS).read_bytes()).hexdigest()
