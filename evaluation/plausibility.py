"""Evaluates a run: measures each counterfactual, sums up, and writes what it found beside it."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from cfgen.data import phantom
from cfgen.models.bundle import BORDER, Bundle, load_bundle, load_judges
from cfgen.models.classifier import Classifier
from evaluation.adopt import adopt
from evaluation.measures.distances import distances
from evaluation.measures.draws import DEFINITION, diversity_of_draws
from evaluation.measures.image import FeatureNetwork, Instruments, measure
from evaluation.measures.real import Seen, look, real_images
from evaluation.measures.realism import DEFINITIONS, identity, judges_on_real, take, templates
from evaluation.measures.transitions import write_curves
from evaluation.runs import Row, Run, is_run, read_run
from evaluation.summary import summarise, to_markdown
from evaluation.tables import csv_text
from evaluation.verdicts.giving import give_verdicts
from evaluation.writing import write_file

REAL_IMAGES = 1000
"""Real images of a class that counterfactuals are compared to, at most."""
DRIFT = 0.01
"""From this difference of a probability on, the classifier is not the one searched with."""
_LOG = logging.getLogger(__name__)


def evaluate(
    run: Path, judges: Path | None = None, batch_size: int = 64, perceptual: bool = False
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

    Returns:
        The summary as in summary.json.

    Raises:
        ValueError: the run is not whole, or its bundle or the judges do not fit it.
    """
    found = read_run(run)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    bundle = load_bundle(found.config["bundle"], found.config.get("classifier"), device)
    instruments = replace(_instruments(found, bundle, judges), perceptual=perceptual)
    measured, curves = measure(found, instruments, batch_size)
    notes = _missing(found) + _drift(found, bundle, measured)
    real: dict[str, Seen] = {}
    try:
        named = real_images(found, bundle, REAL_IMAGES)
    except ValueError as error:
        notes.append(f"Compared to no real images: {error}")
    else:
        real = look(named, instruments, batch_size)
    together = _together(found, instruments, measured, real, batch_size)
    summary = _summary(found, instruments, measured, together, notes)
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

    Raises:
        ValueError: there are neither a run nor pairs, or a bundle is named for a run.
    """
    if bundle is None or is_run(run):
        if bundle is not None or classifier is not None:
            raise ValueError(
                f"expected pairs and --bundle beside --classifier, got {run} and "
                f"{'a run, which knows both' if is_run(run) else 'no bundle'}; name a bundle for "
                "pairs, none for a run."
            )
        return to_markdown(evaluate(run, judges, batch_size, perceptual))
    out = run / "run" if run.is_dir() else run.with_name(f"{run.stem}-run")
    adopted = adopt([run], bundle, out, classifier)
    return to_markdown(evaluate(adopted, judges, batch_size, perceptual))


def _instruments(run: Run, bundle: Bundle, judges: Path | None) -> Instruments:
    panel, border = bundle.judges, bundle.border
    if judges is not None:
        panel = _asked_instead(judges, bundle.device)
        border = panel.pop(BORDER, border)
    is_phantom = str(run.config["data"]).partition(":")[0] == "phantom"
    return Instruments(
        classifier=bundle.classifier,
        judges=panel,
        border=border,
        features=_feature_network(bundle.development) or _feature_network(panel),
        lungs=bundle.segmenter.lungs if bundle.has("segmenter") else None,
        autoencoder=bundle.autoencoder if bundle.has("autoencoder") else None,
        prior=bundle.prior if bundle.has("prior") else None,
        phantom=partial(phantom.of_path, size=bundle.size) if is_phantom else None,
        device=bundle.device,
    )


def _asked_instead(folder: Path, device: str) -> dict[str, Classifier]:
    """Judges of a folder, where the bundle's are not to be asked."""
    found = load_judges(folder)
    if not found:
        raise ValueError(
            f"expected judges in {folder}, each in a folder of its own, got none; name a folder "
            "such as BUNDLE/judges."
        )
    for judge in found.values():
        nn.Module.to(judge, device)
    return found


def _feature_network(candidates: dict[str, Classifier]) -> FeatureNetwork | None:
    """Return the first by name that sees whole images, None where none does.

    One for development is asked for first, for that is on no panel.
    """
    whole = {
        name: one for name, one in candidates.items() if one.view == "whole" and one.has_features
    }
    return FeatureNetwork(*min(whole.items())) if whole else None


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


def _missing(run: Run) -> list[str]:
    """Say where the search was stopped before its last sample."""
    tried = len(run.samples) + len(run.skipped)
    asked = int(run.config.get("samples") or tried)
    if tried >= asked:
        return []
    return [f"The search was stopped at {tried} of {asked} samples; the same command goes on."]


def _drift(run: Run, bundle: Bundle, measured: list[Row]) -> list[str]:
    """Say where the models are no longer those that the run was made with."""
    now, then = bundle.searched_with(), run.config.get("weights") or {}
    changed = sorted(name for name in then if then[name] != now.get(name, then[name]))
    notes = []
    if changed:
        notes.append(f"The bundle's {', '.join(changed)} changed since the search.")
    pairs = zip(run.samples, measured, strict=True)
    drift = max(abs(_p(row) - _p(own)) for row, own in pairs)
    if drift > DRIFT:
        notes.append(
            f"p(target) of a factual differs by up to {drift:.2f} from the search's: it was made "
            "with another classifier."
        )
    return notes


def _p(row: Row) -> float:
    return float(row["p_target_factual"] or 0)


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
    packages = ("torch", "scikit-image", "torchmetrics", "numpy")
    summary["versions"] = {name: version(name) for name in packages}
    return summary
