"""Other runs over the same images, to stand beside a run on its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cfgen.types import Image
from evaluation.report.cases import Case, read_cases
from evaluation.report.images import Place, difference, film, places, read_pair, same_film
from evaluation.runs import Run, read_run


@dataclass(frozen=True)
class Other:
    """A run beside.

    Attributes:
        run: it.
        cases: its cases by id.
        places: of its images by id.
    """

    run: Run
    cases: Mapping[int, Case]
    places: Mapping[int, Place]

    def found(self, i: int, factual: Image) -> dict | None:
        """Return what this run found of a sample; None where it has none.

        Raises:
            ValueError: its factual is another image.
        """
        if i not in self.places:
            return None
        own, image = read_pair(self.places[i])
        case = self.cases[i]
        if not same_film(own, factual):
            raise ValueError(
                f"expected in {self.run.path} the same image as in the first run, got another for "
                f"{case.sample['path']}; search both on the same data with bundles of one "
                "preprocessing."
            )
        return told(case) | pictures(own, image)


def read_other(path: Path, cases: Sequence[Case]) -> Other:
    """Read a run that is to stand beside others.

    Args:
        path: its folder.
        cases: of the first run.

    Raises:
        ValueError: it is no run, or has no sample of the first one's.
    """
    run = read_run(path)
    known = {case.id: case for case in read_cases(run)}
    if not any(case.id in known for case in cases):
        raise ValueError(
            f"expected a run over the same samples, got none of the {len(cases)} in {path}; "
            "search both on the same data."
        )
    return Other(run, known, places(run))


def names(runs: Sequence[Run]) -> list[str]:
    """Name runs by their methods, or by their folders where methods are not enough.

    >>> from evaluation.runs import Run
    >>> names([Run(Path(f"runs/{name}"), {"method": "prior"}, [], [], ()) for name in "ab"])
    ['a', 'b']
    """
    methods = [str(run.config.get("method") or run.path.name) for run in runs]
    if len(set(methods)) == len(runs):
        return methods
    folders = [run.path.name for run in runs]
    return folders if len(set(folders)) == len(runs) else [run.path.as_posix() for run in runs]


def told(case: Case) -> dict:
    """Return what the page says of a counterfactual under its picture."""
    return {
        "target": case.direction,
        "result": str(case.result),
        "verdict": case.verdict.get("verdict"),
        "p": case.sample["p_target"],
    }


def pictures(factual: Image, image: Image) -> dict[str, str | float]:
    """Return a counterfactual and its difference to the factual as data, and how large that is."""
    change = image - factual
    largest = round(float(change.abs().max()), 3)
    return {"image": film(image), "change": difference(change), "largest": largest}
