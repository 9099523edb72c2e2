"""Which samples are searched, and by which process."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import islice

from cfgen.data.samples import Sample
from evaluation.search.ranks import Ranks


def drawn(samples: Sequence[Sample], draws: int) -> list[Sample]:
    """Repeat every sample for each of its draws, which stand side by side."""
    return [replace(sample, draw=draw) for sample in samples for draw in range(draws)]


def manifest(samples: Sequence[Sample]) -> str:
    """Hash of which samples, with which labels, are searched."""
    digest, first = hashlib.sha256(), True
    for sample in samples:
        if not sample.draw:
            digest.update(f"{'' if first else chr(10)}{sample.path},{sample.label}".encode())
            first = False
    return digest.hexdigest()


def own_blocks(
    samples: Sequence[Sample], finished: Collection[int], block: int, ranks: Ranks
) -> list[list[Sample]]:
    """Return what is left to do of each block of samples that is this process's.

    Blocks are cut from all samples, and processes take turns at those that are not finished. So
    a pool holds the same images however many processes there are and whenever they were
    interrupted, unless the samples are too few for each process to have a whole one.
    """
    starts = range(0, len(samples), block)
    left = (
        [one for one in samples[start : start + block] if one.id not in finished]
        for start in starts
    )
    return list(islice((waiting for waiting in left if waiting), ranks.rank, None, ranks.world))
