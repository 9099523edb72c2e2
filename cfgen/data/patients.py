"""Patients and causes from file names, where a data set writes them there."""

from __future__ import annotations

import re
from dataclasses import dataclass

# The paediatric chest X-rays of Kermany, Zhang and Goldbaum (2018), doi:10.17632/rscbjbr9sj.
_PNEUMONIA = re.compile(r"(person\d+)_(bacteria|virus)_\d+", re.IGNORECASE)
_NORMAL = re.compile(r"(?:NORMAL2-)?(IM-\d+)-\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Naming:
    """What a file's name tells: whose image it is, and the cause of what it shows."""

    patient: str | None = None
    cause: str | None = None


def read_name(name: str) -> Naming:
    """Read patient and cause from a file name of the Kermany X-rays; any other tells nothing.

    Their numbers restart in each split, so that a patient is known only together with the split.

    >>> read_name("person123_bacteria_456.jpeg")
    Naming(patient='person123', cause='bacteria')
    >>> read_name("NORMAL2-IM-0115-0001.jpeg").patient
    'IM-0115'
    >>> read_name("chest.png")
    Naming(patient=None, cause=None)
    """
    if found := _PNEUMONIA.match(name):
        return Naming(found[1], found[2].lower())
    if found := _NORMAL.match(name):
        return Naming(found[1])
    return Naming()
