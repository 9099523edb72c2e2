"""The rows of a study: which method, with which settings, against which classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, get_args

from cfgen.methods import DEFAULT_METHOD, METHODS, settings_of
from cfgen.methods.settings import EditName, Guided

METHOD = "prior"
"""Name of the row that all others are held against: the default method as it is."""
RIVAL = "class-mean"
CONTROLS = (RIVAL, "random", "opposite")
LADDER = (0.99, 0.97, 0.95, 0.91)
"""SSIM budgets of a family of runs, from little change to much."""
UNTRAINED = "untrained"
"""Name of the classifier whose weights are random, see `evaluation.study.untrained`."""

Overrides = Mapping[str, int | float | str]


class Planned(NamedTuple):
    """A row of the study, which is a run.

    Attributes:
        name: of the row and of the run's folder.
        group: of rows that are shown in one table.
        method: a name in `cfgen.methods.METHODS`.
        settings: of the method, those that are not its own.
        classifier: what stands in for the bundle's classifier, as `cfgen search` takes it.
    """

    name: str
    group: str
    method: str = DEFAULT_METHOD
    settings: Overrides = MappingProxyType({})
    classifier: str | None = None


def first_rows() -> list[Planned]:
    """Return the rows that need no other: the method, the plain ones, ablations, the frontier."""
    plain = [name for name in METHODS if name != DEFAULT_METHOD]
    return [
        Planned(METHOD, "methods"),
        *(Planned(name, "methods", name) for name in plain),
        *_ablations(),
        *(Planned(f"{edit}-steps", "controls", settings={"edit": edit}) for edit in CONTROLS),
        *_ladder(METHOD, {}),
        *_ladder(RIVAL, {"edit": RIVAL}),
    ]


def matched_rows(similarity: float) -> list[Planned]:
    """Return the edits alone, the classifier ignored, at the SSIM that the method's images have.

    Args:
        similarity: mean SSIM of the method's counterfactuals to their factuals.
    """
    alone: Overrides = {"budget": round(similarity, 4), "steps": 0}
    return [
        Planned(f"{METHOD}-alone", "ablations", settings=alone),
        *(
            Planned(f"{edit}-alone", "controls", settings={"edit": edit, **alone})
            for edit in CONTROLS
        ),
    ]


def classifier_rows(classifiers: Mapping[str, str]) -> list[Planned]:
    """Return the same method on other classifiers.

    Args:
        classifiers: by the name that their rows are to have, what `cfgen search` is given.
    """
    return [
        Planned(f"{METHOD}-{name}", "classifiers", classifier=given)
        for name, given in classifiers.items()
    ]


def family(name: str) -> list[str]:
    """Return the names of a family's rows: the same edit and steps at every budget.

    Args:
        name: `METHOD` or `RIVAL`.
    """
    itself = METHOD if name == METHOD else f"{name}-steps"
    return [itself, *(row.name for row in _ladder(name, {}))]


def _ablations() -> list[Planned]:
    others = [edit for edit in get_args(EditName) if edit not in (*CONTROLS, _own().edit)]
    changed: dict[str, Overrides] = {
        **{f"{METHOD}-{edit}": {"edit": edit} for edit in others},
        f"{METHOD}-everywhere": {"outside": 1.0},
        f"{METHOD}-uniform": {"outside": 1.0, "grid": 1},
        f"{METHOD}-start": {"steps": 0},
    }
    return [Planned(name, "ablations", settings=how) for name, how in changed.items()]


def _ladder(name: str, settings: Overrides) -> list[Planned]:
    """Rows at every budget but the method's own, which is a row already."""
    budgets: Sequence[float] = [budget for budget in LADDER if budget != _own().budget]
    return [
        Planned(
            f"{name}-b{round(budget * 100)}", "frontier", settings={**settings, "budget": budget}
        )
        for budget in budgets
    ]


def _own() -> Guided:
    settings = settings_of(DEFAULT_METHOD)
    assert isinstance(settings, Guided)
    return settings
