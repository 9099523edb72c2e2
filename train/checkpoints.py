"""Checkpoints that a kill cannot spoil, and that hold whole epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it: it is there whole or not at all.

    Lightning's own writing does so through the folder of temporary files, which may be on another
    disk; then the last step is a copy that can be cut.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None
    ) -> None:
        """Write a checkpoint."""
        partial = Path(f"{path}.partial")
        super().save_checkpoint(checkpoint, partial, storage_options)
        partial.replace(path)


class WholeEpochs(ModelCheckpoint):
    """Keeps the end of every epoch, but not of one that `max_steps` cut short.

    Taken up, such an epoch would count as done, and what is left of it would never be learned.
    """

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Keep it where its last batch was seen."""
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            super().on_train_epoch_end(trainer, pl_module)
