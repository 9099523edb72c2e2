"""What all figures share: colours, sizes of letters, quiet axes, and how they are saved."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.writing import make_folder, write_file

DIVERGING = "RdBu_r"
"""Blue, white, red: ColorBrewer's diverging map, safe for the common colour blindnesses."""

OKABE_ITO = BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, BLACK, YELLOW = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000", "#f0e442",
)  # fmt: skip
"""The colours of Okabe and Ito (2008), safe for the common colour blindnesses."""

BEFORE, AFTER = "#9a9a9a", BLUE
"""Colours of the factual's and the counterfactual's bars: they differ in lightness as well."""

SMALL, TEXT, DIM = 7, 9, "#555555"
"""Sizes of letters in points, and the colour of what stands in the background."""


def save(figure: Figure, path: Path, dpi: int = 200) -> Path:
    """Write a figure as PNG or PDF, whole or not at all; the same figure is the same file.

    A PDF has its letters embedded as TrueType, as journals ask for.

    Args:
        figure: to be written.
        path: the file, whose name ends in .png or .pdf; an earlier one is replaced.
        dpi: dots an inch.

    Raises:
        ValueError: if the file's name ends neither in .png nor in .pdf, or if it cannot be
            written.
    """
    suffix = path.suffix.lower()
    if suffix not in (".png", ".pdf"):
        raise ValueError(f"expected a file ending in .png or .pdf, got {path}; rename it")
    buffer = io.BytesIO()
    # The date would make each writing another file.
    metadata = {"CreationDate": None} if suffix == ".pdf" else {}
    with rc_context({"pdf.fonttype": 42}):
        figure.savefig(buffer, format=suffix[1:], dpi=dpi, metadata=metadata)
    make_folder(path.parent)
    write_file(path, buffer.getvalue())
    return path


def quiet(axes: Axes) -> None:
    """Leave only the two axis lines that are read."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL)


def legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    """Draw the legend of one axes, which stands for all, below them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, fontsize=SMALL, frameon=False
    )


def literal(text: str) -> str:
    r"""Return a text that matplotlib does not take for mathematics, as it takes dollar signs.

    >>> print(literal("$x$"))
    \$x\$
    """
    return text.replace("$", r"\$")


def shortened(text: str, most: int = 32) -> str:
    """Return the end of a text that is too long for a label.

    >>> shortened("runs/of/the/whole/study/prior", most=12)
    '…study/prior'
    """
    return text if len(text) <= most else "…" + text[1 - most :]
