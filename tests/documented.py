"""The code blocks of the documentation, and what doing as a page says is.

A fenced block is run unless a comment just above it says otherwise: 'options only: WHY' parses its
commands and runs none, 'not run: WHY' leaves it alone. A block with a title becomes a file of that
name. In blocks that name DIR or chest.jpeg, X-rays stand in for these.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cfgen.cli import main

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
README = REPOSITORY / "README.md"
PAGES = {path.relative_to(DOCS).as_posix(): path for path in sorted(DOCS.rglob("*.md"))}
FENCE = re.compile(
    r"(?:<!-- (?P<mark>[^>]+) -->\n)?^ *```(?P<language>\w*)"
    r"(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
XRAYS = re.compile(r"\b(DIR|chest\.jpeg)\b")


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    code: str
    title: str | None
    mark: str

    @property
    def runs(self) -> bool:
        return not self.mark.startswith(("not run:", "options only:"))

    @property
    def needs_xrays(self) -> bool:
        asked = self.language in ("sh", "python") and self.runs
        return asked and bool(XRAYS.search(self.code))


def blocks(path: Path) -> list[Block]:
    return [
        Block(found["language"], found["code"], found["title"], found["mark"] or "")
        for found in FENCE.finditer(path.read_text())
    ]


def commands(block: Block) -> Iterator[list[str]]:
    """The commands of a block in words, as a shell would read them."""
    for line in block.code.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield [one for word in words for one in _globbed(word)]


def _globbed(word: str) -> list[str]:
    return sorted(map(str, Path().glob(word))) or [word] if "*" in word else [word]


def parse(words: list[str]) -> None:
    """Check a command without running it: a target of the Makefile, or options of cfgen."""
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
        return
    assert words[0] == "cfgen", f"expected a command of cfgen, got {words}; mark the block"
    with pytest.raises(SystemExit) as ended:
        main([*words[1:], "--print_config"])
    assert ended.value.code == 0, words


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command in this process; a `make` or a `--print_config` is parsed only."""
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        assert name == "PYTHONPATH"
        monkeypatch.syspath_prepend(str(Path(value).resolve()))
    if words[0] == "make" or "--print_config" in words:
        parse([word for word in words if word != "--print_config"])
        return
    assert words[0] == "cfgen", f"expected a command of cfgen, got {words}; mark the block"
    assert main(words[1:]) == 0, words


def follow(page: Iterable[Block], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what a page says, from its first block to its last, in a folder."""
    names: dict[str, object] = {"__name__": "page"}
    for block in page:
        if block.title:
            (folder / block.title).write_text(block.code)
        elif block.language == "python" and block.runs:
            exec(compile(block.code, "page", "exec"), names)
        elif block.language == "sh" and not block.mark.startswith("not run:"):
            for words in commands(block):
                run(words, monkeypatch) if block.runs else parse(words)
