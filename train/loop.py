"""The loop around every model: Lightning's trainer as the recipe sets it, resumed by itself."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import lightning
import torch
import yaml
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
)
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from numpy.random import SeedSequence
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from train.checkpoints import WholeEpochs, WholeFiles
from train.data import Films
from train.recipe import Recipe, Schedule, TrainerSettings

WARM_UP = 0.05


def fit(module: lightning.LightningModule, films: Films, recipe: Recipe, part: str) -> Path:
    """Train a module, or take up its training where it was left, and restore its best weights.

    What is drawn at random in a step depends on seed, epoch, step and process only: a training
    taken up ends where an uninterrupted one does, and no two processes augment alike.

    Args:
        module: what to train; it logs `val_loss`.
        films: its images.
        recipe: how.
        part: the model's name in the bundle, such as 'judges/NAME'.

    Returns:
        The folder of its logs.

    Raises:
        ValueError: the training to take up was another one.
    """
    schedule, settings = schedule_of(recipe, part), recipe.trainer
    logs = recipe.logs / recipe.bundle.name / part
    _agree(logs, recipe, part)
    best = ModelCheckpoint(
        logs,
        "best",
        monitor="val_loss",
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )
    newest = WholeEpochs(logs, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = lightning.Trainer(
        max_epochs=schedule.epochs,
        logger=_loggers(logs, settings),
        callbacks=[best, newest, *_callbacks(schedule)],
        gradient_clip_val=1.0,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=settings.strategy,
        precision=settings.precision,
        accumulate_grad_batches=settings.accumulate_grad_batches,
        max_steps=settings.max_steps,
        plugins=[WholeFiles()],
        inference_mode=False,  # a robust training attacks its validation images too
    )
    last = logs / "last.ckpt"
    trainer.fit(module, films, ckpt_path=last if last.exists() else None, weights_only=True)
    if best.best_model_path:  # else not one epoch was whole, and the weights are what there is
        best_state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
        module.load_state_dict(best_state["state_dict"])
    return logs


def schedule_of(recipe: Recipe, part: str) -> Schedule:
    """The schedule of a part of the bundle."""
    return recipe.section(part).schedule


def _agree(logs: Path, recipe: Recipe, part: str) -> None:
    """Note what is trained beside its checkpoints, or see that it is what was trained there."""
    ours = asdict(recipe.section(part))
    del ours["remark"]
    for name in ("epochs", "patience"):  # may be raised to train on
        del ours["schedule"][name]
    ours |= {"preprocessing": asdict(recipe.preprocessing), "bundle": str(recipe.bundle.resolve())}
    noted = logs / "recipe.yaml"
    if not (logs / "last.ckpt").exists():
        logs.mkdir(parents=True, exist_ok=True)
        noted.write_text(yaml.safe_dump(ours, sort_keys=False))
    elif noted.exists() and yaml.safe_load(noted.read_text()) != ours:
        raise ValueError(
            f"expected the recipe in {noted}, whose training would be taken up, got {ours}; do "
            f"remove {logs} to train anew, or give other --logs"
        )


class _StepSeed(Callback):
    """Seeds every step of every process by itself, whatever was drawn before."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: object,
        batch_idx: int,
    ) -> None:
        entropy = (self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        torch.manual_seed(int(SeedSequence(entropy).generate_state(1)[0]))


def planned_steps(trainer: lightning.Trainer) -> int:
    """Optimiser steps of all epochs, also where `max_steps` is to cut them short.

    So a training that was cut short and is taken up goes on at the rate that it had.
    """
    trainer.estimated_stepping_batches  # noqa: B018 - makes the loaders, whose length is asked for
    epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    return epoch * (trainer.max_epochs or 1)


def optimiser(
    module: nn.Module, schedule: Schedule, total_steps: int
) -> tuple[list[AdamW], list[dict[str, object]]]:
    """AdamW, its rate warmed up linearly and then decayed by a cosine to zero, step by step."""

    def rate(step: int) -> float:
        progress = step / max(total_steps, 1)
        if progress < WARM_UP:
            return progress / WARM_UP
        return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))

    learning = [weights for weights in module.parameters() if weights.requires_grad]
    adam = AdamW(learning, lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
    return [adam], [{"scheduler": LambdaLR(adam, rate), "interval": "step"}]


def _callbacks(schedule: Schedule) -> list[Callback]:
    return [
        _StepSeed(schedule.seed),
        # Batch norm's statistics are taken as they are: averaged, they keep outliers of the start.
        EMAWeightAveraging(decay=schedule.ema, use_buffers=False),
        # Not after an epoch that `max_steps` cut short, which is not validated.
        EarlyStopping("val_loss", patience=schedule.patience, check_on_train_epoch_end=False),
        LearningRateMonitor("step"),
    ]


def _loggers(logs: Path, settings: TrainerSettings) -> list[Logger]:
    # Without a version it makes one: a training taken up would else remove the log of its start.
    loggers: list[Logger] = [CSVLogger(logs, name="csv")]
    if settings.tensorboard:
        loggers.append(TensorBoardLogger(logs, name="", version="tensorboard"))
    return loggers
