"""What was asked of a run: stored beside it, and held against what is asked now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from evaluation.runs.format import CONFIG


def is_run(path: Path) -> bool:
    """Whether a folder holds a run, finished or not."""
    return (path / CONFIG).is_file()


def lasting(path: str | Path) -> str:
    """Name a path so that the run can be evaluated from any directory."""
    found = Path(path).expanduser()
    return str(found.resolve()) if found.exists() else str(path)


def plain(config: Mapping) -> dict:
    """Return a configuration as YAML will give it back."""
    return json.loads(json.dumps(dict(config), default=str))


def read_config(path: Path) -> dict:
    """Read the configuration of the run in a folder.

    Raises:
        ValueError: it cannot be read, or is none.
    """
    try:
        config = yaml.safe_load((path / CONFIG).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ValueError(
            f"expected a configuration, got {path / CONFIG}, which cannot be read ({error}); "
            "search again into another folder."
        ) from error
    if not isinstance(config, dict):
        raise ValueError(
            f"expected a mapping, got {type(config).__name__} in {path / CONFIG}; search again "
            "into another folder."
        )
    return config


def require_same(path: Path, asked: dict) -> None:
    """Check that a run was asked the same.

    Raises:
        ValueError: it was asked something else; the message names every difference.
    """
    left, right = _flat(read_config(path)), _flat(asked)
    differences = [
        f"{key}: there {left.get(key, 'nothing')!r}, asked {right.get(key, 'nothing')!r}"
        for key in sorted(left.keys() | right.keys())
        if (key in left, left.get(key)) != (key in right, right.get(key))
    ]
    if differences:
        raise ValueError(
            f"expected the configuration of the run in {path}, got another:\n  "
            + "\n  ".join(differences)
            + "\nname another folder with --out, or remove this one."
        )


def _flat(value: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    return {
        path: leaf
        for key, inner in value.items()
        for path, leaf in _flat(inner, f"{prefix}.{key}" if prefix else str(key)).items()
    }
