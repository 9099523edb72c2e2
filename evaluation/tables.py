"""Tables of numbers as text: Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence

Cell = str | float | int | None

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "λ": r"$\lambda$",
}

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~^$@])")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_MINUS = re.compile(r"(?<![\w.])-(?=[.\d])")


def number(value: float | int | None, decimals: int = 2) -> str:
    """Write a number without the zero before its point; a missing one as a dash.

    >>> number(0.934), number(-0.5, 1), number(12.0, 1), number(None), number(-0.001)
    ('.93', '-.5', '12.0', '-', '.00')
    """
    if value is None or math.isnan(value):
        return "-"
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def interval(estimate: Mapping[str, float | int | None] | None, decimals: int = 2) -> str:
    """Write an estimate with its 95 % interval.

    >>> interval({"mean": 0.934, "low": 0.9, "high": 0.961, "n": 64})
    '.93 [.90, .96]'
    >>> interval({"mean": 0.934, "low": None, "high": None, "n": 1}), interval(None)
    ('.93', '-')
    """
    if estimate is None or estimate["mean"] is None:
        return "-"
    mean = number(estimate["mean"], decimals)
    if estimate["low"] is None or estimate["high"] is None:
        return mean
    return f"{mean} [{number(estimate['low'], decimals)}, {number(estimate['high'], decimals)}]"


def p_value(p: float) -> str:
    """Write a p-value to three decimals, never as 0.

    >>> p_value(0.0123), p_value(0.0004), p_value(1.0)
    ('p .012', 'p < .001', 'p 1.000')
    """
    return "p < .001" if p < 0.001 else f"p {number(p, 3)}"


def csv_text(
    rows: Iterable[Mapping[str, Cell]], columns: Sequence[str], *, header: bool = True
) -> str:
    r"""Write rows as CSV: floats in full, a missing value as nothing.

    >>> csv_text([{"a": 0.1, "b": None}], ("a", "b"))
    'a,b\n0.1,\n'
    """
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def markdown(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> str:
    r"""Write rows as a Markdown table, its columns aligned for reading as plain text.

    >>> print(markdown([{"run": "a|b", "n": "3"}], ("run", "n")), end="")
    | run  | n |
    | ---- | - |
    | a\|b | 3 |
    """
    cells = [list(columns), *([row.get(column, "-") for column in columns] for row in rows)]
    cells = [[_markdown_cell(cell) for cell in line] for line in cells]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    cells.insert(1, ["-" * width for width in widths])
    lines = [
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    ]
    return "".join(f"| {line} |\n" for line in lines)


def latex(
    rows: Sequence[Mapping[str, str]],
    columns: Sequence[str],
    caption: str,
    *,
    label: str | None = None,
) -> str:
    r"""Write rows as a LaTeX table; the document needs the package booktabs.

    Args:
        rows: cells by the name of their column.
        columns: names, in order.
        caption: plain text.
        label: to refer to it by; such a table spans both columns of a page, in small letters.

    >>> r"50\%" in latex([{"run": "50%"}], ("run",), "A run")
    True
    """
    body = [" & ".join(_latex_cell(row.get(column, "-")) for column in columns) for row in rows]
    lines = [
        r"\begin{table}" if label is None else r"\begin{table*}",
        r"\centering" if label is None else r"\centering\footnotesize",
        rf"\caption{{{latex_text(caption)}}}",
        *([] if label is None else [rf"\label{{{label}}}"]),
        rf"\begin{{tabular}}{{{'l' * len(columns)}}}",
        r"\toprule",
        " & ".join(_latex_cell(column) for column in columns) + r" \\",
        r"\midrule",
        *(line + r" \\" for line in body),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}" if label is None else r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _markdown_cell(text: str) -> str:
    return _TAG.sub(r"\\<", text.replace("|", "\\|").replace("\n", " "))


def markdown_text(text: str) -> str:
    r"""Escape what Markdown or HTML within it would take for markup; control characters go, too.

    >>> print(markdown_text("<b>a_b</b>"))
    \<b\>a\_b\</b\>
    """
    return _MARKUP.sub(r"\\\1", _printable(text))


def latex_text(text: str) -> str:
    r"""Escape what LaTeX would take for a command; control characters become spaces.

    >>> print(latex_text("50% of a_b"))
    50\% of a\_b
    """
    return "".join(_LATEX.get(letter, letter) for letter in _printable(text))


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _latex_cell(text: str) -> str:
    escaped = _MINUS.sub("$-$", latex_text(text))
    # A row that begins with a bracket would be read as an option of the line break before it.
    return "{" + escaped + "}" if escaped.startswith(("[", "*")) else escaped
