"""Calibrates the verdicts on runs over phantoms, and checks them on phantoms not seen there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from cfgen.data import phantom
from cfgen.data.phantom import Phantom
from cfgen.models.bundle import find_bundle, load_bundle
from cfgen.types import Image
from cfgen.verdict import (
    CALIBRATED,
    FILE,
    Table,
    Verdict,
    VerdictModel,
    find_model,
    table_of,
)
from cfgen.witnesses import witnesses_of
from evaluation import figures
from evaluation.batches import batches
from evaluation.runs import Run, read_run
from evaluation.summary import attempted
from evaluation.verdicts.fit import (
    RISK,
    fit,
    marker_place,
    risk_curve,
    true_verdicts,
)
from evaluation.verdicts.giving import evidence_of, gather_evidence, read_evidence
from evaluation.verdicts.tables import (
    by_search,
    curve_figure,
    curve_table,
    reached,
    reached_text,
    weights_table,
)
from evaluation.writing import make_folder, write_file

OTHERS = 63
"""Opacities that a normal phantom could have had beside its own, where a truth is looked for."""


def verdict(
    runs: Sequence[Path],
    into: str | None = None,
    out: Path | None = None,
    batch_size: int = 64,
) -> str:
    """Calibrate the verdicts on runs over phantoms, or check them on runs over others.

    RUN/evidence.csv is taken as it is where `cfgen evaluate` or this wrote it, else gathered and
    written. Counted are the counterfactuals that flip their classifier, of phantoms that it read
    right.

    Args:
        runs: folders of runs over phantoms: of several methods, and of classifiers with and
            without a shortcut.
        into: calibrate, and write verdict.json into this bundle.
        out: check, and write verdicts.md and verdicts.png into this folder.
        batch_size: images that a model is given at once.

    Returns:
        What was found, as Markdown.

    Raises:
        ValueError: not exactly one of `into` and `out`, or the runs are not of phantoms, or too
            few.
    """
    if (into is None) == (out is None):
        raise ValueError(
            "expected either --into BUNDLE, to calibrate, or --out DIR, to check, got "
            f"{'both' if into else 'neither'}; give one"
        )
    if not runs:
        raise ValueError("expected at least one run, got none; name the folders to take")
    found = [read_run(Path(path)) for path in runs]
    if into is not None:
        bundle = find_bundle(into)
        return calibrate(_gather(found, batch_size), runs, bundle)
    assert out is not None
    model = _model_of(found)
    return check(_gather(found, batch_size), model, out)


@dataclass(frozen=True)
class Cases:
    """Counterfactuals whose true verdict is known.

    Attributes:
        table: evidence, see `cfgen.verdict.table_of`.
        truths: the true verdict of each.
        groups: the phantom of each.
        searches: the search of each, as its run names it.
    """

    table: Table
    truths: list[Verdict]
    groups: list[str]
    searches: list[str]

    def only(self, kept: Sequence[int]) -> Cases:
        """Return some of them."""
        return Cases(
            self.table[list(kept)],
            [self.truths[k] for k in kept],
            [self.groups[k] for k in kept],
            [self.searches[k] for k in kept],
        )


def _gather(runs: Sequence[Run], batch_size: int) -> Cases:
    parts = [_cases(run, batch_size) for run in runs]
    return Cases(
        np.concatenate([part.table for part in parts]),
        [truth for part in parts for truth in part.truths],
        [group for part in parts for group in part.groups],
        [search for part in parts for search in part.searches],
    )


def _cases(run: Run, batch_size: int) -> Cases:
    if str(run.config["data"]).partition(":")[0] != "phantom":
        raise ValueError(
            f"expected runs over phantoms, whose truth is known, got {run.path} over "
            f"{run.config['data']}; search with --data phantom or phantom:0.9"
        )
    rows = read_evidence(run)
    if rows is None:
        bundle = load_bundle(run.config["bundle"], run.config.get("classifier"))
        rows = gather_evidence(run, witnesses_of(bundle), bundle.device, batch_size)
    truth = _truths(run, batch_size)
    kept = [
        k
        for k, (row, known) in enumerate(zip(run.samples, rows, strict=True))
        if attempted(row) and row["source"] == row["label"] and known["flips"]
    ]
    samples = [run.samples[k] for k in kept]
    return Cases(
        table_of(evidence_of(rows))[kept],
        [truth[row["id"]] for row in samples],
        [str(row["patient"]) for row in samples],
        [f"{run.config['method']} ({run.path.name})"] * len(kept),
    )


def _truths(run: Run, batch_size: int) -> dict[object, Verdict]:
    found = {}
    for batch in batches(run, batch_size, "cpu"):
        nearest = [
            nearest_truth(str(row["path"]), image)
            for row, image in zip(batch.rows, batch.image, strict=True)
        ]
        verdicts = true_verdicts(
            batch.factual,
            batch.image,
            torch.stack([one.truth for one in nearest]),
            torch.stack([one.opacity for one in nearest]),
            torch.stack([marker_place(one.marker) for one in nearest]),
        )
        pairs = zip(batch.rows, verdicts, strict=True)
        found |= {row["id"]: truth for row, truth in pairs}
    return found


def nearest_truth(path: str, image: Image) -> Phantom:
    """Return the phantom whose true counterfactual an image is nearest to, of those possible.

    An opacity can go in one way only, and come in many: no search can know which of these the
    phantom's own seed would have drawn.
    """
    own, *others = _possible(path, image.shape[-1])
    return min([own, *others], key=lambda one: float((one.truth - image).square().sum()))


@lru_cache(maxsize=1024)
def _possible(path: str, size: int) -> list[Phantom]:
    own = phantom.of_path(path, size)
    normal = phantom.CLASSES[own.label] == "NORMAL"
    return [own, *(phantom.others_of_path(path, OTHERS, size) if normal else [])]


def calibrate(cases: Cases, runs: Sequence[Path], bundle: Path) -> str:
    """Fit the decision model and write BUNDLE/verdict.json; return what it reached."""
    fitted = fit(cases.table, cases.truths, cases.groups)
    told = reached(fitted.model, fitted.probabilities, cases.truths)
    about = {
        "note": CALIBRATED,
        "runs": [Path(run).name for run in runs],
        "risk_allowed": RISK,
        "validation": "five-fold cross-validation over phantoms",
        **told,
    }
    model = replace(fitted.model, calibration=about)
    write_file(bundle / FILE, model.to_json())
    title = f"# Verdicts, calibrated on {len(model.seen)} phantoms\n"
    return "\n".join([title, reached_text(told, model), weights_table(model)])


def check(cases: Cases, model: VerdictModel, out: Path) -> str:
    """Hold a decision model against phantoms that it was not calibrated on.

    Writes verdicts.md and verdicts.png into `out`.

    Raises:
        ValueError: it was calibrated on all of them.
    """
    seen = set(model.seen)
    fresh = cases.only([k for k, group in enumerate(cases.groups) if group not in seen])
    if not fresh.truths:
        raise ValueError(
            f"expected phantoms that the verdicts were not calibrated on, got {len(cases.truths)} "
            "counterfactuals of those only; search on another split"
        )
    odds = model.probabilities(fresh.table)
    told = reached(model, odds, fresh.truths)
    label = np.array([_index(model, truth) for truth in fresh.truths])
    curve = risk_curve(odds, label, model.classes)
    lines = [
        f"# Verdicts on {len(set(fresh.groups))} phantoms not seen in calibration\n",
        reached_text(told, model),
        f"Left out, for they were seen: {len(cases.truths) - len(fresh.truths)} counterfactuals.\n",
        "## By search\n",
        by_search(model, odds, fresh.truths, fresh.searches),
        "## Coverage against risk\n",
        curve_table(curve, len(fresh.truths)),
    ]
    make_folder(out)
    figures.save(curve_figure(curve, len(fresh.truths), told), out / "verdicts.png")
    text = "\n".join(lines)
    write_file(out / "verdicts.md", text)
    return text


def _model_of(runs: Sequence[Run]) -> VerdictModel:
    bundles = sorted({str(run.config["bundle"]) for run in runs})
    models = [find_model(find_bundle(bundle)) for bundle in bundles]
    model = models[0]
    if model is None or any(other != model for other in models):
        raise ValueError(
            f"expected one verdict model for all runs, got none or several of "
            f"{', '.join(bundles)}; calibrate one with `cfgen verdict RUNS --into BUNDLE`"
        )
    return model


def _index(model: VerdictModel, truth: Verdict) -> int:
    """Index of a true verdict in the model's classes; -1 for one that it does not know."""
    return model.classes.index(truth) if truth in model.classes else -1
