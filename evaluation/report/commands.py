"""The commands that make a run and its page again, as its own configuration tells them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from evaluation.report.numbers import read_summary
from evaluation.runs import Run

_SEARCH = (
    "bundle",
    "data",
    "split",
    "method",
    "settings",
    "target",
    "confidence",
    "classifier",
    "limit",
    "mask",
    "bound",
    "draws",
    "batch_size",
    "seed",
    "evaluations",
)
_ADOPT = ("bundle", "classifier", "target", "method", "data", "split")
_WIDTH = 100
"""Letters from which on a command goes on in further lines."""
_PERCEPTUAL = "gmsd"
"""A measure that is taken only where `cfgen evaluate` is asked for it."""


def commands(run: Run, measures: Sequence[str], beside: Sequence[Path], limit: int) -> list[str]:
    """Return the commands, each to be pasted into a shell.

    Args:
        run: the run.
        measures: the columns of its metrics.csv; none where it was not evaluated.
        beside: runs that stand beside it on the page.
        limit: of the cases on the page.
    """
    path = run.path.as_posix()
    lines = [made_by(run)]
    if measures:
        asked = ["--perceptual", "true"] if _PERCEPTUAL in measures else []
        lines.append(_line("evaluate", path, *asked, *_weights(run)))
    if (run.path / "audit.csv").is_file():
        lines.append(_line("audit", path))
    others = ["--beside", *(other.as_posix() for other in beside)] if beside else []
    return [*lines, _line("report", path, *others, "--limit", str(limit))]


def _weights(run: Run) -> list[str]:
    """Return the options that name the files of weights which a run was measured with."""
    summary = read_summary(run.path / "summary.json")
    files = {f"--{name}": known["file"] for name, known in summary.get("weights", {}).items()}
    return [word for option in files.items() for word in option]


def made_by(run: Run) -> str:
    """Return the command that made a run's images; a comment where it is not known."""
    config, out = run.config, run.path.as_posix()
    if config.get("command") == "search":
        return _line("search", *_options(config, _SEARCH), "--out", out)
    if config.get("command") == "adopt":
        pairs = [str(path) for path in config.get("pairs") or []]
        return _line("adopt", *pairs, *_options(config, _ADOPT), "--out", out)
    return "# config.yaml does not name the command that made this run"


def _options(config: Mapping, names: Sequence[str]) -> list[str]:
    words: list[str] = []
    for name in names:
        value = config.get(name)
        inner = value.items() if isinstance(value, Mapping) else ()
        pairs = [(f"{name}.{key}", one) for key, one in inner] or [(name, value)]
        words += [f"--{key}={one}" for key, one in pairs if one is not None and one != {}]
    return words


def _line(command: str, *words: str) -> str:
    one = shlex.join(["cfgen", command, *words])
    if len(one) <= _WIDTH:
        return one
    breaks = [" \\\n    " if word.startswith("--") else " " for word in words]
    rest = (gap + shlex.quote(word) for gap, word in zip(breaks, words, strict=True))
    return f"cfgen {command}" + "".join(rest)
