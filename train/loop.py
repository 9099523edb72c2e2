"""The loop around every model: Lightning's trainer as the recipe sets it, resumed by itself."""

from __future__ import annotations

import math
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
)
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from train.data import Films
from train.recipe import Recipe, Schedule, TrainerSettings

WARM_UP = 0.05


def fit(module: lightning.LightningModule, films: Films, recipe: Recipe, part: str) -> Path:
    """Train a module, or take up its training where it was left, and restore its best weights.

    Args:
        module: what to train; it logs `val_loss`.
        films: its images.
        recipe: how.
        part: the model's name in the bundle, such as 'judges/shufflenet'.

    Returns:
        The folder of its logs.
    """
    schedule, settings = schedule_of(recipe, part), recipe.trainer
    logs = recipe.logs / recipe.bundle.name / part
    best = ModelCheckpoint(logs, "best", monitor="val_loss", enable_version_counter=False)
    newest = ModelCheckpoint(logs, "last", enable_version_counter=False)
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
    )
    last = logs / "last.ckpt"
    trainer.fit(module, films, ckpt_path=last if last.exists() else None, weights_only=True)
    chosen = Path(best.best_model_path or last)
    state = torch.load(chosen, map_location="cpu", weights_only=True)["state_dict"]
    module.load_state_dict(state)
    return logs


def schedule_of(recipe: Recipe, part: str) -> Schedule:
    """The schedule of a part of the bundle."""
    section = part.split("/")[0].removesuffix("s")
    return getattr(recipe, section).schedule


def optimiser(
    module: nn.Module, schedule: Schedule, total_steps: int
) -> tuple[list[AdamW], list[dict[str, object]]]:
    """AdamW, its rate warmed up linearly and then decayed by a cosine to zero, step by step."""

    def rate(step: int) -> float:
        progress = step / max(total_steps, 1)
        if progress < WARM_UP:
            return progress / WARM_UP
        return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))

    adam = AdamW(module.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
    return [adam], [{"scheduler": LambdaLR(adam, rate), "interval": "step"}]


def _callbacks(schedule: Schedule) -> list[Callback]:
    return [
        EMAWeightAveraging(decay=schedule.ema),
        EarlyStopping("val_loss", patience=schedule.patience),
        LearningRateMonitor("step"),
    ]


def _loggers(logs: Path, settings: TrainerSettings) -> list[Logger]:
    loggers: list[Logger] = [CSVLogger(logs, name="", version="csv")]
    if settings.tensorboard:
        loggers.append(TensorBoardLogger(logs, name="", version="tensorboard"))
    return loggers
