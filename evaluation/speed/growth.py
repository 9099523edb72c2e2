"""How the time of a search grows with images, pixels and processes."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from cfgen.data.phantom import CLASSES, draw
from cfgen.goals import make_goal
from cfgen.methods import METHODS
from cfgen.methods import search as search_batch
from cfgen.models.autoencoder import Autoencoder
from cfgen.models.bundle import Bundle, load_bundle
from cfgen.models.prior import Prior
from cfgen.models.segmenter import Segmenter
from cfgen.types import Images
from evaluation.runs import read_run
from evaluation.search import search
from evaluation.speed.memory import write_films
from evaluation.speed.pairs import write_bundle
from evaluation.tables import markdown
from evaluation.timing import seconds_of

_LOG = logging.getLogger(__name__)

SIZES = (64, 128, 224)
DRAWN, STEPS = 4, 3
"""Images, and steps of each search, that the growth with pixels is measured by."""
CERTAIN = 1 - 1e-6
"""A confidence that no random classifier comes to: every search takes all of its steps."""


def by_images(counts: Sequence[int]) -> str:
    """Search folders of small phantoms by the cheapest method, files read and the run written.

    Args:
        counts: images in each folder.

    Returns:
        A Markdown table of whole commands, the models' loading with them, in this process.
    """
    rows = []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            films, out = Path(folder, "films"), Path(folder, "run")
            write_films(films, count)

            def work(films: Path = films, out: Path = out) -> None:
                search("phantom-64", str(films), out, method="pixel")

            seconds = seconds_of(work, "cpu")  # a run that is written has been waited for
        row = {
            "images": f"{count:,}",
            "seconds": f"{seconds:.2f}",
            "ms an image": f"{1000 * seconds / count:.1f}",
        }
        rows.append(row)
    return markdown(rows, tuple(rows[0]))


def by_pixels(rounds: int, device: str) -> str:
    """Search by every method, for `STEPS` steps, with models of random weights at each of `SIZES`.

    Args:
        rounds: the least of so many counts.
        device: of the models.

    Returns:
        A Markdown table: ms an image.
    """
    columns = [f"{size} x {size}" for size in SIZES]
    rows = [{"method": name} for name in METHODS]
    for size, column in zip(SIZES, columns, strict=True):
        images = torch.stack([draw(seed, size).image for seed in range(DRAWN)]).to(device)
        _LOG.info("%d pixels", size)
        with tempfile.TemporaryDirectory() as folder:
            write_models(Path(folder), size)
            bundle = load_bundle(Path(folder), device=device)
            for row in rows:
                least = min(_seconds(bundle, images, row["method"]) for _ in range(rounds))
                row[column] = f"{1000 * least / DRAWN:.1f}"
    return markdown(rows, ("method", *columns))


def _seconds(bundle: Bundle, images: Images, method: str) -> float:
    settings = replace(METHODS[method].settings, steps=STEPS)
    goal = make_goal(bundle.classifier, images, confidence=CERTAIN)
    return seconds_of(lambda: search_batch(bundle, goal, images, method, settings), bundle.device)


def write_models(path: Path, size: int) -> None:
    """Write a bundle of all models that a search asks, with random weights.

    Args:
        path: its folder.
        size: pixels a side, a multiple of 16.
    """
    write_bundle(path, size)
    autoencoder = Autoencoder(size=size, classes=CLASSES)
    means = torch.randn(autoencoder.class_means.shape)
    autoencoder.set_statistics(means, torch.ones(()))
    autoencoder.save_pretrained(path / "autoencoder")
    _, channels, side, _ = means.shape
    Prior(classes=CLASSES, channels=channels, side=side).save_pretrained(path / "prior")
    Segmenter().save_pretrained(path / "segmenter")


def by_ranks(bundle: str, data: str, split: str, limit: int, batch_size: int) -> str:
    """Search by the default method in one process and in two, of one thread each, on the CPU.

    Args:
        bundle: name of a shipped bundle, or a path with a slash in it.
        data: see `cfgen search`.
        split: of the data.
        limit: number of samples.
        batch_size: images that the networks are given at once.

    Returns:
        A Markdown table of whole commands, and of the part of them that is the search.
    """
    taken: list[tuple[int, float, float]] = []
    asked = ("--bundle", bundle, "--data", data, "--split", split, "--limit", str(limit))
    for ranks in (1, 2):
        _LOG.info("%d processes", ranks)
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder, "run")
            given = (*asked, "--batch_size", str(batch_size), "--out", str(run))
            whole = _command(given, ranks)
            busy = sum(float(row["seconds"] or 0) for row in read_run(run).samples)
            taken.append((ranks, whole, busy / ranks))
    rows = [
        {
            "processes": str(ranks),
            "seconds": f"{whole:.1f}",
            "times as fast": f"{taken[0][1] / whole:.2f}",
            "searching": f"{searching:.1f}",
            "searches times as fast": f"{taken[0][2] / searching:.2f}",
        }
        for ranks, whole, searching in taken
    ]
    return markdown(rows, tuple(rows[0]))


def _command(given: Sequence[str], ranks: int) -> float:
    """Seconds of `cfgen search` in processes of its own."""
    how = ("--trainer.accelerator", "cpu", "--trainer.devices", str(ranks))
    command = [sys.executable, "-m", "cfgen.cli", "search", *given, *how]
    command += ["--trainer.strategy", "ddp"] if ranks > 1 else []
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

    def work() -> None:
        ended = subprocess.run(command, env=alone, stdout=subprocess.DEVNULL)  # noqa: S603
        if ended.returncode:
            raise ValueError(
                f"expected a search that ends, got the exit code {ended.returncode}; see above"
            )

    return seconds_of(work, "cpu")
