"""cfgen: counterfactual explanations of medical image classifiers."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cfgen.explanation import explain
    from cfgen.models.bundle import load_bundle
    from cfgen.types import Counterfactuals, Goal, Outcome

__version__ = version("cfgen")
__all__ = ["Counterfactuals", "Goal", "Outcome", "explain", "load_bundle"]

_HOME = {
    "Counterfactuals": "cfgen.types",
    "Goal": "cfgen.types",
    "Outcome": "cfgen.types",
    "explain": "cfgen.explanation",
    "load_bundle": "cfgen.models.bundle",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562 fixes this signature
    """Import the public names when they are first used: torch alone takes seconds."""
    if name not in _HOME:
        raise AttributeError(f"module 'cfgen' has no attribute {name!r}; it has {__all__}")
    return getattr(import_module(_HOME[name]), name)
