"""Peak memory of a search against its number of images: `python -m evaluation.speed.memory`."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli
from PIL import Image

from cfgen.data.phantom import of_path, samples
from evaluation.tables import markdown

COUNTS = (100, 1_000, 10_000)
DRAWN = 16
"""Phantoms that are drawn; further files hold the same ones."""
SIZE = 64
_UNIT = 2**20 if sys.platform == "darwin" else 2**10


def memory(counts: Sequence[int] = COUNTS, bundle: str = "phantom-64") -> str:
    """Search folders of small images, one step on the pixels each, and measure each process.

    Args:
        counts: images in each folder.
        bundle: of phantoms of 64 pixels.

    Returns:
        A Markdown table: images, peak resident memory in MiB, seconds, size of the run in MiB.
    """
    rows = []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            data, out = Path(folder, "films"), Path(folder, "run")
            write_films(data, count)
            began = time.perf_counter()
            peak = _peak(bundle, data, out)
            row = {
                "images": f"{count:,}",
                "peak memory (MiB)": f"{peak:.0f}",
                "seconds": f"{time.perf_counter() - began:.0f}",
                "run on disk (MiB)": f"{_size(out):.0f}",
            }
            rows.append(row)
            sys.stderr.write(f"{row}\n")
    return markdown(rows, tuple(rows[0]))


def write_films(folder: Path, count: int) -> None:
    """Write `count` small images as a class-folder tree."""
    for number, sample in enumerate(samples({"test": DRAWN})):
        pixels = np.asarray(of_path(sample.path, SIZE).image[0] * 255).round().astype(np.uint8)
        png = io.BytesIO()
        Image.fromarray(pixels).save(png, format="png")
        target = folder / "test" / str(sample.label)
        target.mkdir(parents=True, exist_ok=True)
        for copy in range(number, count, DRAWN):
            (target / f"{copy}.png").write_bytes(png.getvalue())


def _peak(bundle: str, data: Path, out: Path) -> float:
    """Peak resident memory of a search, in MiB."""
    command = ("-m", "cfgen.cli", "search", "--bundle", bundle, "--data", data, "--out", out)
    how = ("--method", "pixel", "--settings.steps", "1")
    given = [sys.executable, *map(str, command), *how]
    process = subprocess.Popen(given, stdout=subprocess.DEVNULL)  # noqa: S603 - our own command
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ValueError(
            f"expected a search that ends, got the exit code {process.returncode}; see above"
        )
    return usage.ru_maxrss / _UNIT


def _size(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


if __name__ == "__main__":
    sys.stdout.write(auto_cli(memory, as_positional=False))
