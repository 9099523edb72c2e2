"""Describes a classifier that cfgen did not train: a small YAML file beside its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import yaml

Kind = Literal["torchvision", "timm", "torchxrayvision", "torchscript", "exported", "function"]
Outputs = Literal["logits", "probabilities"]

SUFFIXES = (".yaml", ".yml")
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "torchvision": ("weights", "architecture", "mean", "std"),
    "timm": ("weights", "architecture", "mean", "std"),
    "torchxrayvision": ("weights", "pathology"),
    "torchscript": ("weights",),
    "exported": ("weights",),
    "function": ("function",),
}
# torchxrayvision's networks see [-1024, 1024]; programs mostly normalise by themselves.
_DEFAULTS: Mapping[str, dict] = {
    "torchvision": {"channels": 3},
    "timm": {"channels": 3},
    "torchxrayvision": {"mean": 0.5, "std": 1 / 2048},
}
_FIXED: Mapping[str, tuple[str, ...]] = {
    "torchxrayvision": ("channels", "mean", "std", "outputs"),
}


@dataclass(frozen=True)
class Description:
    """What a classifier's YAML file says.

    Attributes:
        path: the file.
        kind: where the network comes from.
        classes: names, in the order of the network's outputs; with a pathology, what its absence
            and its presence are called.
        size: height and width in pixels at which the network sees images.
        weights: a file, relative to this one; for torchxrayvision also one of its own names.
        architecture: as torchvision or timm calls it.
        function: `package.module:function` that returns the network.
        pathologies: names of the outputs of a network with a sigmoid for each.
        pathology: the one of these to explain.
        outputs: what the network gives, 'logits' or 'probabilities'.
        channels: that the network sees; a grey image is repeated.
        mean: subtracted from images in [0, 1]: one number, or one a channel.
        std: they are divided by it.
    """

    path: Path
    kind: Kind
    classes: tuple[str, ...]
    size: int
    weights: str | None = None
    architecture: str | None = None
    function: str | None = None
    pathologies: tuple[str, ...] = ()
    pathology: str | None = None
    outputs: Outputs = "logits"
    channels: int = 1
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def file(self) -> Path | None:
        """The file of the weights, where there is one."""
        file = None if self.weights is None else self.path.parent / Path(self.weights).expanduser()
        return file if file is not None and file.is_file() else None


def read_description(path: Path) -> Description:
    """Read the YAML file of a classifier.

    Raises:
        ValueError: there is no such file, or what it says is not a classifier.
    """
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(
            f"expected a classifier's YAML file, got {path}, which cannot be read ({error}); do "
            "check it"
        ) from error
    if not isinstance(said, dict):
        raise _wrong(path, "a mapping with kind, classes and size", f"{said!r}", "write one")
    kind = _kind(path, said)
    _check_keys(path, kind, said)
    said = {**_DEFAULTS.get(kind, {}), **said}
    channels = _count(path, "channels", said.get("channels", 1))
    described = Description(
        path=path,
        kind=kind,
        classes=_names(path, "classes", said["classes"], 2),
        size=_count(path, "size", said["size"]),
        pathologies=_names(path, "pathologies", said.get("pathologies", []), 0),
        outputs=_outputs(path, said.get("outputs", "logits")),
        channels=channels,
        mean=_numbers(path, "mean", said.get("mean", 0.0), channels),
        std=_positive(path, _numbers(path, "std", said.get("std", 1.0), channels)),
        **{name: _text(path, name, said.get(name)) for name in _TEXTS},
    )
    _check_pathology(described)
    return described


_TEXTS = ("weights", "architecture", "function", "pathology")


def _kind(path: Path, said: dict) -> Kind:
    for known in get_args(Kind):
        if said.get("kind") == known:
            return known
    expected = f"kind: {' or '.join(get_args(Kind))}"
    raise _wrong(path, expected, f"{said.get('kind')!r}", "give one")


def _check_keys(path: Path, kind: Kind, said: dict) -> None:
    known = Description.__dataclass_fields__.keys() - {"path"}
    needed = ("classes", "size", *_NEEDS[kind])
    strange = sorted(str(key) for key in said if key not in known or key in _FIXED.get(kind, ()))
    if strange:
        allowed = sorted(known - set(_FIXED.get(kind, ())))
        raise _wrong(
            path, f"the keys {', '.join(allowed)} for {kind}", ", ".join(strange), "remove these"
        )
    missing = [key for key in needed if said.get(key) is None]
    if missing:
        raise _wrong(
            path,
            f"{', '.join(needed)} for {kind}",
            f"no {', '.join(missing)}",
            "add what is missing",
        )


def _check_pathology(described: Description) -> None:
    if described.pathology is None:
        return
    if len(described.classes) != 2:
        raise _wrong(
            described.path,
            "two classes, for the pathology's absence and presence",
            ", ".join(described.classes),
            "name these two as the bundle does",
        )
    own = described.kind == "torchxrayvision" and not described.pathologies
    if not own and described.pathology not in described.pathologies:
        raise _wrong(
            described.path,
            "a pathology among the pathologies, the names of the network's outputs",
            f"{described.pathology!r} of {list(described.pathologies)}",
            "list these in the order of the outputs",
        )


def _text(path: Path, name: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _wrong(path, f"a text for {name}", f"{value!r}", "put it in quotes")
    return value


def _names(path: Path, name: str, value: object, least: int) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else []
    names = tuple(one for one in listed if isinstance(one, str))
    if not isinstance(value, list) or len(names) < max(least, len(listed)):
        raise _wrong(path, f"a list of names for {name}", f"{value!r}", "write [A, B]")
    if len(set(names)) != len(names):
        raise _wrong(path, f"{name} that differ", f"{value!r}", "name each once")
    return names


def _count(path: Path, name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _wrong(path, f"a whole number above 0 for {name}", f"{value!r}", "give one")
    return value


def _numbers(path: Path, name: str, value: object, channels: int) -> tuple[float, ...]:
    listed = value if isinstance(value, list) else [value]
    numbers = tuple(float(one) for one in listed if isinstance(one, (int, float)))
    if len(numbers) != len(listed) or len(numbers) not in (1, channels):
        raise _wrong(
            path, f"one number for {name}, or {channels}, one a channel", f"{value!r}", "give these"
        )
    return numbers


def _positive(path: Path, std: tuple[float, ...]) -> tuple[float, ...]:
    if min(std) <= 0:
        raise _wrong(path, "a std above 0", f"{min(std)}", "give that of the training images")
    return std


def _outputs(path: Path, value: object) -> Outputs:
    for known in get_args(Outputs):
        if value == known:
            return known
    raise _wrong(path, "outputs: logits or probabilities", f"{value!r}", "give one")


def _wrong(path: Path, expected: str, got: str, remedy: str) -> ValueError:
    return ValueError(f"expected {expected}, got {got} in {path}; do {remedy}")
