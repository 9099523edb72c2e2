"""How runs were measured: judges, measures and what these are cited by, intervals and tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from evaluation.definitions import METRICS, describe
from evaluation.measured import Measured
from evaluation.paper.prose import Cite, Prose, counted, listed
from evaluation.paper.references import cited_by
from evaluation.summary import ALL, CORRECT, SUBSETS

_SAID = ("valid", "p_target_factual", "p_target")
_TOGETHER = {
    "frechet": "Frechet distance",
    "kernel": "kernel distance",
    "coverage": "precision and recall",
    "on_real": "judges on real images",
    "changes": "likeness of the changes",
    "identity": "own factual nearest",
    "diversity": "diversity of draws",
}
"""Measures of images together, as the definitions of a summary have them."""
_BY_WEIGHTS = {"lpips": "LPIPS", "inception": "Inception's features"}


WORDS = {CORRECT: "the images that the classifier had right", ALL: "all images attempted"}
"""How a paper calls a subset."""


def subset_of(runs: Sequence[Measured]) -> str:
    """Return what a paper's numbers are of: what every classifier had right, if labels tell."""
    known = all(run.summary["subsets"][CORRECT]["n"] for run in runs)
    return CORRECT if known else ALL


def definitions(runs: Sequence[Measured]) -> list[Prose]:
    """Return what each measure of the runs is, and whose: a paragraph each."""
    known = {name: text for run in runs for name, text in run.summary["definitions"].items()}
    found: list[Prose] = []
    for name, text in known.items():
        if name not in SUBSETS and not name.startswith("judge_"):
            label = describe(name).label if name in METRICS else _TOGETHER[name]
            cites = cited_by(name)
            found.append([f"{label}: {text}", Cite(cites), "." if cites else " (no reference)."])
    return found


def measured(run: Measured) -> Prose:
    """Return how a run was measured: by which judges and measures, with which intervals."""
    summary = run.summary
    judges, subset = list(summary["judges"]), subset_of([run])
    n = {name: summary["subsets"][name]["n"] for name in (CORRECT, ALL)}
    return [
        *_judged(judges),
        "A counterfactual is valid where the calibrated probability of the target is at least 0.9",
        Cite(cited_by("valid")),
        ". Further measures are ",
        *_joined(list(_measures(summary))),
        ". Means are given with 95 % percentile bootstrap intervals",
        Cite(["efron1993"]),
        " of 1,000 resamples of ",
        "images" if summary["patients"] is None else "whole patients",
        Cite(() if summary["patients"] is None else ["field2007"]),
        f"; unless said otherwise they are of {WORDS[subset]} (n = {n[subset]:,}"
        f"{f' of {n[ALL]:,} attempted' if subset == CORRECT else ''}). Measured by ",
        listed([f"{name} {version}" for name, version in summary["versions"].items()]) + ".",
        *_weights(summary.get("weights", {})),
    ]


def _weights(used: Mapping[str, Mapping[str, str]]) -> Prose:
    """Say by which files of weights, where there were any, LPIPS and FID were measured."""
    if not used:
        return []
    said = [
        f"{_BY_WEIGHTS[name]} by {Path(known['file']).name} (sha256 {known['sha256'][:12]})"
        for name, known in used.items()
    ]
    return [f" Weights were read from files: {listed(said)}."]


def _judged(judges: Sequence[str]) -> Prose:
    if not judges:
        return ["No further classifier judged the counterfactuals. "]
    names = listed([f"'{name}'" for name in judges])
    return [
        f"The counterfactuals were shown to {counted(len(judges), 'further classifier')}, {names}, "
        "trained apart and never searched against. Such a judge follows where it decides for the "
        "target and had the factual right",
        Cite(cited_by("follows")),
        ". ",
    ]


def _measures(summary: Mapping) -> Iterator[Prose]:
    """Yield each measure that the run has with what it is cited by, but validity and judges."""
    for name in summary["definitions"]:
        if name in METRICS and name not in _SAID and summary["subsets"][ALL]["metrics"].get(name):
            yield [describe(name).label, Cite(cited_by(name))]
    for name, words in _TOGETHER.items():
        if summary.get(name):
            yield [words, Cite(cited_by(name))]


def _joined(items: Sequence[Prose]) -> Prose:
    last = len(items) - 1
    joints = ["" if place == 0 else " and " if place == last else ", " for place in range(last + 1)]
    return [
        piece
        for joint, item in zip(joints, items, strict=True)
        for piece in (joint, *item)
        if piece
    ]


def compared(runs: Sequence[Measured]) -> list[Prose]:
    """Return how runs were compared; nothing for a single one."""
    if len(runs) == 1:
        return []
    return [
        [
            f"'{runs[0].name}' was held against {listed([repr(run.name) for run in runs[1:]])} by "
            "paired differences over the images that both attempted, tested by sign-flip "
            "permutation",
            Cite(["fisher1935", "phipson2010"]),
            " with all images of a patient flipped together",
            Cite(["winkler2014"]),
            " and corrected for the number of tests",
            Cite(["holm1979"]),
            ".",
        ]
    ]
