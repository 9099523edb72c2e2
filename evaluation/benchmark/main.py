"""The benchmark on phantoms: every method and saliency map, held against what is known of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cfgen.data.phantom import CLASSES
from cfgen.methods import DEFAULT_METHOD, METHODS
from cfgen.models.bundle import find_bundle
from evaluation import figures
from evaluation.benchmark.ground import (
    SALIENCY,
    Maps,
    by_chance,
    on_ground,
    saliency_maps,
    scored_by,
)
from evaluation.benchmark.tables import (
    MARKER_AREA,
    MEASURES,
    ON_MARKER,
    Score,
    score_csv,
    score_figure,
    score_table,
)
from evaluation.measured import Measured
from evaluation.study.making import Setting, make_run
from evaluation.study.marker import DATA, change_of, on_marked, on_marker
from evaluation.study.plan import Planned
from evaluation.summary import ALL, finite
from evaluation.writing import make_folder, write_file

_TASKS = {"removed": CLASSES[0], "added": CLASSES[1]}


def benchmark(
    bundle: str,
    data: str,
    out: Path,
    split: str = "test",
    limit: int | None = None,
    marker: str | None = None,
    batch_size: int = 32,
) -> str:
    """Search by every method over phantoms and score all against the true counterfactuals.

    Writes benchmark.md, benchmark.csv and benchmark.png, and every run in a folder of its own;
    what is there already is not made again.

    Args:
        bundle: name of a shipped bundle, or a path with a slash in it.
        data: 'phantom', or 'phantom:s' for markers.
        out: folder of the benchmark.
        split: of the data.
        limit: number of samples, evenly from the classes; by default all.
        marker: a bundle whose classifier learned a planted marker; it and the clean classifier
            are then explained on marked phantoms as well.
        batch_size: images searched at once.

    Returns:
        The benchmark as Markdown.

    Raises:
        ValueError: something given is not to be had, or `out` holds other runs.
    """
    if data.partition(":")[0] != "phantom":
        raise ValueError(f"expected phantoms, got {data}; give --data phantom")
    setting = Setting(bundle, data, split, limit, None, batch_size, out)
    explained = _explained(setting, marker)
    scores = [score for one in explained for score in _scores(one)]
    return _write(scores, setting)


class _Explained(NamedTuple):
    """A classifier on some phantoms.

    Attributes:
        title: in the tables.
        name: before the method's in the names of its runs.
        setting: of its runs.
        classifier: as `cfgen search` takes it.
        marked: whether the phantoms have markers.
    """

    title: str
    name: str
    setting: Setting
    classifier: str | None
    marked: bool


def _explained(setting: Setting, marker: str | None) -> list[_Explained]:
    found = [_Explained("clean", "clean", setting, None, marked=False)]
    if marker is None:
        return found
    find_bundle(marker)
    clean = str((find_bundle(setting.bundle) / "classifier").resolve())
    on_data = on_marked(setting, marker)
    return [
        *found,
        _Explained("clean, marked phantoms", "marked-clean", on_data, clean, marked=True),
        _Explained("shortcut, marked phantoms", "marked-shortcut", on_data, None, marked=True),
    ]


def _scores(explained: _Explained) -> Iterator[Score]:
    """Yield the scores of every method, every saliency map and chance on a classifier."""
    runs = {
        method: make_run(
            Planned(f"{explained.name}-{method}", "methods", method, {}, explained.classifier),
            explained.setting,
        )
        for method in METHODS
    }
    score = partial(Score, explained.title)
    for method, run in runs.items():
        extra = _marker(run, change_of) if explained.marked else {}
        for target in run.targets():
            known = {name: run.metric(name, ALL, target) for name in MEASURES}
            measured = {name: value for name, value in known.items() if value is not None}
            yield score(method, target, measured | extra.get(target, {}))
    run = runs[DEFAULT_METHOD]
    for name in SALIENCY:
        maps = saliency_maps(run, name)
        extra = _marker(run, maps) if explained.marked else {}
        for target, measured in on_ground(run, scored_by(maps)).items():
            yield score(name, target, measured | extra.get(target, {}))
    for target, measured in on_ground(run, by_chance).items():
        yield score("chance", target, measured)


def _marker(run: Measured, maps: Maps) -> dict[str, dict[str, Mapping]]:
    """Return by target how much lies on the marker that it removes or would add."""
    return {
        _TASKS[one.task]: {ON_MARKER: finite(one.share), MARKER_AREA: finite(one.area)}
        for one in on_marker(run, maps)
    }


def _write(scores: list[Score], setting: Setting) -> str:
    normal, opacity = CLASSES
    parts = [
        f"# Benchmark of {Path(setting.bundle).name} on {setting.data}, {setting.split}\n",
        "Every attempted phantom whose true counterfactual is of its target; means with 95 % "
        "bootstrap intervals. Saliency is of the target's log-odds on the factual, scored like a "
        "change. Chance is a change spread at random.\n",
        f"## To {normal}: the opacity is to go\n",
        score_table(scores, normal),
        f"## To {opacity}: an opacity is to come\n",
        "Where the true one would be is not to be known from the factual: read places as chance "
        "there.\n",
        score_table(scores, opacity),
    ]
    if any(ON_MARKER in one.measures for one in scores):
        parts.append(
            f"Marked phantoms are {DATA}. The change on the marker is that of marked ones to "
            f"{normal} and of unmarked ones to {opacity}, in whose upper corners one could be: a "
            "method that reveals the shortcut has much there on the classifier that took it, and "
            "none on the clean one.\n"
        )
    parts.append("![Means with intervals](benchmark.png)\n")
    text = "\n".join(parts)
    make_folder(setting.out)
    write_file(setting.out / "benchmark.md", text)
    write_file(setting.out / "benchmark.csv", score_csv(scores))
    drawn = next(target for target in CLASSES if any(one.target == target for one in scores))
    figures.save(score_figure(scores, drawn), setting.out / "benchmark.png")
    return text
