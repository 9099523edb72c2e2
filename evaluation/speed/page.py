"""Measures the page of a run: how large it is, and how long Chromium takes to open it.

`python -m evaluation.speed.page --count 1000` draws phantoms, writes the run and its page, opens it
from the disk in a new browser, and prints megabytes and seconds to the first case in sight.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli

from cfgen.data.phantom import CLASSES, draw
from evaluation.report.main import report
from evaluation.runs import Row, create_run, write_shards
from evaluation.speed.chromium import chromium, find_chromium
from evaluation.tables import csv_text
from evaluation.writing import write_file

BATCH = 50
JUDGES = ("first", "second", "third", "fourth")
MEASURES = ("ssim", "ms_ssim", "psnr", "l1", "l2", "linf", "changed", "sparsity", "high_frequency")
USABLE = (
    "document.getElementById('opening')?.hidden && document.getElementById('before').naturalWidth"
)


def measure(count: int = 1000, size: int = 128, out: Path | None = None) -> str:
    """Write a run of phantoms and its page, open it, and tell its size and how long it took.

    Args:
        count: phantoms.
        size: pixels a side.
        out: folder for the run, which has to be new; by default none is left.

    Returns:
        A line with megabytes, seconds to write the page, and seconds to open it: from the
        command to the first case in sight, its image decoded.

    Raises:
        ValueError: there is no Chromium.
    """
    program = find_chromium()
    if program is None:
        raise ValueError("expected a Chromium, got none; install one, such as Debian's chromium")
    with tempfile.TemporaryDirectory() as folder:
        run = out or Path(folder) / "run"
        write_phantoms(run, count, size)
        began = time.perf_counter()
        page = report(run)
        wrote = time.perf_counter() - began
        opened = opening_time(program, page)
        megabytes = page.stat().st_size / 1e6
    return (
        f"{count} cases at {size} pixels: {megabytes:.1f} MB, written in {wrote:.1f} s, "
        f"usable after {opened:.2f} s"
    )


def opening_time(program: str, page: Path) -> float:
    """Return the seconds from opening a page to its first case in sight."""
    with chromium(program) as tab:
        tab.size(1440, 900)
        began = time.perf_counter()
        tab.open(page, USABLE)
        return time.perf_counter() - began


def write_phantoms(run: Path, count: int, size: int) -> None:
    """Write a run of phantoms with their true counterfactuals, measured by random numbers.

    Args:
        run: its folder.
        count: phantoms.
        size: pixels a side.
    """
    create_run(run, {"bundle": "phantom", "data": "phantom", "method": "true"})
    random = np.random.default_rng(0)
    rows: list[Row] = []
    for start in range(0, count, BATCH):
        some = range(start, min(start + BATCH, count))
        drawn = [draw(seed, size) for seed in some]
        batch = [_sample(seed, one.label) for seed, one in zip(some, drawn, strict=True)]
        factual = torch.stack([one.image for one in drawn])
        image = torch.stack([one.truth for one in drawn])
        noise = 0.02 * torch.from_numpy(random.standard_normal(image.shape)).float()
        found = (image + noise).clamp(0, 1)
        write_shards(run, batch, torch.tensor(list(some)), factual, found)
        rows += batch
    measured = [_measures(row, random) for row in rows]
    write_file(run / "metrics.csv", csv_text(measured, tuple(measured[0])))


def _sample(seed: int, index: int) -> Row:
    label, other = CLASSES[index], CLASSES[1 - index]
    return {
        "id": seed,
        "path": f"test/{label}/phantom-{seed}.png",
        "label": label,
        "source": label,
        "target": other,
        "outcome": "reached",
        "p_target_factual": 0.02,
        "p_target": 0.95,
        "subgroup": f"group {seed % 5}",
    }


def _measures(sample: Row, random: np.random.Generator) -> Row:
    judged: Row = {}
    for judge in JUDGES:
        judged[f"judge_{judge}_factual_right"] = 1
        judged[f"judge_{judge}_follows"] = int(random.random() < 0.5)
        judged[f"judge_{judge}_p_target"] = float(random.random())
    numbers = {name: float(random.random()) for name in MEASURES}
    return {"id": sample["id"], "valid": int(random.random() < 0.9), **judged, **numbers}


if __name__ == "__main__":
    sys.stdout.write(f"{auto_cli(measure)}\n")
