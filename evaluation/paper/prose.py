"""Paragraphs that are written once and rendered as LaTeX or as Markdown, citations included."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from evaluation.tables import latex_text, markdown_text


class Cite(tuple[str, ...]):
    """Keys of references, which stand after the words that they are for."""

    __slots__ = ()


class Formula(NamedTuple):
    """A formula as plain text, and as LaTeX writes it."""

    plain: str
    latex: str


Prose = Sequence[str | Cite | Formula]
"""Pieces of a paragraph. Texts are plain: what they hold is escaped, never interpreted."""

_OPENING = re.compile(r"(^|[\s(])'(?=\S)")


def listed(names: Sequence[str]) -> str:
    """Write names one after the other.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def counted(count: int, one: str, many: str | None = None) -> str:
    """Write how many there are of something.

    >>> counted(1, "image"), counted(12, "image"), counted(2, "draw of noise", "draws of noise")
    ('1 image', '12 images', '2 draws of noise')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def keys(paragraphs: Iterable[Prose]) -> list[str]:
    """Return the keys that paragraphs cite, each once, in the order of their first use."""
    cites = (piece for prose in paragraphs for piece in prose if isinstance(piece, Cite))
    return list(dict.fromkeys(key for cite in cites for key in cite))


def square(side: int) -> Formula:
    """Write the size of a square."""
    return Formula(f"{side} x {side}", rf"${side}\times{side}$")


def to_latex(prose: Prose) -> str:
    r"""Write a paragraph as LaTeX.

    >>> print(to_latex(["SSIM", Cite(["wang2004"]), " of 'a_b', ", square(8)]))
    SSIM~\cite{wang2004} of `a\_b', $8\times8$
    """
    return "".join(map(_latex, prose))


def to_markdown(prose: Prose) -> str:
    r"""Write a paragraph as Markdown, citations as pandoc reads them.

    >>> print(to_markdown(["SSIM", Cite(["wang2004", "wang2003"]), " of 'a_b', ", square(8)]))
    SSIM [@wang2004; @wang2003] of 'a\_b', 8 x 8
    """
    return "".join(map(_markdown, prose))


def _latex(piece: str | Cite | Formula) -> str:
    if isinstance(piece, Cite):
        return rf"~\cite{{{','.join(piece)}}}" if piece else ""
    if isinstance(piece, Formula):
        return piece.latex
    return _OPENING.sub(r"\1`", latex_text(piece))


def _markdown(piece: str | Cite | Formula) -> str:
    if isinstance(piece, Cite):
        return f" [{'; '.join(f'@{key}' for key in piece)}]" if piece else ""
    return markdown_text(piece.plain if isinstance(piece, Formula) else piece)
