"""Explains one image: searches, measures, and writes a folder of pages and pictures."""

from __future__ import annotations

import shlex
from pathlib import Path

from cfgen.explanation import explain as find
from cfgen.methods import DEFAULT_METHOD
from cfgen.models.bundle import load_bundle
from evaluation import figures
from evaluation.explain import morph
from evaluation.explain.case import Case, make_case
from evaluation.explain.page import page
from evaluation.explain.pictures import change_figure, draws_figure, strengths_figure
from evaluation.explain.sheet import sheet
from evaluation.explain.text import describe
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
    draws: int = 1,
) -> str:
    """Explain one image in a folder of pages and pictures.

    explanation.html, explanation.pdf and explanation.md say the same: an image unlike the training
    images is said to be one, then what the model says, what changed where and whether to believe
    it. panels.png, change.png, strengths.png and layers.png (with layers.csv) are their figures,
    morph.webp moves from original to counterfactual and back; with the extra `video` there is
    morph.mp4 as well. With several draws, draws.png shows them side by side; all else is of the
    first.

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
    every = tuple(find(image, models, target, method, settings, draw=draw) for draw in range(draws))
    given = {"target": target, "method": method, **_dotted(settings or {})}
    given |= {"classifier": classifier, "draws": draws if draws > 1 else None}
    case = make_case(image.name, models, method, _command(image, bundle, out, given), every)
    moving = morph.frames(case.found, models)
    loop = morph.webp(moving)
    _write_figures(case, out)
    rows = [layer._asdict() for layer in case.layers]
    write_file(out / "layers.csv", csv_text(rows, ("layer", "change", "relative")))
    write_file(out / "morph.webp", loop)
    film = out / "morph.mp4"
    if morph.can_make_mp4():
        write_file(film, morph.mp4(moving))
    else:
        film.unlink(missing_ok=True)
    write_file(out / "explanation.html", page(case, loop))
    figures.save(sheet(case), out / "explanation.pdf")
    text = describe(case)
    write_file(out / "explanation.md", text)
    return text


def _write_figures(case: Case, out: Path) -> None:
    """Write the figures; none of an earlier image is left."""
    found = case.found
    drawn = {
        "panels.png": figures.panels(
            found.factual, found.counterfactual, found.classes, found.before, found.after
        ),
        "change.png": change_figure(case),
        "strengths.png": strengths_figure(case),
        "layers.png": figures.activation_bars([(one.layer, one.change) for one in case.layers]),
    }
    if len(case.draws) > 1:
        drawn["draws.png"] = draws_figure(case)
    else:
        (out / "draws.png").unlink(missing_ok=True)
    for name, figure in drawn.items():
        figures.save(figure, out / name)


def _dotted(settings: dict[str, int | float | str]) -> dict[str, int | float | str]:
    return {f"settings.{name}": value for name, value in settings.items()}


def _command(image: Path, bundle: str, out: Path, given: dict) -> str:
    options = {"bundle": bundle, **given, "out": out.as_posix()}
    if options["method"] == DEFAULT_METHOD:
        options["method"] = None
    words = ["cfgen", "explain", image.as_posix()]
    for name, value in options.items():
        words += [] if value is None else [f"--{name}", str(value)]
    return shlex.join(words)
