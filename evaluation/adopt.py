"""Makes a run of counterfactuals that any tool found, so that they are measured like our own."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import torch
from tqdm import tqdm

from cfgen.data.pixels import UnreadableImage
from cfgen.data.preprocessing import Preprocessing, preprocessing_of
from cfgen.data.samples import Sample, choose
from cfgen.data.sources import open_source
from cfgen.goals import OTHER, make_goal
from cfgen.models.bundle import Bundle, load_bundle
from cfgen.types import Goal, Image, Outcome
from evaluation.pairs.arrays import open_arrays
from evaluation.pairs.folder import Pair, Pairs, open_folder
from evaluation.runs import Row, create_run, lasting, write_shards, write_skipped

_LOG = logging.getLogger(__name__)

_ROUNDING = 1e-3
"""How far the target's log-odds may fall short, since rounding differs from batch to batch."""

Ready = tuple[Sample, str | None, Image, Image]
"""A sample, the target that was given for it, its factual and its counterfactual."""


def adopt(
    pairs: Sequence[Path],
    bundle: str,
    out: Path,
    classifier: str | None = None,
    target: str | None = None,
    method: str = "adopted",
    data: str | None = None,
    split: str = "test",
    batch_size: int = 64,
) -> Path:
    """Make a run of pairs of images that any tool made.

    The pairs are a folder DIR/{factual,counterfactual}/NAME.png with an optional DIR/pairs.csv
    (`evaluation.pairs.folder`), or arrays (`evaluation.pairs.arrays`). Images of the bundle's size
    are taken as they are, to the bit; others get the bundle's aspect and size, both of a pair in
    the same way. Their intensity is left as it is, for stretching each to its own
    range would be a change of its own. A pair that cannot be used is listed in skipped.csv with
    the reason.

    The bundle gives classes, size and judges; nothing in it has to be what the pairs were made
    with. A sample's outcome is 'reached' where the classifier sees the target with a confidence of
    0.9, 'already there' where it does so in the factual, else 'budget spent'.

    Args:
        pairs: a folder, an .npz or .safetensors file, or two .npy files, the factuals' first.
        bundle: name of a shipped bundle, or a path with a slash in it.
        out: folder of the run.
        classifier: what the counterfactuals are for, instead of the bundle's classifier:
            package.module:function, or the YAML file of one that cfgen did not train.
        target: of the pairs that name none: a class, or 'other'; by default the class not
            predicted, or the runner-up.
        method: what to call the tool.
        data: real images to compare to, as for `cfgen search`; by default none. With 'phantom'
            the pairs are measured against the phantoms that their names are.
        split: of these.
        batch_size: images that the classifier is given at once.

    Returns:
        The run's folder.

    Raises:
        ValueError: the pairs, the bundle or the target are not to be had, no pair can be used,
            or `out` holds another run.
    """
    if batch_size < 1:
        raise ValueError(f"expected a batch of 1 image or more, got {batch_size}; give 64, say")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    models = load_bundle(bundle, classifier, device)
    if target not in (None, OTHER, *models.classes):
        raise ValueError(
            f"expected a target among {', '.join(models.classes)} or {OTHER!r}, got {target!r}; "
            "name one of these"
        )
    found = _open([Path(path) for path in pairs], models)
    prepare = preprocessing_of(models.preprocessing, models.path / "bundle.yaml")
    real = None if data is None else open_source(data, models.classes, size=prepare.size)
    config = {
        "command": "adopt",
        "pairs": [lasting(path) for path in pairs],
        "bundle": lasting(bundle) if "/" in bundle else bundle,
        "classifier": models.own_classifier,
        "data": lasting(data) if data is not None and real and real.content else data,
        "split": None if data is None else split,
        "method": method,
        "target": target,
        "classes": list(models.classes),
        "preprocessing": models.preprocessing,
        "weights": _classifier_only(models),
        "manifest": found.hash,
        "samples": len(found.pairs),
        "versions": {name: version(name) for name in ("cfgen", "torch", "numpy")},
    }
    finished = create_run(out, config)
    skipped: list[Row] = []
    sizes: list[tuple[int, ...]] = []
    waiting = [pair for pair in _in_turn(found.pairs) if _sample(pair).id not in finished]
    with tqdm(total=len(waiting), desc="adopt", unit="pair") as progress:
        ready = _ready(waiting, models, replace(prepare, intensity="full"), skipped, sizes)
        while some := list(islice(ready, batch_size)):
            _write(out, some, models, target)
            progress.update(len(some))
    write_skipped(out, skipped)
    _say(out, found, skipped, sizes, prepare.size)
    return out


