"""Peak memory of some work in this process."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

import torch

_PROCESS = Path("/proc/self")


def peak_memory(work: Callable[[], object], device: str) -> float | None:
    """Return how much memory some work takes at its most, beyond what was held before, in MiB.

    On a CPU it is the resident memory, which Linux alone can tell for a part of a process's life.

    Args:
        work: what is done.
        device: where, 'cpu' or 'cuda'.

    Returns:
        MiB; None where it cannot be known, after the work all the same.
    """
    gc.collect()
    if device == "cuda":
        held = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return (torch.cuda.max_memory_allocated() - held) / 2**20
    if not (_PROCESS / "clear_refs").exists():
        work()
        return None
    ctypes.CDLL(None).malloc_trim(0)  # what is kept for later would hide what is taken anew
    (_PROCESS / "clear_refs").write_text("5")  # from now on, says proc(5)
    held = _status("VmRSS")
    work()
    return (_status("VmHWM") - held) / 2**10


def _status(field: str) -> int:
    """Return a field of the process's status, in KiB."""
    lines = (_PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
