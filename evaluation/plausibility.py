"""Evaluates a run: measures each counterfactual, sums up, and writes what it found beside it."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch

from cfgen.models.bundle import load_bundle
from evaluation.adopt import adopt
from evaluation.measures.distances import distances
from evaluation.measures.draws import DEFINITION, diversity_of_draws
from evaluation.measures.image import Instruments, measure
from evaluation.measures.instruments import instruments_of
from evaluation.measures.notes import drifted, stopped
from evaluation.measures.real import Seen, look, real_images
from evaluation.measures.realism import DEFINITIONS, identity, judges_on_real, take, templates
from evaluation.measures.transitions import write_curves
from evaluation.measures.weights import NO_WEIGHTS, Weights, describe_weights, with_weights
from evaluation.runs import Row, Run, is_run, read_run
from evaluation.summary import summarise, to_markdown
from evaluation.tables import csv_text
from evaluation.verdicts.giving import give_verdicts
from evaluation.writing import write_file

REAL_IMAGES = 1000
"""Real images of a class that counterfactuals are compared to, at most."""
_LOG = logging.getLogger(__name__)


def evaluate(
    run: Path,
    judges: Path | None = None,
    batch_size: int = 64,
    perceptual: bool = False,
    weights: Weights = NO_WEIGHTS,
) -> dict:
    """Evaluate a run; write metrics.csv, cout.csv, summary.json and summary.md beside it.

    Where there is a calibrated verdict model, evidence.csv and verdicts.csv too.

    Everything is recomputed from the stored images.

    Args:
        run: the run's folder, made by `cfgen search`.
        judges: a folder with a classifier in each of its folders, to ask instead of the
            bundle's own judges.
        batch_size: images that a model is given at once.
        perceptual: whether to measure GMSD, FSIM, HaarPSI and VIFp, too, by the package piq.
        weights: files of networks to measure LPIPS and FID in, too.

    Returns:
        The summary as in summary.json.

    Raises:
        ValueError: the run is not whole, its bundle or the judges do not fit it, or a file of
            weights is not what it should be.
    """
    found = read_run(run)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    bundle = load_bundle(found.config["bundle"], found.config.get("classifier"), device)
    asked = replace(instruments_of(found, bundle, judges), perceptual=perceptual)
    instruments = with_weights(asked, weights)
    described, strange = describe_weights(weights)
    measured, curves = measure(found, instruments, batch_size)
    notes = stopped(found) + drifted(found, bundle, measured) + strange
    real: dict[str, Seen] = {}
    try:
        named = real_images(found, bundle, REAL_IMAGES)
    except ValueError as error:
        notes.append(f"Compared to no real images: {error}")
    else:
        real = look(named, instruments, batch_size)
    together = _together(found, instruments, measured, real, batch_size)
    summary = _summary(found, instruments, measured, together, notes)
    summary["weights"] = described
    summary["diversity"] = diversity_of_draws(found, batch_size)
    summary["verdicts"] = give_verdicts(found, bundle, instruments.judges, batch_size)
    for note in notes:
        _LOG.warning(note)
    write_curves(found, curves)
    write_file(run / "metrics.csv", csv_text(measured, tuple(measured[0])))
    write_file(run / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
    write_file(run / "summary.md", to_markdown(summary))
    return summary


def evaluate_run(
    run: Path,
    judges: Path | None = None,
    batch_size: int = 64,
    bundle: str | None = None,
    classifier: str | None = None,
    perceptual: bool = False,
    lpips: Path | None = None,
    inception: Path | None = None,
) -> str:
    """Evaluate a run, or pairs of images that any tool made; return summary.md.

    Pairs need a bundle, and are adopted first (see `cfgen adopt`, which knows more options): those
    of a folder as the run DIR/run, those of a file as FILE-run beside it.

    Args:
        run: the run's folder, made by `cfgen search` or `cfgen adopt`; or pairs.
        judges: a folder with a classifier in each of its folders, to ask instead of the
            bundle's own judges.
        batch_size: images that a model is given at once.
        bundle: of pairs: whose classes, size and judges they are measured with.
        classifier: of pairs: what stands in for the bundle's classifier.
        perceptual: whether to measure GMSD, FSIM, HaarPSI and VIFp, too, by the package piq.
        lpips: weights of AlexNet, alexnet-owt-7be5be79.pth of torchvision, to measure LPIPS too.
        inception: weights of FID's Inception, pt_inception-2015-12-05-6726825d.pth of pytorch-fid,
            to compare sets of images in its features too; needs the package torch-fidelity.

    Raises:
        ValueError: there are neither a run nor pairs, a bundle is named for a run, or a file of
            weights is not what it should be.
    """
    weights = Weights(lpips, inception)
    if bundle is None or is_run(run):
        if bundle is not None or classifier is not None:
            raise ValueError(
                f"expected pairs and --bundle beside --classifier, got {run} and "
                f"{'a run, which knows both' if is_run(run) else 'no bundle'}; name a bundle for "
                "pairs, none for a run."
            )
        return to_markdown(evaluate(run, judges, batch_size, perceptual, weights))
    out = run / "run" if run.is_dir() else run.with_name(f"{run.stem}-run")
    adopted = adopt([run], bundle, out, classifier)
    return to_markdown(evaluate(adopted, judges, batch_size, perceptual, weights))


def _together(
    run: Run,
    instruments: Instruments,
    measured: list[Row],
    real: dict[str, Seen],
    batch_size: int,
) -> dict[str, dict]:
    """Return the measures of the run's images together, under the keys of `DEFINITIONS`."""
    taken = take(run, instruments, batch_size)
    rows = [{**sample, **own} for sample, own in zip(run.samples, measured, strict=True)]
    return {
        **distances(taken, real),
        "on_real": judges_on_real(rows, real, sorted(instruments.judges)),
        "changes": templates(taken),
        "identity": identity(taken),
    }


def _summary(
    run: Run,
    instruments: Instruments,
    measured: list[Row],
    together: dict[str, dict],
    notes: list[str],
) -> dict:
    about = {
        "run": run.path.name,
        "method": run.config.get("method"),
        "judges": sorted(instruments.judges),
        "features": instruments.features.name if instruments.features else None,
        "skipped": len(run.skipped),
        "notes": notes,
    }
    summary = {**about, **summarise(run.samples, measured), **together}
    summary["definitions"] |= {**DEFINITIONS, "diversity": DEFINITION}
    packages = ["torch", "scikit-image", "torchmetrics", "numpy"]
    if instruments.inception is not None:
        packages.append("torch-fidelity")
    summary["versions"] = {name: version(name) for name in packages}
    return summary
