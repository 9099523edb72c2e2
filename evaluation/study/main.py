"""The whole comparison by one command: methods, ablations, controls, classifiers, frontier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from cfgen.models.bundle import find_bundle, load_bundle
from evaluation import figures
from evaluation.compare import compare
from evaluation.comparison.paired import NOTE, by_target, paired_csv, paired_table
from evaluation.definitions import describe
from evaluation.measured import Measured
from evaluation.study.controls import LEVELS, matched
from evaluation.study.faith import likeness, likeness_table
from evaluation.study.frontier import frontier
from evaluation.study.making import Setting, make_run
from evaluation.study.marker import DATA, marker_table, on_marked, on_marker
from evaluation.study.plan import (
    CONTROLS,
    METHOD,
    RIVAL,
    UNTRAINED,
    Planned,
    classifier_rows,
    family,
    first_rows,
    matched_rows,
)
from evaluation.study.targets import checks, control_checks, target_table
from evaluation.study.untrained import untrained
from evaluation.summary import ALL, CORRECT
from evaluation.tables import interval, markdown, number
from evaluation.writing import make_folder, write_file

MAIN = "methods"
"""Group of the rows that are made of all samples asked for."""
BRIEF = ("valid", "panel_follows", "border_shift", "ssim", "ssim_outside", "inside_ratio")


def study(
    bundle: str,
    data: str,
    out: Path,
    split: str = "test",
    limit: int | None = None,
    further_limit: int | None = None,
    judges: Path | None = None,
    classifiers: str | None = None,
    marker: str | None = None,
    batch_size: int = 32,
) -> str:
    """Search, evaluate and compare everything that a method is to be held against.

    Every row is a run in a folder of its own; what is there already is not made again, so that a
    study that was stopped goes on. Writes study.md, controls.csv and frontier.png; comparison.csv,
    .md and .tex of all rows; and in tables/ a comparison of each group of rows.

    Args:
        bundle: name of a shipped bundle, or a path with a slash in it; it needs a prior.
        data: as for `cfgen search`.
        out: folder of the study.
        split: of the data.
        limit: number of samples, evenly from the classes; by default all.
        further_limit: the same for the rows beyond the methods: controls, ablations, the
            frontier, other classifiers; by default `limit`.
        judges: a folder of judges to ask instead of the bundle's own.
        classifiers: names in BUNDLE/classifiers, with commas between, that the method is to
            explain as well; by default all that are there.
        marker: for phantoms, a bundle whose classifier learned a planted marker.
        batch_size: images searched at once.

    Returns:
        The study as Markdown.

    Raises:
        ValueError: something given is not to be had, or `out` holds other runs.
    """
    if marker is not None and data != "phantom":
        raise ValueError(f"expected phantoms with --marker, got {data}; give --data phantom")
    setting = Setting(bundle, data, split, limit, judges, batch_size, out)
    others = _classifiers(bundle, classifiers)
    marked = [] if marker is None else _marker_setting(marker, bundle)
    further = setting if further_limit is None else replace(setting, limit=further_limit)
    runs = _make(setting, further, others)
    on_markers = [make_run(row, on_marked(setting, str(marker))) for row in marked]
    return _write(_Study(setting, runs), [*others, UNTRAINED], on_markers)


@dataclass(frozen=True)
class _Study:
    """The rows of a study that were made, with what they have in common."""

    setting: Setting
    runs: dict[str, tuple[Planned, Measured]]

    def of(self, name: str) -> Measured:
        return self.runs[name][1]

    def some(self, names: Sequence[str]) -> list[Measured]:
        return [self.of(name) for name in names]

    def groups(self) -> dict[str, list[Measured]]:
        found: dict[str, list[Measured]] = {}
        for planned, measured in self.runs.values():
            found.setdefault(planned.group, []).append(measured)
        return found


def _classifiers(bundle: str, names: str | None) -> dict[str, str]:
    folder = find_bundle(bundle) / "classifiers"
    there = sorted(file.parent.name for file in folder.glob("*/config.json"))
    asked = there if names is None else [name.strip() for name in names.split(",") if name.strip()]
    unknown = sorted(set(asked) - set(there))
    if unknown:
        raise ValueError(
            f"expected --classifiers among those of {folder} ({', '.join(there) or 'none there'}), "
            f"got {', '.join(unknown)}; correct it, or train them first"
        )
    return {name: name for name in asked}


def _make(
    setting: Setting, further: Setting, others: dict[str, str]
) -> dict[str, tuple[Planned, Measured]]:
    runs: dict[str, tuple[Planned, Measured]] = {}

    def add(rows: Sequence[Planned]) -> None:
        for row in rows:
            own = setting if row.group == MAIN else further
            runs[row.name] = (row, make_run(row, own))

    add(first_rows())
    method = runs[METHOD][1]
    similarity = method.mean("ssim", ALL)
    if similarity is None:
        raise ValueError(
            f"expected samples that are not at their target from the start, got none in "
            f"{method.run.path}; raise --limit"
        )
    add(matched_rows(similarity))
    add(classifier_rows({**others, UNTRAINED: _untrained(setting, method)}))
    return runs


def _untrained(setting: Setting, method: Measured) -> str:
    """Make the classifier with random weights, once; return its folder, as a search takes it."""
    folder = (setting.out / "models" / UNTRAINED).resolve()
    if not (folder / "config.json").is_file():
        bundle = load_bundle(setting.bundle)
        _, factual, _ = next(method.run.images())
        made = untrained(bundle.classifier, factual)
        make_folder(folder)
        nn.Module.to(made, torch.device("cpu"))
        made.save_pretrained(folder)
    return str(folder)


def _marker_setting(marker: str, clean: str) -> list[Planned]:
    """Rows of the same method and data for a classifier with the shortcut, and for one without."""
    find_bundle(marker)
    folder = (find_bundle(clean) / "classifier").resolve()
    return [
        Planned("marker-shortcut", "marker"),
        Planned("marker-clean", "marker", classifier=str(folder)),
    ]


def _write(found: _Study, classifiers: Sequence[str], marked: Sequence[Measured]) -> str:
    out = found.setting.out
    method, targets = found.of(METHOD), found.of(METHOD).targets()
    families = {name: found.some(family(name)) for name in (METHOD, RIVAL)}
    plain = [run for run in found.groups()["methods"] if run.name != METHOD]
    paired = by_target(method, _beside(found))
    parts = [
        f"# Study of {Path(found.setting.bundle).name} on {Path(found.setting.data).name}, "
        f"{found.setting.split}\n",
        *_targets(found, classifiers),
        "## In brief\n",
        f"Of what is {CORRECT}; means with 95 % bootstrap intervals over patients.\n",
        _brief([measured for _, measured in found.runs.values()]),
        f"## {METHOD} minus each control, sample by sample\n",
        NOTE,
        paired_table(paired),
        f"## {METHOD} and {RIVAL} at the same mean SSIM "
        f"({', '.join(number(level) for level in LEVELS)})\n",
        "Interpolated between the runs whose mean SSIM encloses it; a dash where none do. Where a "
        "level is missing, neither has it.\n",
        matched(families, targets),
        "## How much is due to the classifier\n",
        f"The changes of {METHOD} beside those of other rows, image by image. Beside the edit "
        "alone, 'energy of the difference', over that of the change, is the share that is due to "
        "the classifier; it exceeds 1 where the two point apart.\n",
        likeness_table([likeness(method, other) for other in _compared(found, classifiers)]),
    ]
    if marked:
        table = marker_table([one for run in marked for one in on_marker(run)])
        parts += [f"## On the planted marker ({DATA})\n", table]
    lines = {METHOD: families[METHOD], f"{RIVAL}-steps": families[RIVAL]}
    figures.save(frontier(lines, plain, targets), out / "frontier.png")
    parts += ["## Frontier\n", "![Judges that follow against SSIM](frontier.png)\n"]
    for group, runs in found.groups().items():
        text = compare([run.run.path for run in runs], out / "tables" / group)
        parts += [f"## All measures: {group}\n", text.replace("## ", "### ")]
    compare([measured.run.path for _, measured in found.runs.values()], out)
    text = "\n".join(parts)
    write_file(out / "controls.csv", paired_csv(paired))
    write_file(out / "study.md", text)
    return text


def _beside(found: _Study) -> list[Measured]:
    """All rows on the same classifier that the method is compared to, sample by sample."""
    groups = found.groups()
    rows = [*groups["methods"], *groups["controls"], *groups["ablations"]]
    return [run for run in rows if run.name != METHOD]


def _compared(found: _Study, classifiers: Sequence[str]) -> list[Measured]:
    names = [f"{METHOD}-start", f"{METHOD}-alone", f"{RIVAL}-steps"]
    return found.some([*names, *(f"{METHOD}-{name}" for name in classifiers)])


def _targets(found: _Study, classifiers: Sequence[str]) -> list[str]:
    method = found.of(METHOD)
    rivals = found.some([RIVAL, f"{RIVAL}-steps"])
    chance = found.some([f"{name}-alone" for name in CONTROLS if name != RIVAL])
    own = [*checks(method), *control_checks(method, rivals, chance)]
    parts = [f"## Targets: {METHOD}\n", target_table(own)]
    for name in classifiers:
        if name != UNTRAINED:
            run = found.of(f"{METHOD}-{name}")
            parts += [f"## Targets: {run.name}\n", target_table(checks(run))]
    return parts


def _brief(runs: Sequence[Measured]) -> str:
    """A row a run: what matters most, by target for the judges."""
    rows = []
    for run in runs:
        row = {"run": run.name, "n": str(run.summary["subsets"][CORRECT]["n"])}
        for name in BRIEF:
            label, decimals, _ = describe(name)
            row[label] = interval(run.metric(name, CORRECT), decimals)
            if name == "panel_follows":
                for target in run.targets():
                    known = run.metric(name, CORRECT, target)
                    row[f"{label}, to {target}"] = interval(known, decimals)
        for target, known in run.summary["changes"].items():
            row[f"cosine of any two changes, to {target}"] = number(known["pairwise_cosine"])
        row["s/image"] = number(run.summary["subsets"][CORRECT]["seconds"])
        rows.append(row)
    return markdown(rows, tuple(dict.fromkeys(head for row in rows for head in row)))
