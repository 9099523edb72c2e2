"""Which forms of its networks a long search chooses here, and what they gain.

python -m evaluation.speed.forms --bundle kermany-128 --data DIR
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median

import torch
from jsonargparse import auto_cli
from torch import nn

from cfgen.allocation import keep_freed_memory
from cfgen.goals import CONFIDENCE
from cfgen.methods import DEFAULT_METHOD, settings_of
from cfgen.models.bundle import Bundle, load_bundle
from cfgen.models.forms import network_of, place
from cfgen.spaces import EVERYWHERE
from cfgen.types import Counterfactuals, Images
from evaluation.passes import networks
from evaluation.search.probe import pass_of, probe
from evaluation.search.shaping import PROBED, WITH_GRADIENT
from evaluation.search.task import Task
from evaluation.speed.search import read
from evaluation.tables import markdown, number
from evaluation.timing import seconds_of

Networks = Mapping[str, nn.Module]
"""The network of each part of a bundle."""


def forms(
    bundle: str = "phantom-64",
    data: str = "phantom",
    split: str = "val",
    limit: int = PROBED,
    run: int = 1_000_000,
    method: str = DEFAULT_METHOD,
    rounds: int = 5,
) -> str:
    """Probe as a run of many images would, and search some with and without what was chosen.

    Args:
        bundle: name of a shipped bundle, or a path with a slash in it.
        data: see `cfgen search`.
        split: of the data.
        limit: number of samples that are searched, at once.
        run: images that the run is said to have.
        method: see `cfgen.methods.METHODS`.
        rounds: of all measurements, in turns; medians count.

    Returns:
        A Markdown table of the networks, and sentences on the probe and on the search.
    """
    models = load_bundle(bundle)
    images, ids = read(models, data, split, limit)
    task = Task(models, method, settings_of(method), None, CONFIDENCE, EVERYWHERE)
    loaded = {part: network_of(models, part) for part in networks(models)}
    chosen: dict[str, list[str]] = {}
    probing = seconds_of(lambda: chosen.update(probe(task, images, ids, run)), models.device)
    made = {part: network_of(models, part) for part in loaded}
    searches = [partial(_searched, task, ones, images, ids) for ones in (loaded, made)]
    before, after = _in_turns(searches, rounds, models.device)
    found = [search() for search in searches]
    rows = [
        {"network": part, "forms": ", ".join(names) or "-"}
        | _pass(models, part, images, (loaded[part], made[part]), rounds)
        for part, names in chosen.items()
    ]
    told = (
        f"The probe took {probing:.0f} s. The search of {len(images)} images by {method} took "
        f"{1000 * after / len(images):.1f} ms an image in these forms and "
        f"{1000 * before / len(images):.1f} as loaded; {_difference(found[0], found[1], images)}"
    )
    return f"{markdown(rows, tuple(rows[0]))}\n{told}\n"


def _searched(task: Task, ones: Networks, images: Images, ids: torch.Tensor) -> Counterfactuals:
    for part, network in ones.items():
        place(task.models, part, network)
    return task.search(images, ids)[1]


def _pass(
    bundle: Bundle, part: str, images: Images, ones: tuple[nn.Module, nn.Module], rounds: int
) -> dict[str, str]:
    """Ms an image of a pass of a network as loaded and in its forms."""
    one = pass_of(bundle, part, part in WITH_GRADIENT, images)
    works = [partial(one.ask, network) for network in ones]
    before, after = (
        1000 * seconds / len(images) for seconds in _in_turns(works, rounds, bundle.device)
    )
    return {
        "as loaded (ms an image)": f"{before:.2f}",
        "in these forms": f"{after:.2f}",
        "share": number(after / before),
    }


def _in_turns(works: Sequence[Callable[[], object]], rounds: int, device: str) -> list[float]:
    """Median seconds of each work, after one round to warm up."""
    times = [[seconds_of(work, device) for work in works] for _ in range(rounds + 1)]
    return [median(column) for column in zip(*times[1:], strict=True)]


def _difference(loaded: Counterfactuals, made: Counterfactuals, images: Images) -> str:
    """What the forms change of what is found."""
    pairs = zip(loaded.outcomes, made.outcomes, strict=True)
    alike = sum(before is after for before, after in pairs)
    apart = (made.images - loaded.images).abs().mean()
    change = (loaded.images - images).abs().mean()
    return (
        f"{alike} of {len(images)} end alike, and images differ by {apart:.5f} in the mean, of a "
        f"change of {change:.4f}."
    )


if __name__ == "__main__":
    keep_freed_memory()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    sys.stdout.write(auto_cli(forms, as_positional=False))
