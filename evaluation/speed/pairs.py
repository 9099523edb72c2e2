"""How long does it take to evaluate another tool's pairs, and how much memory?

python -m evaluation.speed.pairs --count 1000 --size 224 --out runs/speed-pairs
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from safetensors.torch import save_file

from cfgen.data.phantom import CLASSES, draw
from cfgen.models.classifier import Classifier


class Cost(NamedTuple):
    """What a command took: seconds of the clock, and its peak memory in MB."""

    seconds: float
    megabytes: float


def write_bundle(path: Path, size: int) -> None:
    """Write a bundle of nothing but a classifier, whose weights are random."""
    torch.manual_seed(0)
    Classifier(classes=list(CLASSES), size=size).save_pretrained(path / "classifier")
    preprocessing = {"size": size, "aspect": "pad", "interpolation": "bilinear"}
    described = {
        "classes": list(CLASSES),
        "size": size,
        "preprocessing": {**preprocessing, "intensity": "full"},
    }
    (path / "bundle.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")


def write_pairs(path: Path, count: int, size: int) -> None:
    """Write phantoms and their true counterfactuals as pairs of one file."""
    drawn = [draw(seed, size) for seed in range(count)]
    save_file(
        {
            "factual": torch.stack([one.image for one in drawn]),
            "counterfactual": torch.stack([one.truth for one in drawn]),
        },
        path,
    )


def evaluate_pairs(pairs: Path, bundle: Path) -> Cost:
    """Evaluate pairs by the command, in a process of its own."""
    command = [sys.executable, "-m", "cfgen.cli", "evaluate", str(pairs), "--bundle", str(bundle)]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise ValueError(f"expected an evaluation of {pairs}, got exit code {status}; see above.")
    kilobyte = 1 if sys.platform == "darwin" else 1024
    return Cost(time.perf_counter() - began, used.ru_maxrss * kilobyte / 1e6)


def main() -> None:
    """Print the time and the peak memory of evaluating a tenth of the pairs, and all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="pairs")
    parser.add_argument("--size", type=int, default=224, help="pixels a side")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True)
    write_bundle(asked.out / "bundle", asked.size)
    sys.stdout.write("| pairs | pixels | seconds | ms a pair | peak MB |\n|---|---|---|---|---|\n")
    for count in (asked.count // 10, asked.count):
        pairs = asked.out / f"pairs-{count}.safetensors"
        write_pairs(pairs, count, asked.size)
        seconds, megabytes = evaluate_pairs(pairs, asked.out / "bundle")
        sys.stdout.write(
            f"| {count} | {asked.size} | {seconds:.1f} | {1000 * seconds / count:.0f} "
            f"| {megabytes:.0f} |\n"
        )


if __name__ == "__main__":
    main()
