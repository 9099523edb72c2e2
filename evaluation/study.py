"""The whole comparison by one command: methods, ablations, controls and other classifiers.

Each trial is a run of its own, searched and evaluated; a study that was interrupted goes on. The
controls are as strong as the method they are held against: their budget is the mean similarity
that the method's own counterfactuals keep.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cfgen.methods import DEFAULT_METHOD
from evaluation import figures
from evaluation.compare import compare
from evaluation.contrasts import controls_table, faithfulness_table, frontier_points
from evaluation.plausibility import evaluate
from evaluation.runs import read_run
from evaluation.search import search
from evaluation.summary import ALL
from evaluation.targets import targets_table
from evaluation.untrained import save_untrained
from evaluation.writing import make_folder, write_file

METHOD = "prior"
UNTRAINED = "untrained"
BUDGETS = (0.98, 0.94, 0.92)
"""Of the frontier, beside the default's own."""
CONTROLS = ("class-mean", "random", "opposite")

Value = int | float | str


@dataclass(frozen=True)
class Trial:
    """One run of a study.

    Attributes:
        name: of its folder.
        method: see `cfgen.methods.METHODS`.
        settings: of the method, those that are not its own.
        classifier: what stands in for the bundle's.
    """

    name: str
    method: str = DEFAULT_METHOD
    settings: Mapping[str, Value] = field(default_factory=dict)
    classifier: str | None = None


def study(
    bundle: str,
    data: str,
    out: Path,
    split: str = "test",
    limit: int | None = None,
    judges: Path | None = None,
    classifiers: list[str] | None = None,
    frontier: int | None = None,
    batch_size: int = 64,
) -> str:
    """Search and evaluate every trial, and write study.md, frontier.png and the comparison.

    Args:
        bundle: name of a shipped bundle, or a path with a slash in it.
        data: as for `cfgen search`.
        out: folder for a run a trial and for what is found.
        split: of the data.
        limit: number of samples; by default all.
        judges: a folder of judges to ask instead of the bundle's own, such as those for
            development where a method is still to be chosen.
        classifiers: further ones to explain by the same method, see `cfgen search --classifier`.
        frontier: number of samples of the trials at other strengths; by default all.
        batch_size: images searched at once.

    Returns:
        What was found, as Markdown.

    Raises:
        ValueError: something given is not to be had.
    """
    make_folder(out)

    def run(trial: Trial, samples: int | None = limit) -> Path:
        return _run(trial, (bundle, data, split, samples, batch_size), out, judges)

    method = run(Trial(METHOD))
    summary = json.loads((method / "summary.json").read_text(encoding="utf-8"))
    budget = round(float(summary["subsets"][ALL]["metrics"]["ssim"]["mean"]), 4)
    main = [method, *(run(trial) for trial in _main_trials(budget))]
    save_untrained(bundle, read_run(method), out / UNTRAINED)
    names = {name: name for name in classifiers or []} | {UNTRAINED: str(out / UNTRAINED)}
    others = [run(Trial(f"{METHOD}-{name}", classifier=at)) for name, at in names.items()]
    strengths = [run(trial, frontier or limit) for trial in _strengths()]
    figures.save(figures.frontier(frontier_points([*main, *strengths])), out / "frontier.png")
    parts = [
        f"# Study of {bundle} on {data}, {split}\n",
        targets_table(method, out / "class-mean-steps"),
        controls_table(method, [out / trial.name for trial in _controls(budget)]),
        faithfulness_table(method, out / f"{METHOD}-alone", others),
        compare([*main, *others], out),
    ]
    write_file(out / "study.md", "\n".join(parts))
    return "\n".join(parts)


def _main_trials(budget: float) -> Iterator[Trial]:
    """Baselines, ablations, controls: all but the method itself."""
    for method in ("pixel", "latent", "latent-shift", "class-mean"):
        yield Trial(method, method)
    yield Trial(f"{METHOD}-alone", settings={"steps": 0, "budget": budget})
    yield Trial(f"{METHOD}-everywhere", settings={"outside": 1.0})
    yield Trial("paired-residual", settings={"edit": "paired-residual"})
    yield from _controls(budget)


def _controls(budget: float) -> Iterator[Trial]:
    """Each other edit alone, as similar to the factual as the method, and with the same steps."""
    for edit in CONTROLS:
        yield Trial(f"{edit}-alone", settings={"edit": edit, "steps": 0, "budget": budget})
        yield Trial(f"{edit}-steps", settings={"edit": edit})


def _strengths() -> Iterator[Trial]:
    """Method and class mean at other strengths: the frontier."""
    for budget in BUDGETS:
        for name, edit in ((METHOD, {}), ("class-mean", {"edit": "class-mean"})):
            settings = {**edit, "budget": budget}
            yield Trial(f"{name}-{round(100 * budget)}", settings=settings)


def _run(
    trial: Trial,
    how: tuple[str, str, str, int | None, int],
    out: Path,
    judges: Path | None,
) -> Path:
    """Search and evaluate a trial; what is there already, whole, is left as it is."""
    bundle, data, split, limit, batch_size = how
    folder = out / trial.name
    search(
        bundle,
        data,
        folder,
        split,
        trial.method,
        dict(trial.settings),
        classifier=trial.classifier,
        limit=limit,
        batch_size=batch_size,
    )
    if not _evaluated(folder):
        evaluate(folder, judges)
    return folder


def _evaluated(folder: Path) -> bool:
    """Whether the evaluation is newer than the last image of the run."""
    summary, shards = folder / "summary.json", read_run(folder).shards
    made = max(shard.stat().st_mtime for shard in shards)
    return summary.is_file() and summary.stat().st_mtime >= made
