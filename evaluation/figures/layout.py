"""Where the pictures of a grid stand, in inches."""

from __future__ import annotations

from typing import NamedTuple

from cfgen.types import Images

WIDE, GAP, _BETWEEN, _MARGIN = 1.25, 0.05, 0.25, 0.1
"""Inches: a picture, between pictures, between blocks of them, beside all."""
LINE, _HEAD, _FOOT = 0.2, 0.25, 0.5
"""Inches: a caption, above all, below all."""
Box = tuple[float, float, float, float]
"""Left, top, width and height."""


class Layout(NamedTuple):
    """Where the pictures of a grid stand, in inches: blocks of a row of pictures, side by side.

    Attributes:
        columns: of blocks.
        pictures: in a block.
        wide: width of a picture.
        high: its height.
    """

    columns: int
    pictures: int
    wide: float
    high: float

    @property
    def block(self) -> float:
        """Width of a block."""
        return self.pictures * (self.wide + GAP) - GAP

    def size(self, count: int) -> tuple[float, float]:
        """Width and height of a figure with some blocks."""
        width = self.columns * (self.block + _BETWEEN) - _BETWEEN + 2 * _MARGIN
        rows = -(-count // self.columns)
        return width, _HEAD + rows * (self.high + LINE + 0.08) + _FOOT

    def boxes(self, index: int) -> list[Box]:
        """Where the pictures of a block are."""
        x = _MARGIN + (index % self.columns) * (self.block + _BETWEEN)
        y = _HEAD + (index // self.columns) * (self.high + LINE + 0.08) + LINE
        step = self.wide + GAP
        return [(x + k * step, y, self.wide, self.high) for k in range(self.pictures)]


def layout_of(columns: int, pictures: int, shown: Images, width: float | None) -> Layout:
    """Lay out a grid.

    Args:
        columns: of blocks.
        pictures: in a block.
        shown: images, for their proportions.
        width: of the figure; by default what pictures of `WIDE` need.
    """
    wide = WIDE
    if width is not None:
        block = (width - 2 * _MARGIN + _BETWEEN) / columns - _BETWEEN
        wide = (block + GAP) / pictures - GAP
    return Layout(columns, pictures, wide, wide * shown.shape[-2] / shown.shape[-1])
