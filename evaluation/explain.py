"""Explains one image: figures, numbers, and what changed inside the classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure

from cfgen import metrics
from cfgen.explanation import Explanation
from cfgen.explanation import explain as find
from cfgen.methods import DEFAULT_METHOD
from cfgen.models.bundle import Bundle, load_bundle
from cfgen.verdict import CALIBRATED
from evaluation import figures
from evaluation.tables import csv_text, markdown
from evaluation.writing import make_folder, write_file


def explain(
    image: Path,
    bundle: str,
    out: Path,
    target: str | None = None,
    method: str = DEFAULT_METHOD,
    settings: dict[str, int | float | str] | None = None,
    classifier: str | None = None,
    draws: int = 1,
) -> str:
    """Explain one image; write panels.png, layers.png, layers.csv and explanation.md.

    With several draws, draws.png shows them side by side; the other files are of the first.

    Args:
        image: JPEG, PNG, TIFF or DICOM file of one grey image.
        bundle: name of a shipped bundle, or a path with a slash in it.
        out: folder to write into; made where it is missing.
        target: name of a class, or 'other'; by default the class not predicted, or the runner-up.
        method: see `cfgen.methods.METHODS`.
        settings: of the method, those that are not to be its own.
        classifier: package.module:function that stands in for the bundle's classifier.
        draws: counterfactuals of the image, by a method that draws at random.

    Returns:
        What was found, as text.

    Raises:
        ValueError: something given is not to be had, or `out` cannot be written.
    """
    if draws < 1:
        raise ValueError(f"expected 1 draw or more, got {draws}; leave it out for 1")
    models = load_bundle(bundle, classifier)
    make_folder(out)
    every = [find(image, models, target, method, settings, draw=draw) for draw in range(draws)]
    found = every[0]
    sheet = figures.panels(
        found.factual, found.counterfactual, found.classes, found.before, found.after
    )
    figures.save(sheet, out / "panels.png")
    layers = metrics.activation_change(
        models.classifier, found.factual[None], found.counterfactual[None]
    )
    bars = figures.activation_bars([(layer.layer, layer.change) for layer in layers])
    figures.save(bars, out / "layers.png")
    rows = [layer._asdict() for layer in layers]
    write_file(out / "layers.csv", csv_text(rows, ("layer", "change", "relative")))
    text = _describe(image, models, found, method)
    if draws > 1:
        text += _compare(every)
        figures.save(_side_by_side(every), out / "draws.png")
    write_file(out / "explanation.md", text)
    return text


def _describe(image: Path, models: Bundle, found: Explanation, method: str) -> str:
    """Text for a reader: what the classifier said before and after, and who agrees."""
    pair = (found.factual[None], found.counterfactual[None])
    lines = [
        f"# {image.name}: {found.outcome}",
        "",
        _verdict(found),
        "",
        f"Searched by `{method}` with {models.path.name}. For research, not for diagnosis.",
        "",
        "| | before | after |",
        "|---|---|---|",
        f"| classifier decides for | {found.decided_before} | {found.decided_after} |",
    ]
    lines += [
        f"| p({name}) | {before:.3f} | {after:.3f} |"
        for name, before, after in zip(
            found.classes, found.before.tolist(), found.after.tolist(), strict=True
        )
    ]
    for name, judge in models.judges.items():
        with torch.inference_mode():
            before, after = judge.predict(torch.cat(pair)).tolist()
        lines.append(f"| judge {name} says | {judge.classes[before]} | {judge.classes[after]} |")
    lines += [
        "",
        f"Change: L2 norm {float(metrics.l2(*pair)):.2f}, largest {float(metrics.linf(*pair)):.2f} "
        f"of the grey range, SSIM {float(metrics.ssim(*pair)):.3f}.",
        "A judge that does not follow means that the change may be noise that only this "
        "classifier sees; one that follows may share its confounders.",
        "",
        "## Evidence",
        "",
        _evidence(found),
    ]
    return "\n".join(lines)


def _verdict(found: Explanation) -> str:
    """Say what the counterfactual is, how sure that is, and why."""
    if found.verdict is None:
        return "**No verdict**: no bundle here has a calibrated one; see `cfgen verdict --help`."
    verdict, probability, reasons = found.verdict
    sure = f"p {probability:.2f}, " if probability else ""
    return f"**Verdict: {verdict}** ({sure}{CALIBRATED}): {reasons}."


def _evidence(found: Explanation) -> str:
    """Table of what the verdict was made from; `cfgen.evidence.Evidence` defines each."""
    values = {name: float(column) for name, column in found.evidence._asdict().items()}
    rows = [
        {"evidence": name, "value": "not known" if math.isnan(value) else f"{value:.2f}"}
        for name, value in values.items()
    ]
    return markdown(rows, ("evidence", "value"))


def _compare(every: Sequence[Explanation]) -> str:
    """Table of the draws."""
    rows = []
    for draw, found in enumerate(every):
        pair = (found.factual[None], found.counterfactual[None])
        rows.append(
            {
                "draw": str(draw),
                "outcome": str(found.outcome),
                "decides for": found.decided_after,
                "L2": f"{float(metrics.l2(*pair)):.2f}",
                "verdict": str(found.verdict.verdict) if found.verdict else "-",
            }
        )
    return f"\n## {len(every)} draws\n\n{markdown(rows, tuple(rows[0]))}"


def _side_by_side(every: Sequence[Explanation]) -> Figure:
    captions = [
        f"draw {draw}: {found.outcome}" + (f", {found.verdict.verdict}" if found.verdict else "")
        for draw, found in enumerate(every)
    ]
    factual = torch.stack([found.factual for found in every])
    images = torch.stack([found.counterfactual for found in every])
    return figures.grid(factual, [("counterfactual", images)], captions)
