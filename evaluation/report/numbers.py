"""The summary of a run as tables of the page: means with their intervals."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from evaluation.report.columns import described

_FIRST = re.compile(
    r"valid|judge_.+_follows_valid|panel_follows|border_shift|ssim|ssim_outside|inside_ratio"
    r"|high_frequency|l2|energy_in_opacity|ssim_truth|ssim_truth_factual"
)
_SHARES = re.compile(
    r"valid|flip|panel_follows|non_adversarial|judge_.+_(follows_valid|follows|flips|factual_right)"
)
EMPTY = {"subsets": {}, "direction": {}, "definitions": {}, "notes": []}


class Cell(NamedTuple):
    """An estimate as text; `n` is None where it is that of the whole subset."""

    mean: str
    interval: str
    n: int | None


class Whisker(NamedTuple):
    """A share and its interval, in percent."""

    mean: float
    low: float
    high: float


class Line(NamedTuple):
    """A measure.

    Attributes:
        label: its name.
        definition: what it is.
        cells: one a subset; None where it was not measured.
        whisker: of the first subset, where it is a share.
    """

    label: str
    definition: str
    cells: list[Cell | None]
    whisker: Whisker | None


class Table(NamedTuple):
    """A table of measures: the subsets with their n, and the lines."""

    heads: list[tuple[str, int]]
    lines: list[Line]


def read_summary(path: Path) -> dict:
    """Read a run's summary.json; its parts are empty where there is none.

    Raises:
        ValueError: the file holds no summary.
    """
    if not path.is_file():
        return EMPTY
    try:
        return EMPTY | json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"expected a summary, got {path}, which cannot be read ({error}); run "
            f"`cfgen evaluate {path.parent}` again."
        ) from error


def table_of(subsets: Mapping[str, Mapping], *, first: bool) -> Table:
    """Arrange a summary's subsets side by side.

    Args:
        subsets: blocks of a summary, by name.
        first: whether to leave out all measures but the few to read first.
    """
    blocks = {name: block for name, block in subsets.items() if block.get("n")}
    keys = dict.fromkeys(key for block in blocks.values() for key in block["metrics"])
    lines = [
        _line(key, list(blocks.values())) for key in keys if not first or _FIRST.fullmatch(key)
    ]
    return Table([(name, block["n"]) for name, block in blocks.items()], lines)


def _line(key: str, blocks: list[Mapping]) -> Line:
    label, decimals, definition = described(key)
    cells = [_cell(block["metrics"].get(key), block["n"], decimals) for block in blocks]
    whisker = _whisker(blocks[0]["metrics"].get(key)) if _SHARES.fullmatch(key) else None
    return Line(label, definition, cells, whisker)


def _cell(estimate: Mapping | None, total: int, decimals: int) -> Cell | None:
    if estimate is None or estimate.get("mean") is None:
        return None
    low, high, n = (estimate.get(key) for key in ("low", "high", "n"))
    ends = "" if low is None else f"{low:.{decimals}f} to {high:.{decimals}f}"
    return Cell(f"{estimate['mean']:.{decimals}f}", ends, None if n == total else n)


def _whisker(estimate: Mapping | None) -> Whisker | None:
    if estimate is None or estimate.get("mean") is None:
        return None
    mean = float(estimate["mean"])
    low, high = (mean if estimate.get(key) is None else estimate[key] for key in ("low", "high"))
    return Whisker(*(round(100 * value, 2) for value in (mean, low, high)))
