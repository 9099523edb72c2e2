"""Byte-identical images, across all splits of a source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path

from cfgen.data.pixels import refuse
from cfgen.data.samples import Sample, Source
from cfgen.digests import digest_of


def find_duplicates(source: Source) -> list[tuple[str, ...]]:
    """Find the samples that hold the very same bytes.

    Only files of the same size are read.

    Args:
        source: any source; one that draws its images has no duplicates.

    Returns:
        The paths of each group of two or more, sorted.

    Raises:
        UnreadableImage: if a file is not there.
    """
    content = source.content
    if content is None:
        return []

    def size(sample: Sample) -> int:
        return _size(content(sample))

    def digest(sample: Sample) -> bytes:
        return digest_of(content(sample))

    same_size = _groups(source.samples, size)
    same_bytes = [group for samples in same_size for group in _groups(samples, digest)]
    return sorted(tuple(sorted(sample.path for sample in group)) for group in same_bytes)


def _groups(samples: Iterable[Sample], key: Callable[[Sample], Hashable]) -> list[list[Sample]]:
    groups: dict[Hashable, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[key(sample)].append(sample)
    return [group for group in groups.values() if len(group) > 1]


def _size(content: Path | bytes) -> int:
    if isinstance(content, bytes):
        return len(content)
    if not content.is_file():
        raise refuse(content, "no file", "check the path")
    return content.stat().st_size
