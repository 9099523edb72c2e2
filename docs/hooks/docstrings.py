"""Shows docstrings as they are meant: Markdown takes `>>>` for quotations and `<a, b>` for HTML."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_CODE = re.compile(r"(`[^`]*`)")


class PlainDocstrings(Extension):
    """Puts a fence around every doctest of a docstring, and escapes what would be HTML."""

    def on_object(self, *, obj: Object, **_: Any) -> None:  # noqa: ANN401 - griffe's own signature
        """Change the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    r"""Return a docstring with a fence around each doctest, which ends at an empty line.

    >>> fenced("Adds <a, b>.\n\n>>> 1 + 1\n2").splitlines()
    ['Adds &lt;a, b>.', '', '```pycon', '>>> 1 + 1', '2', '```']
    """
    lines: list[str] = []
    indent: str | None = None
    for line in [*text.splitlines(), ""]:
        if indent is None and line.lstrip().startswith(">>> "):
            indent = line[: len(line) - len(line.lstrip())]
            lines.append(f"{indent}```pycon")
        elif indent is not None and not line.strip():
            lines.append(f"{indent}```")
            indent = None
        lines.append(line if indent is not None else _escaped(line))
    return "\n".join(lines[:-1])


def _escaped(line: str) -> str:
    parts = _CODE.split(line)
    return "".join(
        part if place % 2 else part.replace("<", "&lt;") for place, part in enumerate(parts)
    )
