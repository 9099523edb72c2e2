"""Evaluates a run: measures each counterfactual, sums up, and writes what it found beside it."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from cfgen.data import phantom
from cfgen.data.pixels import UnreadableImage
from cfgen.data.preprocessing import preprocessing_of
from cfgen.data.samples import choose
from cfgen.data.sources import open_source
from cfgen.data.splits import samples_of
from cfgen.metrics import FrechetRatio, frechet_ratio
from cfgen.models.bundle import Bundle, load_bundle, load_judges
from cfgen.models.classifier import Classifier
from cfgen.types import Images
from evaluation.measures import Instruments, batches, measure
from evaluation.runs import Row, Run, read_run
from evaluation.summary import attempted, summarise, target_of, to_markdown
from evaluation.tables import csv_text
from evaluation.verdicts import give_verdicts
from evaluation.writing import write_file

REAL_IMAGES = 1000
"""Real images of a class that counterfactuals are compared to, at most."""
DRIFT = 0.01
"""From this difference of a probability on, the classifier is not the one searched with."""
_FRECHET = (
    "squared Frechet distance of Gaussians fitted to the judge's penultimate features, of the "
    "counterfactuals (all attempted) to real images of the target class from the same split, "
    "over that of such real images to each other, at the same n; 1 is as close as real. Not an "
    "'FID', which is Inception's. Beside it that of the unchanged factuals"
)
_LOG = logging.getLogger(__name__)

Features = Float[Tensor, "images features"]


def evaluate(run: Path, judges: Path | None = None, batch_size: int = 64) -> dict:
    """Evaluate a run; write metrics.csv, summary.json and summary.md into its folder.

    Where there is a calibrated verdict model, evidence.csv and verdicts.csv too.

    Everything is recomputed from the stored images.

    Args:
        run: the run's folder, made by `cfgen search`.
        judges: a folder with a classifier in each of its folders, to ask instead of the
            bundle's own judges.
        batch_size: images that a model is given at once.

    Returns:
        The summary as in summary.json.

    Raises:
        ValueError: the run is not whole, or its bundle or the judges do not fit it.
    """
    found = read_run(run)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    bundle = load_bundle(found.config["bundle"], found.config.get("classifier"), device)
    instruments = _instruments(found, bundle, judges)
    measured = measure(found, instruments, batch_size)
    notes = _missing(found) + _drift(found, bundle, measured)
    try:
        real = _real_images(found, bundle)
    except ValueError as error:
        notes.append(f"No Frechet distance: {error}")
        real = {}
    frechet = frechet_ratios(found, instruments, real, batch_size)
    summary = _summary(found, instruments, measured, frechet, notes)
    summary["verdicts"] = give_verdicts(found, bundle, instruments.judges, batch_size)
    for note in notes:
        _LOG.warning(note)
    write_file(run / "metrics.csv", csv_text(measured, tuple(measured[0])))
    write_file(run / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
    write_file(run / "summary.md", to_markdown(summary))
    return summary


def evaluate_run(run: Path, judges: Path | None = None, batch_size: int = 64) -> str:
    """Evaluate a run and return the summary for reading, as in summary.md.

    Args:
        run: the run's folder, made by `cfgen search`.
        judges: a folder with a classifier in each of its folders, to ask instead of the
            bundle's own judges.
        batch_size: images that a model is given at once.
    """
    return to_markdown(evaluate(run, judges, batch_size))


def frechet_ratios(
    run: Run,
    instruments: Instruments,
    real: Mapping[str, Images],
    batch_size: int = 64,
) -> dict[str, dict[str, dict]]:
    """Return Frechet ratios by judge and target class, of counterfactuals and of factuals.

    A target with fewer than two counterfactuals or four real images is left out.

    Args:
        run: the run.
        instruments: whose judges are asked.
        real: real images of each class, at the run's size.
        batch_size: images that a judge is given at once.
    """
    found: dict[str, dict[str, dict]] = {}
    for name, judge in instruments.judges.items():
        sides = _features_by_target(run, judge, instruments.device, batch_size)
        for target, (images, factuals) in sides.items():
            pool = real.get(target)
            if pool is None or len(pool) < 4 or len(images) < 2:
                continue
            parts = pool.split(batch_size)
            there = torch.cat([_features(judge, part.to(instruments.device)) for part in parts])
            after, before = (_ratio(features, there) for features in (images, factuals))
            found.setdefault(name, {})[target] = {
                **after._asdict(),
                "ratio_factual": before.ratio,
                "n_real": len(pool),
            }
    return found


def _ratio(generated: Features, real: Float[Tensor, "real features"]) -> FrechetRatio:
    return frechet_ratio(generated, real, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def _features(judge: Classifier, images: Images) -> Features:
    return judge.features(images).cpu()


def _features_by_target(
    run: Run, judge: Classifier, device: str, batch_size: int
) -> dict[str, tuple[Features, Features]]:
    """Features of counterfactuals and factuals, of all attempted samples of each target."""
    found: dict[str, list[tuple[Features, Features]]] = {}
    for batch in batches(run, batch_size, device):
        after, before = _features(judge, batch.image), _features(judge, batch.factual)
        for place, row in enumerate(batch.rows):
            if attempted(row):
                found.setdefault(target_of(row), []).append((after[place], before[place]))
    return {
        target: (torch.stack([a for a, _ in pairs]), torch.stack([b for _, b in pairs]))
        for target, pairs in found.items()
    }


def _instruments(run: Run, bundle: Bundle, judges: Path | None) -> Instruments:
    own = bundle.judges if judges is None else load_judges(judges)
    if judges is not None and not own:
        raise ValueError(
            f"expected judges in {judges}, each in a folder of its own, got none; name a folder "
            "such as BUNDLE/judges."
        )
    for judge in own.values():
        nn.Module.to(judge, bundle.device)
    has_autoencoder = (bundle.path / "autoencoder").is_dir()
    is_phantom = str(run.config["data"]).partition(":")[0] == "phantom"
    return Instruments(
        classifier=bundle.classifier,
        judges=own,
        autoencoder=bundle.autoencoder if has_autoencoder else None,
        phantom=partial(phantom.of_path, size=bundle.size) if is_phantom else None,
        device=bundle.device,
    )


def _real_images(run: Run, bundle: Bundle) -> dict[str, Images]:
    """Real images of each target class from the run's split; unreadable ones are left out.

    Raises:
        ValueError: the data are not where they were, or have no labels.
    """
    source = open_source(str(run.config["data"]), bundle.classes, size=bundle.size)
    split = run.config.get("split")
    cut = bundle.path / "split.csv"
    samples = source.samples if split is None else samples_of(source, split, cut)
    prepare = preprocessing_of(run.config["preprocessing"], run.path / "config.yaml")
    found = {}
    targets = {target_of(row) for row in run.samples}
    for name in (name for name in bundle.classes if name in targets):
        chosen = choose((sample for sample in samples if sample.label == name), REAL_IMAGES)
        images = []
        for sample in tqdm(chosen, desc=f"real {name}", unit="image"):
            with contextlib.suppress(UnreadableImage):
                images.append(prepare(source.load(sample), sample.path))
        if images:
            found[name] = torch.stack(images)
    if not found:
        raise ValueError(f"{source.name} has no image of a target class to compare to.")
    return found


def _missing(run: Run) -> list[str]:
    """Say where the search was stopped before its last sample."""
    tried = len(run.samples) + len(run.skipped)
    asked = int(run.config.get("samples") or tried)
    if tried >= asked:
        return []
    return [f"The search was stopped at {tried} of {asked} samples; the same command goes on."]


def _drift(run: Run, bundle: Bundle, measured: list[Row]) -> list[str]:
    """Say where the models are no longer those that the run was made with."""
    now, then = bundle.weights(), run.config.get("weights") or {}
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
    frechet: dict[str, dict[str, dict]],
    notes: list[str],
) -> dict:
    about = {
        "run": run.path.name,
        "method": run.config.get("method"),
        "judges": sorted(instruments.judges),
        "skipped": len(run.skipped),
        "notes": notes,
    }
    summary = {**about, **summarise(run.samples, measured), "frechet": frechet}
    summary["definitions"]["frechet"] = _FRECHET
    packages = ("torch", "scikit-image", "torchmetrics", "numpy")
    summary["versions"] = {name: version(name) for name in packages}
    return summary
