"""The processes of a search: this one alone, or many that Lightning starts and connects."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, TypeVar

import torch

_PATIENCE = timedelta(days=7)
"""How long a process waits for another one, which may have had the slower images."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class TrainerSettings:
    """Where a search runs; the names are those of `lightning.Trainer`.

    Attributes:
        accelerator: 'auto' is a GPU where there is one.
        devices: processes on each node, one a device; 'auto' for all GPUs.
        num_nodes: nodes, each with as many processes.
        strategy: 'ddp' for processes that are connected; 'auto' for these where there are several.
    """

    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int | Literal["auto"] = 1
    num_nodes: int = 1
    strategy: Literal["auto", "ddp"] = "auto"

    @property
    def connected(self) -> bool:
        """Whether there may be several processes."""
        return self.devices != 1 or self.num_nodes != 1 or self.strategy == "ddp"


@dataclass(frozen=True)
class Ranks:
    """A process among those that search together.

    Attributes:
        rank: its number; the first is 0.
        world: how many there are.
        device: where it searches.
        send: returns the first one's value in all of them.
        wait: returns once all have come to it.
    """

    rank: int
    world: int
    device: str
    send: Callable[[object], object]
    wait: Callable[[], object]
    _parent: int = field(default_factory=os.getppid)

    def share(self, value: Value) -> Value:
        """Return the first process's value, once all have come to this.

        Raises:
            OSError: one of them has ended before.
        """
        try:
            self.wait()
            return self.send(value)  # pyright: ignore[reportReturnType]
        except RuntimeError as error:
            raise OSError(
                f"expected all {self.world} processes to come this far, got one that ended "
                "before; see what it said, and give the same command again to go on"
            ) from error

    @contextmanager
    def agreeing(self) -> Iterator[None]:
        """Let the first process say what is wrong where all would say the same."""
        try:
            yield
        except Exception:
            if self.rank:
                self.share(None)
            raise

    def require_parent(self) -> None:
        """Check that whoever started this process is still there to end the run.

        Raises:
            OSError: it is gone.
        """
        if self.rank and os.getppid() != self._parent:
            raise OSError(
                "expected the process that started this one, got its end; give the same command "
                "again to go on"
            )


def launch(trainer: TrainerSettings) -> Ranks:
    """Start the processes that are asked for, or join those that torchrun or Slurm has started.

    Raises:
        ValueError: there are not so many devices, or not so many processes were started.
    """
    if not trainer.connected:
        device = "cuda" if trainer.accelerator != "cpu" and torch.cuda.is_available() else "cpu"
        return Ranks(0, 1, device, send=lambda value: value, wait=lambda: None)
    from lightning.fabric import Fabric
    from lightning.fabric.strategies.ddp import DDPStrategy

    # Not how they are connected, but that one of them was killed.
    for chatty in ("lightning.fabric.utilities", "lightning.pytorch"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # What is exchanged is small and on the CPU: gloo waits without a GPU's watchdog.
    strategy = DDPStrategy(process_group_backend="gloo", timeout=_PATIENCE)
    accelerator = trainer.accelerator
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    fabric = Fabric(
        accelerator=accelerator,
        devices=trainer.devices,
        num_nodes=trainer.num_nodes,
        strategy=strategy,
    )
    fabric.launch()
    return Ranks(
        fabric.global_rank, fabric.world_size, str(fabric.device), fabric.broadcast, fabric.barrier
    )
