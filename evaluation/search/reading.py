"""Reading images ahead of the search, which is not to wait for files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from cfgen.data.pixels import UnreadableImage
from cfgen.data.preprocessing import Preprocessing
from cfgen.data.samples import Sample, Source
from cfgen.types import Image

READERS = min(4, os.cpu_count() or 1)
"""Threads that read: decoders let others work meanwhile."""

Ready = tuple[Sample, Image]
Read = Image | UnreadableImage
"""An image as the classifier takes it, or why there is none."""


def read_ahead(
    source: Source, blocks: Iterable[Sequence[Sample]], prepare: Preprocessing
) -> Iterator[list[tuple[Sample, Read]]]:
    """Yield every block of samples with its images, while the next block is being read.

    Args:
        source: where to read from.
        blocks: what to read; memory is held for two of them.
        prepare: how a file becomes an image.
    """

    def read(sample: Sample) -> Read:
        try:
            return prepare(source.load(sample), sample.path)
        except UnreadableImage as error:
            return error

    with ThreadPoolExecutor(READERS, thread_name_prefix="reader") as readers:

        def begin(block: Sequence[Sample]) -> list[tuple[Sample, Future[Read]]]:
            return [(sample, readers.submit(read, sample)) for sample in block]

        begun = map(begin, blocks)
        try:
            current = next(begun, None)
            while current is not None:
                following = next(begun, None)
                yield [(sample, future.result()) for sample, future in current]
                current = following
        finally:
            readers.shutdown(wait=False, cancel_futures=True)