def _open(paths: Sequence[Path], models: Bundle) -> Pairs:
    if len(paths) == 1 and paths[0].is_dir():
        return open_folder(paths[0])
    return open_arrays(paths, models.classes)


def _sample(pair: Pair) -> Sample:
    return Sample(pair.name, pair.label, None, pair.patient, pair.subgroup)


def _in_turn(pairs: Sequence[Pair]) -> list[Pair]:
    """Order pairs as a search does, so that the first ones shown are never the first by name."""
    by_name = {pair.name: pair for pair in pairs}
    return [by_name[sample.path] for sample in choose(map(_sample, pairs), None)]


def _classifier_only(models: Bundle) -> dict[str, str]:
    """Hash of the classifier: no other model of the bundle had a part in the pairs."""
    return {part: known for part, known in models.searched_with().items() if part == "classifier"}


def _ready(
    pairs: Sequence[Pair],
    models: Bundle,
    prepare: Preprocessing,
    skipped: list[Row],
    sizes: list[tuple[int, ...]],
) -> Iterator[Ready]:
    """Yield the pairs that can be used; list the others in `skipped`, other sizes in `sizes`."""
    for pair in pairs:
        try:
            _check_classes(pair, models.classes)
            given = pair.load()
            factual, image = (prepare(one, pair.name) for one in given)
        except UnreadableImage as error:
            skipped.append({"path": pair.name, "reason": str(error)})
            continue
        if given[0].shape != factual.shape:
            sizes.append(tuple(given[0].shape[1:]))
        yield _sample(pair), pair.target, factual, image


def _check_classes(pair: Pair, classes: Sequence[str]) -> None:
    for column, name in (("target", pair.target), ("label", pair.label)):
        if name is not None and name not in classes:
            raise UnreadableImage(
                f"expected a {column} among the classes {', '.join(classes)}, got {name!r} for "
                f"{pair.name}; rename it as the bundle does"
            )


@torch.inference_mode()
def _write(out: Path, some: Sequence[Ready], models: Bundle, target: str | None) -> None:
    """Ask the classifier of a batch and add it to the run, the pairs of 'other' by themselves."""
    named = [one for one in some if target != OTHER or one[1] is not None]
    others = [one for one in some if target == OTHER and one[1] is None]
    for part, aim in ((named, [one[1] or target for one in named]), (others, OTHER)):
        if part:
            _write_part(out, part, models, aim)


def _write_part(
    out: Path, some: Sequence[Ready], models: Bundle, target: str | Sequence[str | None]
) -> None:
    factual = torch.stack([one[2] for one in some])
    image = torch.stack([one[3] for one in some])
    goal = make_goal(models.classifier, factual.to(models.device), target)
    before, after = (goal.log_odds(one.to(models.device)) for one in (factual, image))
    ids = torch.tensor([sample.id for sample, *_ in some])
    assert goal.source is not None
    rows: list[Row] = [
        {
            "id": sample.id,
            "path": sample.path,
            "label": sample.label,
            "source": models.classes[int(goal.source[place])],
            "target": OTHER if goal.target is None else models.classes[int(goal.target[place])],
            "outcome": _outcome(goal, place, float(before[place]), float(after[place])),
            "p_target_factual": float(before[place].sigmoid()),
            "p_target": float(after[place].sigmoid()),
            "patient": sample.patient,
            "subgroup": sample.subgroup,
        }
        for place, (sample, *_) in enumerate(some)
    ]
    write_shards(out, rows, ids, factual, image)


def _outcome(goal: Goal, place: int, before: float, after: float) -> str:
    bar = float(goal.bar[place])
    if before >= bar:
        return Outcome.ALREADY
    return Outcome.REACHED if after >= bar - _ROUNDING else Outcome.SPENT


def _say(
    out: Path,
    found: Pairs,
    skipped: Sequence[Row],
    sizes: Sequence[tuple[int, ...]],
    size: int,
) -> None:
    for row in skipped:
        _LOG.warning("skipped: %s", row["reason"])
    if sizes:
        first = " x ".join(map(str, sizes[0]))
        _LOG.warning(
            "%d of %d pairs were not %d x %d (the first was %s): both images of each were resized "
            "by the bundle's preprocessing", len(sizes), len(found.pairs), size, size, first,
        )  # fmt: skip
    if len(skipped) == len(found.pairs):
        raise ValueError(
            f"expected pairs that can be used, got none of {len(skipped)}; see "
            f"{out / 'skipped.csv'}, which begins with: {skipped[0]['reason']}"
        )
