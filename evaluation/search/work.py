"""The work of one process: its samples read, searched and written."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from cfgen.data.pixels import UnreadableImage
from cfgen.data.preprocessing import Preprocessing
from cfgen.data.samples import Sample, Source
from evaluation.runs import Row, finish_run, write_shards, write_skipped
from evaluation.search.clock import Clock
from evaluation.search.ranks import Ranks
from evaluation.search.reading import Read, Ready, read_ahead
from evaluation.search.rows import search_ready
from evaluation.search.sizes import BatchSize
from evaluation.search.task import Task

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What is to be done, by all processes together.

    Attributes:
        task: what is asked of every image.
        source: where the images are.
        samples: which of them, in the order of the run.
        prepare: how a file becomes an image.
        out: folder of the run.
    """

    task: Task
    source: Source
    samples: list[Sample]
    prepare: Preprocessing
    out: Path

    def search(
        self,
        own: Sequence[Sequence[Sample]],
        size: BatchSize,
        seed: int,
        ranks: Ranks,
        clock: Clock,
    ) -> None:
        """Search this process's blocks as long as there is time; list what cannot be read.

        Raises:
            ValueError: the disk is full, or memory does not suffice for one image.
            OSError: the process that started this one is gone.
        """
        skipped: list[Row] = []
        find = partial(search_ready, self.task, seed=seed)
        total = sum(map(len, own))
        with tqdm(total=total, desc=self.task.method, unit="image", disable=ranks.rank > 0) as bar:
            clock.begin()
            pools = (
                found
                for read in read_ahead(self.source, own, self.prepare)
                for found in size.search(_readable(read, skipped), find)
            )
            for found in pools:
                images = (found.factual, found.image)
                write_shards(self.out, found.rows, found.ids, *images, ranks.rank, found.width)
                bar.update(len(found.ids))
                ranks.require_parent()
                if not clock.another():
                    break
        write_skipped(self.out, skipped, ranks.rank)
        for row in skipped:
            _LOG.warning("skipped: %s", row["reason"])

    def end(self, clock: Clock) -> Path:
        """Merge what all processes wrote, and see whether it is all.

        Raises:
            ValueError: no image could be read.
            TimeoutError: time was up before all samples were searched.
        """
        ids = [sample.id for sample in self.samples]
        paths = [sample.path for sample in self.samples]
        found, skipped = finish_run(self.out, ids, paths)
        if len(skipped) == len(self.samples):
            raise ValueError(
                f"expected readable images in {self.source.name}, got none of {len(skipped)}; see "
                f"{self.out / 'skipped.csv'}, which begins with: {skipped[0]['reason']}"
            )
        if found + len(skipped) < len(self.samples):
            raise TimeoutError(
                f"expected {len(self.samples)} samples within {clock.timeout} s, got {found} so "
                f"far, in {self.out}; give the same command again to go on"
            )
        return self.out


def _readable(read: Sequence[tuple[Sample, Read]], skipped: list[Row]) -> list[Ready]:
    """Return the samples that have an image; list the others in `skipped`."""
    ready: list[Ready] = []
    for sample, image in read:
        if isinstance(image, UnreadableImage):
            skipped.append({"path": sample.path, "reason": str(image)})
        else:
            ready.append((sample, image))
    return ready
