"""The benchmark of search: `python -m evaluation.speed.search --out docs/benchmark-speed.md`."""

from __future__ import annotations

import datetime
import logging
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int
from jsonargparse import auto_cli
from torch import Tensor

from cfgen.allocation import keep_freed_memory
from cfgen.data.preprocessing import preprocessing_of
from cfgen.data.samples import choose
from cfgen.data.sources import open_source
from cfgen.data.splits import samples_of
from cfgen.models.bundle import Bundle, load_bundle
from cfgen.types import Images
from evaluation.figures.style import save
from evaluation.search.sizes import POOL
from evaluation.speed.contest import Contest, contest
from evaluation.speed.contestants import contestants
from evaluation.speed.curve import curve_figure, curve_table, curves
from evaluation.speed.growth import DRAWN, STEPS, by_images, by_pixels, by_ranks
from evaluation.speed.tables import TARGET, cost_table, limit_table, results_table, spent_table
from evaluation.writing import make_folder, write_file

FIGURE = Path("figures", "evaluations.png")
_CPUINFO = Path("/proc/cpuinfo")
_LOG = logging.getLogger(__name__)


def benchmark(
    out: Path,
    bundle: str = "phantom-64",
    data: str = "phantom",
    split: str = "val",
    limit: int = 64,
    batch_size: int = 16,
    rounds: int = 3,
    most: int = 4096,
) -> str:
    """Measure every way to search on the same images and models, and write it as a page.

    Args:
        out: the page, a Markdown file; its figure goes to figures/evaluations.png beside it.
        bundle: name of a shipped bundle, or a path with a slash in it.
        data: see `cfgen search`.
        split: of the data.
        limit: number of samples, evenly from the classes.
        batch_size: images that the networks are given at once, by the searches that take many.
        rounds: of which medians are taken.
        most: images that the growth is measured up to.

    Returns:
        The page.
    """
    load, threads = os.getloadavg()[0], torch.get_num_threads()
    images, ids = read(load_bundle(bundle), data, split, limit)
    taking_part = contestants(batch_size)
    devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    placed = [load_bundle(bundle, device=device) for device in devices]
    contests = [
        contest(models, images.to(models.device), ids, taking_part, rounds) for models in placed
    ]
    _LOG.info("distance against evaluations")
    found = curves(placed[-1], images.to(devices[-1]), ids)
    growth = (
        by_images([4**power for power in range(7) if 4**power <= most]),
        by_pixels(rounds, devices[-1]),
        by_ranks(bundle, data, split, len(images), batch_size),
    )
    asked = f"{len(images)} images of {data_name(data)}, {split}, and the bundle {bundle}"
    text = page(contests, curve_table(found), growth, [asked, *machine(threads, load)], rounds)
    make_folder(out.parent)
    write_file(out, text)
    save(curve_figure(found), out.parent / FIGURE)
    return text


def read(bundle: Bundle, data: str, split: str, limit: int) -> tuple[Images, Int[Tensor, " n"]]:
    """Read the images that a search of this limit would take, and their ids."""
    prepare = preprocessing_of(bundle.preprocessing, bundle.path / "bundle.yaml")
    source = open_source(data, bundle.classes, size=prepare.size)
    samples = choose(samples_of(source, split, bundle.path / "split.csv"), limit)
    images = [prepare(source.load(sample), sample.path) for sample in samples]
    return torch.stack(images), torch.tensor([sample.id for sample in samples])


def data_name(data: str) -> str:
    """Return the data's name without the folders it lies in, which are this machine's own."""
    return Path(data).name


def machine(threads: int, load: float) -> list[str]:
    """Describe this machine: processor, versions, day, and how busy it was before."""
    lines = _CPUINFO.read_text().splitlines() if _CPUINFO.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    found = [f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"]
    if torch.cuda.is_available():
        found.append(torch.cuda.get_device_name())
    return [
        *found,
        f"torch {torch.__version__} with {threads} threads, Python {platform.python_version()}",
        f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}, load {load:.1f} before it began",
    ]


def page(
    contests: Sequence[Contest],
    curve: str,
    growth: tuple[str, str, str],
    facts: Sequence[str],
    rounds: int,
) -> str:
    """Write the page from its tables."""
    images, pixels, ranks = growth
    parts = [
        "# How fast the searches are\n",
        "As `python -m evaluation.speed.search` wrote it (`make bench`).\n",
        "".join(f"- {fact}\n" for fact in facts),
        "## The searches, beside loops of one image at a time\n",
        "All in one process and in turns on the same images and models, for the same goal (.9 of "
        f"the target's calibrated probability); medians of {rounds} rounds after one to warm up. "
        "The origin's loop is Adam on the pixels, as this project began; here it ends where it "
        "reaches the goal. Distance and similarity are means over the images that reach it. "
        "'L2 over latent-shift's' is of the images that both reach, so at equal validity. "
        f"A search in batches has a pool of {POOL} of them: as images are done, others of the pool "
        "take their place. "
        "Memory is the peak beyond that of the models.\n",
        results_table(contests),
        "## The distance from the limit\n",
        "The limit is the time that the networks alone would take: the number of passes, counted "
        "by hooks on the networks (an image here, with the one that makes the goal), times what "
        "each costs in the batch that suits it best. A pass with a backward one is counted as "
        "such only. 'As batched' is the same at the sizes of the batches that the search made: "
        "what it is above the limit is lost to small batches, and to backward passes of images "
        "whose last check was not foreseen. "
        "Here the least of the rounds counts, of passes and searches alike. The aim is "
        f"at most {TARGET} of the limit; what meets it is bold.\n",
        limit_table(contests),
        *(_costs(one) for one in contests),
        "Where the time goes, in percent. Segmenter and SSIM are not in the limit, nor is 'other': "
        "optimiser, indexing, Python. (By Python's profiler in a run of its own, on the CPU.)\n",
        spent_table(contests[0]),
        "## Distance reached against evaluations spent\n",
        "Each image alone. Median L2 distance of the nearest valid image so far, over all images "
        "(those without one are infinitely far; '-' where that is more than half), and the share "
        "that has one. The origin's loop goes on after it has reached the goal, to shrink what "
        "it changed; the other searches end by themselves.\n",
        curve,
        f"![Distance and validity against evaluations]({FIGURE.as_posix()})\n",
        "## Growth\n",
        "With images: whole commands by `pixel`, the cheapest method, on files of phantoms at 64 "
        f"pixels, models loaded and the run written, on the {contests[-1].device}.\n",
        images,
        f"With pixels: ms an image in batches of {DRAWN}, {STEPS} steps of every search, models of "
        "random weights, on the same device.\n",
        pixels,
        "With processes of one thread each on this machine's cores: whole commands of the default "
        "method on the images above. 'Searching' is what each process's share of the run took "
        "(mean); the rest is starting, reading and writing.\n",
        ranks,
    ]
    return "\n".join(parts)


def _costs(one: Contest) -> str:
    return f"What a pass costs on the {one.device}, in ms an image by batch size:\n\n" + cost_table(
        one
    )


if __name__ == "__main__":
    keep_freed_memory()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    sys.stdout.write(auto_cli(benchmark, as_positional=False))
