"""What a data set is here: a list of samples and a way to load each one's image."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path, PurePosixPath

from cfgen.types import Image


@dataclass(frozen=True)
class Sample:
    """One image of a source, and what is known of it.

    Attributes:
        path: where it stands in its source, posix style; no other sample has the same.
        label: the name of its class, where one is known.
        split: "train", "val", "test" or whatever the source calls it.
        patient: whose image it is. Two samples of a source with the same patient are never on
            two sides of a split; sources whose numbers restart in each split put the split
            in front.
        subgroup: whatever else the source tells its images apart by, such as the pathogen.
        draw: which of several counterfactuals of this image; None where there is one.
    """

    path: str
    label: str | None
    split: str | None
    patient: str | None = None
    subgroup: str | None = None
    draw: int | None = None

    @property
    def id(self) -> int:
        """Hash of path and draw as a non-negative int64: the same in every run, everywhere.

        >>> Sample("test/NORMAL/a.png", "NORMAL", "test").id
        890924043516719578
        """
        name = self.path if self.draw is None else f"{self.path}#{self.draw}"
        digest = hashlib.sha256(name.encode()).digest()
        return int.from_bytes(digest[:8], "big") & (2**63 - 1)


@dataclass(frozen=True)
class Source:
    """A data set as the user named it.

    Attributes:
        name: what the user gave.
        classes: names of the classes, in the order of a classifier's outputs.
        samples: every sample of every split, sorted by path.
        load: maps a sample to its image, (1, h, w) in [0, 1] and not yet preprocessed. Raises
            `cfgen.data.files.UnreadableImage`.
        content: maps a sample to the file that holds it, or to its bytes where it shares a
            file with others; None where nothing is stored.
    """

    name: str
    classes: tuple[str, ...]
    samples: list[Sample]
    load: Callable[[Sample], Image]
    content: Callable[[Sample], Path | bytes] | None = None

    def splits(self) -> list[str]:
        """Names of the splits there are, sorted."""
        return sorted({str(sample.split) for sample in self.samples})

    def of(self, split: str) -> list[Sample]:
        """Return the samples of one split.

        Raises:
            ValueError: if there is no such split.
        """
        chosen = [sample for sample in self.samples if sample.split == split]
        if not chosen:
            raise ValueError(
                f"expected one of the splits {', '.join(self.splits())} of {self.name}, "
                f"got {split!r}; name one of these"
            )
        return chosen


def agree_on_classes(
    name: str, labels: Iterable[str], classes: Sequence[str] | None
) -> tuple[str, ...]:
    """Return the classes of a source: those given, else the sorted labels that occur in it.

    Raises:
        ValueError: if a label is not among the classes given, if these repeat, or if none are
            given and fewer than two labels occur.
    """
    found = sorted(set(labels))
    if classes is None:
        if len(found) < 2:
            raise ValueError(
                f"expected two classes or more in {name}, got one class only ({found}); add images "
                "of another class, or give the names of all classes"
            )
        return tuple(found)
    if len(set(classes)) != len(classes):
        raise ValueError(f"expected classes that differ, got {list(classes)}; name each class once")
    unknown = [label for label in found if label not in classes]
    if unknown:
        raise ValueError(
            f"expected labels among the classes {', '.join(classes)} in {name}, got "
            f"{', '.join(unknown)}; rename or remove these, or use a bundle that knows them"
        )
    return tuple(classes)


def choose(samples: Iterable[Sample], limit: int | None) -> list[Sample]:
    """Choose samples evenly from the classes, and never the first ones by name.

    In each class the order is that of the sha256 of the file name, with one image of every
    patient before a second of any; the classes then take turns, and one that runs out leaves its
    turns to the others. So a smaller choice is always the beginning of a larger one.

    Args:
        samples: where to choose from, in any order.
        limit: how many to take; None for all.

    Raises:
        ValueError: if `limit` is below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"expected a limit of 1 or more, got {limit}; leave it out to take all")
    queues: dict[str, list[tuple[int, Sample]]] = defaultdict(list)
    images_of: dict[str, int] = defaultdict(int)
    for sample in sorted(samples, key=_by_name_hash):
        nth_of_patient = 0
        if sample.patient is not None:
            nth_of_patient = images_of[sample.patient]
            images_of[sample.patient] += 1
        queues[sample.label or ""].append((nth_of_patient, sample))
    # Sorting is stable: the order of the hashes stays within the first, second, ... images.
    ordered = [sorted(queues[label], key=lambda entry: entry[0]) for label in sorted(queues)]
    turns = (entry[1] for turn in zip_longest(*ordered) for entry in turn if entry is not None)
    return list(islice(turns, limit))


def _by_name_hash(sample: Sample) -> tuple[str, str]:
    name = PurePosixPath(sample.path).name
    return hashlib.sha256(name.encode()).hexdigest(), sample.path
