"""How a run is laid out: its files, the columns of its tables and their types."""

from __future__ import annotations

from pathlib import Path

SAMPLE_COLUMNS = (
    "id",
    "path",
    "label",
    "source",
    "target",
    "outcome",
    "p_target_factual",
    "p_target",
    "steps",
    "evaluations",
    "prior_passes",
    "decodes",
    "seconds",
    "patient",
    "subgroup",
    "draw",
)
SKIPPED_COLUMNS = ("path", "reason")
CONFIG = "config.yaml"
FORMS_FILE = "forms.yaml"
SHARDS = "shards"
SAMPLES = "samples"
SKIPPED = "skipped"

Value = str | float | int | None
Row = dict[str, Value]

_INTEGERS = {"id", "steps", "evaluations", "prior_passes", "decodes", "draw"}
_FLOATS = {"p_target_factual", "p_target", "seconds"}


def table_of(run: Path, name: str, rank: int = 0) -> Path:
    """The table that a process appends to: the run's own is that of the first.

    >>> table_of(Path("run"), SAMPLES).name, table_of(Path("run"), SAMPLES, 2).name
    ('samples.csv', 'samples.2.csv')
    """
    return run / (f"{name}.{rank}.csv" if rank else f"{name}.csv")


def tables_of(run: Path, name: str) -> list[Path]:
    """The tables there are: the run's own, then those of further processes in their order."""
    parts = sorted(run.glob(f"{name}.*.csv"), key=lambda part: (len(part.name), part.name))
    return [table for table in (table_of(run, name), *parts) if table.is_file()]


def typed(table: Path, column: str, text: str) -> Value:
    """Return a cell's value; nothing is None.

    Raises:
        ValueError: the column holds numbers, and this is none.
    """
    if text == "":
        return None
    try:
        if column in _INTEGERS:
            return int(text)
        return float(text) if column in _FLOATS else text
    except ValueError as error:
        raise ValueError(
            f"expected a number in column {column} of {table}, got {text!r}; search again into "
            "another folder."
        ) from error
