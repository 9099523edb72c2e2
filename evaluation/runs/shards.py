"""The files of a run's images, one a batch: written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from cfgen.types import Images
from evaluation.runs.format import SHARDS
from evaluation.writing import write_file


def shards_of(run: Path) -> Iterator[Path]:
    """Yield the shards of a run, those that are whole and those that a disk has spoilt."""
    return (run / SHARDS).glob("*.safetensors")


def save_shard(run: Path, ids: Sequence[int], factual: Images, image: Images) -> None:
    """Write the images of a batch, under a name that its ids determine.

    Raises:
        ValueError: the disk is full or cannot be written.
    """
    tensors = {"id": torch.tensor(ids), "factual": factual, "image": image}
    # Cloned, for safetensors refuses a batch whose images are its factuals themselves.
    stored = {
        key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, tensor in tensors.items()
    }
    name = hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()[:16]
    write_file(run / SHARDS / f"{name}.safetensors", save(stored))


def shard_ids(shard: Path) -> list[int]:
    """Ids of the images in a shard; the images stay on disk.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        with safe_open(shard, framework="pt") as tensors:
            return [int(i) for i in tensors.get_tensor("id").tolist()]
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"expected a shard of images, got {shard}, which cannot be read ({error}); run the "
            "same search again to make it anew."
        ) from error
