"""Two sets of real images that share no patient, drawn at random."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

Rows = Int[Tensor, " rows"]


def largest_draw(groups: Sequence[Hashable]) -> int:
    """Return how many images each of two sets can have that share no group, however they fall.

    (N - g + 1) // 2 of N images whose largest group has g: whole groups are dealt to the first
    set until it has n, at most n + g - 1, and at least n must be left. 0 for no images.

    >>> largest_draw(range(7)), largest_draw("aaabcd"), largest_draw("aaaa"), largest_draw("")
    (3, 2, 0, 0)
    """
    sizes = Counter(groups)
    return (sizes.total() - max(sizes.values()) + 1) // 2 if sizes else 0


def size_of_draws(generated: int, real: int, groups: Sequence[Hashable]) -> int:
    """Return n for comparing images to n real ones, and these to n others of other groups.

    Args:
        generated: how many images are compared to real ones.
        real: how many real ones there are.
        groups: to which group (patient) each real one belongs.

    Raises:
        ValueError: not as many groups as real images, or n would be below 2.
    """
    if len(groups) != real:
        raise ValueError(
            f"expected a group for each of {real} real images, got {len(groups)}; pass one each."
        )
    n = min(generated, largest_draw(groups))
    if n < 2:
        raise ValueError(
            f"expected at least 2 generated images and 2 pairs of real ones of different patients, "
            f"got {generated} and {real} of {len(set(groups))} patients; search more images."
        )
    return n


def disjoint_draws(
    groups: Sequence[Hashable], n: int, draws: int, generator: torch.Generator
) -> Iterator[tuple[Rows, Rows]]:
    """Yield pairs of sets of n rows each, such that no group has rows in both.

    Each time the groups are put in a random order and dealt whole, to the first set until it has
    n rows and then to the second; of each set n rows are kept at random.

    Args:
        groups: to which group (patient) each row belongs.
        n: rows of each set.
        draws: how many pairs.
        generator: of the drawing.

    Raises:
        ValueError: so many rows are not to be had.
    """
    if n > largest_draw(groups):
        raise ValueError(
            f"expected at most {largest_draw(groups)} rows a set for these groups, got {n}; "
            "draw fewer."
        )
    place: dict[Hashable, int] = {}
    own = torch.tensor([place.setdefault(group, len(place)) for group in groups])
    for _ in range(draws):
        order = torch.randperm(len(place), generator=generator)[own]
        # Rows in a random order, then by the order of their groups, which sorting leaves whole.
        shuffled = torch.randperm(len(own), generator=generator)
        dealt = shuffled[order[shuffled].argsort(stable=True)]
        last = order[dealt[n - 1]]
        first, second = dealt[order[dealt] <= last], dealt[order[dealt] > last]
        yield _some(first, n, generator), _some(second, n, generator)


def draws_beside(
    generated: int, real: int, patients: Sequence[Hashable] | None, draws: int, seed: int
) -> tuple[int, Iterator[tuple[Rows, Rows, Rows]]]:
    """Return n, and rows of n generated images beside each of the pairs of `disjoint_draws`.

    Args:
        generated: how many images there are to draw from.
        real: how many real ones there are.
        patients: whose each real one is; each is its own without.
        draws: how many.
        seed: of the drawing.

    Raises:
        ValueError: as `size_of_draws`.
    """
    groups = range(real) if patients is None else patients
    n = size_of_draws(generated, real, groups)
    generator = torch.Generator().manual_seed(seed)
    pairs = disjoint_draws(groups, n, draws, generator)
    return n, (
        (torch.randperm(generated, generator=generator)[:n], first, second)
        for first, second in pairs
    )


def _some(rows: Rows, n: int, generator: torch.Generator) -> Int[Tensor, " n"]:
    return rows[torch.randperm(len(rows), generator=generator)[:n]]
