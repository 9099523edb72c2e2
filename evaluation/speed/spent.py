"""Where the time of a search goes: in which networks, and in what is none."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable

PARTS = {
    "classifier": ("cfgen/models/classifier.py", "forward"),
    "decoder": ("cfgen/models/autoencoder.py", "decode"),
    "encoder": ("cfgen/models/autoencoder.py", "encode"),
    "prior": ("cfgen/models/prior.py", "forward"),
    "backward": ("torch/autograd/graph.py", "_engine_run_backward"),
    "segmenter": ("cfgen/models/segmenter.py", "logits"),
    "SSIM": ("cfgen/metrics/similarity.py", "ssim_on_device"),
}
"""The function that each part's time is spent in: none of them calls another."""
OTHER = "other"


def shares(work: Callable[[], object]) -> dict[str, float]:
    """Return which share of some work's time is spent in each of `PARTS`, and in nothing of these.

    Python's profiler is at work; it adds about a microsecond a call, which 'other' is charged for.
    On a GPU it sees when work is given to it, not how long it takes.
    """
    profile = cProfile.Profile()
    profile.runcall(work)
    stats = pstats.Stats(profile)
    total = stats.total_tt  # pyright: ignore[reportAttributeAccessIssue]
    found = {part: _seconds(stats, *where) / total for part, where in PARTS.items()}
    return {**found, OTHER: 1 - sum(found.values())}


def _seconds(stats: pstats.Stats, file: str, function: str) -> float:
    """Return the seconds spent in a function and all that it calls."""
    known = stats.stats  # pyright: ignore[reportAttributeAccessIssue]
    spent = (
        cumulative
        for (path, _, name), (_, _, _, cumulative, _) in known.items()
        if name == function and path.replace("\\", "/").endswith(file)
    )
    return sum(spent, 0.0)
