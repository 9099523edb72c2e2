"""Seconds of the clock, on whatever device the work is done."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def seconds_of(work: Callable[[], object], device: str) -> float:
    """Return how long some work takes, to its very end.

    A GPU is given its work and does it later: it is waited for before the clock is read.

    Args:
        work: what is done.
        device: where, 'cpu' or 'cuda'.
    """
    _wait(device)
    began = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
