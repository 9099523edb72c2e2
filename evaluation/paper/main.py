"""Writes for a paper what evaluated runs show: figures, tables, a methods section, references."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from evaluation import figures
from evaluation.compare import warnings_of
from evaluation.comparison.pareto import default_budget, pareto_figure, pareto_points
from evaluation.gallery import cases
from evaluation.measured import Measured, read_measured
from evaluation.paper import prose
from evaluation.paper.drawing import DOUBLE, SINGLE, bars, frontier, resized, write
from evaluation.paper.measuring import WORDS, definitions, subset_of
from evaluation.paper.methods import methods
from evaluation.paper.references import bibliography
from evaluation.paper.results import SUBSETS, differences, results
from evaluation.tables import latex_text
from evaluation.writing import make_folder, write_file

SHOWN = 3
"""Runs whose counterfactuals there is room for in a row of the figure of cases."""
_MARK = "% Made by cfgen paper, which replaces this folder's files: edit copies."
_FRAME = r"""\documentclass[twocolumn]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage[a4paper,textwidth=175mm,textheight=240mm]{geometry}
\usepackage{booktabs,graphicx}
\setlength{\columnsep}{5mm}
\begin{document}
\section*{Methods}
\input{methods}
\section*{Measures}
\input{definitions}
\input{figures}
\input{tables}
\bibliographystyle{unsrt}
\bibliography{refs}
\end{document}
"""


class _Shown(NamedTuple):
    """A figure, its file's name, whether it spans two columns, and what stands below it."""

    figure: Figure
    name: str
    wide: bool
    caption: str


def paper(run: Path, beside: Sequence[Path] = (), out: Path = Path("paper"), rows: int = 4) -> str:
    """Write what a paper needs of an evaluated run, and of others beside it.

    OUT/figures/NAME.pdf and .png at the width of one column (85 mm) or two (175 mm): the first
    cases of the run, which nobody picked; how often counterfactuals are valid and judges follow;
    with other runs also what each gains and costs. OUT/tables.tex, OUT/methods.tex and .md with
    the settings of the runs, OUT/definitions.tex and .md of the measures, OUT/refs.bib with all
    that these cite, OUT/main.tex, which holds all, to look at.

    Args:
        run: the run's folder.
        beside: other runs over the same images, to be compared with it.
        out: folder to write into; made where it is missing.
        rows: of the figure of cases, which are a case each, or two where there is one run only.

    Returns:
        The methods section as Markdown.

    Raises:
        ValueError: a run is not evaluated or has other images, there are more runs than colours,
            or `out` cannot be written or holds LaTeX that is not of this command.
    """
    paths = [run, *beside]
    _check_own(out)
    warnings = warnings_of(paths)
    runs = [replace(read_measured(path), name=name) for path, name in _named(paths).items()]
    shown = list(_figures(runs, rows))
    for one in shown:
        write(one.figure, out / "figures", one.name)
    section, measures = methods(runs, warnings), definitions(runs)
    make_folder(out)
    subsets = [one for one in SUBSETS if any(run.summary["subsets"][one]["n"] for run in runs)]
    tables = [results(runs, subset) for subset in subsets]
    if len(runs) > 1:
        tables.append(differences(runs))
    text = _paragraphs(section, prose.to_markdown)
    contents = {
        "methods.md": text,
        "methods.tex": _paragraphs(section, prose.to_latex),
        "definitions.md": _paragraphs(measures, prose.to_markdown),
        "definitions.tex": _paragraphs(measures, prose.to_latex),
        "tables.tex": "\n".join(tables),
        "figures.tex": "\n".join(map(_latex_figure, shown)),
        "refs.bib": bibliography(prose.keys([*section, *measures])),
        "main.tex": f"{_MARK}\n{_FRAME}",
    }
    for name, content in contents.items():
        write_file(out / name, content)
    return text


def _check_own(out: Path) -> None:
    """Refuse to write among LaTeX files that somebody else wrote."""
    frame = out / "main.tex"
    theirs = sorted(path.name for path in out.glob("*.tex"))
    if theirs and not (frame.is_file() and _MARK in frame.read_text(errors="replace")):
        raise ValueError(
            f"expected a new folder or one that `cfgen paper` wrote, got {out} with "
            f"{', '.join(theirs[:3])} of another origin; name another with --out."
        )


def _paragraphs(section: Sequence[prose.Prose], form: Callable[[prose.Prose], str]) -> str:
    return "\n\n".join(map(form, section)) + "\n"


def _named(paths: Sequence[Path]) -> dict[Path, str]:
    """Names of the runs' folders, with as much of the path as tells them apart."""
    short = [path.name for path in paths]
    unique = len(set(short)) == len(short)
    return {path: path.name if unique else path.as_posix() for path in paths}


def _figures(runs: Sequence[Measured], rows: int) -> Iterator[_Shown]:
    yield _cases(runs[:SHOWN], rows)
    targets = sorted({target for one in runs for target in one.targets()})
    subset = subset_of(runs)
    of = f"of {WORDS[subset]}; whiskers are 95 % bootstrap intervals over patients."
    follows = f"How often counterfactuals are valid, and how often judges follow, {of}"
    yield _Shown(bars(runs, targets, subset), "follows", len(targets) > 1, follows)
    if len(runs) == 1:
        return
    budget = default_budget(runs)
    pareto = resized(pareto_figure(pareto_points(runs, budget), budget), SINGLE)
    yield _Shown(
        pareto,
        "pareto",
        False,
        f"Validity within {budget:,.0f} passes of the classifier, proximity and realism of the "
        "runs, of all attempted.",
    )
    if any("panel_follows" in one.summary["definitions"] for one in runs):
        caption = f"Share of the judges that follow against the SSIM to the factual, {of}"
        yield _Shown(frontier(runs, targets, subset), "frontier", len(targets) > 1, caption)


def _cases(runs: Sequence[Measured], rows: int) -> _Shown:
    columns = 2 if len(runs) == 1 else 1
    factual, found, captions = cases([one.run for one in runs], rows * columns)
    named = [(one.name, images) for one, (_, images) in zip(runs, found, strict=True)]
    figure = figures.grid(factual, named, captions, columns=columns, width=DOUBLE)
    return _Shown(
        figure,
        "cases",
        True,
        f"The first {len(captions)} cases in the order of hashed file names, the classes in turn; "
        "none was picked. Differences are counterfactual minus original, red where brighter and "
        "blue where darker, on one scale.",
    )


def _latex_figure(one: _Shown) -> str:
    kind, width = ("figure*", "175mm") if one.wide else ("figure", "85mm")
    return "\n".join(
        (
            rf"\begin{{{kind}}}",
            r"\centering",
            rf"\includegraphics[width={width}]{{figures/{one.name}.pdf}}",
            rf"\caption{{{latex_text(one.caption)}}}",
            rf"\label{{fig:{one.name}}}",
            rf"\end{{{kind}}}",
            "",
        )
    )
