"""Explains one image: figures, numbers, and what changed inside the classifier."""

from __future__ import annotations

from pathlib import Path

import torch

from cfgen import metrics
from cfgen.explanation import Explanation
from cfgen.explanation import explain as find
from cfgen.methods import DEFAULT_METHOD
from cfgen.models.bundle import Bundle, load_bundle
from evaluation import figures
from evaluation.tables import csv_text
from evaluation.writing import make_folder, write_file


def explain(
    image: Path,
    bundle: str,
    out: Path,
    target: str | None = None,
    method: str = DEFAULT_METHOD,
    settings: dict[str, int | float | str] | None = None,
    classifier: str | None = None,
) -> str:
    """Explain one image; write panels.png, layers.png, layers.csv and explanation.md.

    Args:
        image: JPEG, PNG, TIFF or DICOM file of one grey image.
        bundle: name of a shipped bundle, or a path with a slash in it.
        out: folder to write into; made where it is missing.
        target: name of a class, or 'other'; by default the class not predicted, or the runner-up.
        method: see `cfgen.methods.METHODS`.
        settings: of the method, those that are not to be its own.
        classifier: package.module:function that stands in for the bundle's classifier.

    Returns:
        What was found, as text.

    Raises:
        ValueError: something given is not to be had, or `out` cannot be written.
    """
    models = load_bundle(bundle, classifier)
    make_folder(out)
    found = find(image, models, target, method, settings)
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
    write_file(out / "explanation.md", text)
    return text


def _describe(image: Path, models: Bundle, found: Explanation, method: str) -> str:
    """Text for a reader: what the classifier said before and after, and who agrees."""
    pair = (found.factual[None], found.counterfactual[None])
    lines = [
        f"# {image.name}: {found.outcome}",
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
    ]
    return "\n".join(lines)
