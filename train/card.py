"""Model cards (Mitchell et al. 2019), written from the recipe and from logged readings."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

import yaml

from cfgen.data.splits import read_split
from cfgen.models.saving import WEIGHTS
from train.recipe import Recipe

LOG = "readings.csv"


@dataclass(frozen=True)
class Reading:
    """One number that was read off a split, with its 95 % interval.

    Attributes:
        model: which training and calibration it was read of, see `model_hash`.
    """

    date: str
    part: str
    model: str
    split: str
    n: int
    metric: str
    value: float
    low: float
    high: float

    def text(self) -> str:
        """For a line of a log."""
        return f"{self.metric} {self.value:.3f} [{self.low:.3f}, {self.high:.3f}], n {self.n}"


def add_readings(bundle: Path, readings: Iterable[Reading]) -> None:
    """Append readings to the bundle's log."""
    log = bundle / LOG
    new = not log.exists()
    with log.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow([field.name for field in fields(Reading)])
        writer.writerows((*astuple(r)[:6], *(f"{x:.4f}" for x in astuple(r)[6:])) for r in readings)


def read_readings(bundle: Path, part: str) -> list[Reading]:
    """Read what was logged of one part of a bundle, oldest first."""
    with (bundle / LOG).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == part]
    return [
        Reading(
            row["date"], part, row["model"], row["split"], int(row["n"]), row["metric"],
            float(row["value"]), float(row["low"]), float(row["high"]),
        )
        for row in rows
    ]  # fmt: skip


def model_hash(bundle: Path, part: str) -> str:
    """Begin of the sha256 of a part's configuration and weights: another training is another."""
    files = [bundle / part / name for name in ("config.json", WEIGHTS)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def write_card(recipe: Recipe, part: str) -> None:
    """Write the card of one part of a bundle: BUNDLE/PART/README.md.

    It shows what was read of the model that is there now, and tells of every look at a held-out
    split, whichever model took it.
    """
    section, _, name = part.replace("judges/", "judge/").partition("/")
    how = asdict(getattr(recipe, section))
    remark = how.pop("remark")
    sides = list(read_split(recipe.bundle / "split.csv").values())
    readings = read_readings(recipe.bundle, part)
    current = model_hash(recipe.bundle, part)
    looks = sorted({(r.date, r.split) for r in readings if r.split != "val"})
    options = f"--config train/configs/{recipe.bundle.name}.yaml --data DIR"
    command = f"cfgen train {section} {options}"
    measured = (
        "the same" if section == "segmenter" else f"`cfgen train measure {options} --split SPLIT`"
    )
    text = f"""# {recipe.bundle.name}: {part}

{_WHAT[section]}{f" Its name is {name}." if name else ""}

**Intended use.** Research on counterfactual explanations. Not for diagnosis, nor for any other
decision about a person.

**Data.** {recipe.card} {sides.count("train")} images for training and {sides.count("val")} for
validation, cut by patient where patients are known (`split.csv`).

**Made by** `{command}` with seed {how["schedule"]["seed"]} and this recipe:

```yaml
{yaml.safe_dump(how, sort_keys=False, default_flow_style=None).strip()}
```

{remark}

**Measured** by {
        measured
    }, with 95 % intervals (bootstrap over patients). Choices were made on `val`, which is
also where thresholds and temperature come from; only the newest reading of a split is shown.

{_table([r for r in readings if r.model == current])}
{_NOTE[section]}

**Readings of held-out splits** (each look at one costs some of its worth): {
        "; ".join(f"{split} on {date}" for date, split in looks) or "none yet"
    }.
"""
    (recipe.bundle / part / "README.md").write_text(text)


_WHAT = {
    "classifier": "The classifier to be explained: grey images in [0, 1] to calibrated logits.",
    "judge": (
        "A judge: another architecture, seed and augmentation than the classifier's, never "
        "attacked and never used in a search."
    ),
    "segmenter": (
        "The segmenter of the lungs: grey images in [0, 1] to the probability that a pixel shows a "
        "lung field, without heart and diaphragm but with whatever opacity lies in it. Learned on "
        "chest phantoms, then on the training films with its own masks, where these looked like "
        "two lungs. No film was ever outlined by a radiologist."
    ),
    "autoencoder": (
        "The autoencoder whose code is searched: diffusers' AutoencoderKL on patches of one "
        "grey channel. Holds the mean code of every class over the training images."
    ),
}
_CLASSIFIER_NOTE = (
    "'Share of CLASS found' is the recall of that class at the stored threshold: for two classes "
    "specificity and sensitivity. Where `test` differs from `val` beyond the intervals, the splits "
    "differ: the threshold is validation's and is not moved."
)
_NOTE = {
    "classifier": _CLASSIFIER_NOTE,
    "judge": _CLASSIFIER_NOTE,
    "segmenter": (
        "Dice is against the known lungs of unseen phantoms (`phantoms`), which says little of "
        "real films; there, see the outlines that `cfgen lungs` draws. 'Two lungs' is the share of "
        "films on which the mask passes the check for a plausible pair, 'mirrored' the Dice of the "
        "mask with that of the mirrored film. The mean area of the mask in each class, as a share "
        "of the film, should differ little: where it does, the mask tells the class."
    ),
    "autoencoder": (
        "'Agreement' is how often a model decides the same on an image and on its reconstruction: "
        "what it falls short of 1 is what the autoencoder flips by itself."
    ),
}


def _table(readings: list[Reading]) -> str:
    newest = {(r.metric, r.split): r for r in readings}
    splits = sorted({split for _, split in newest}, key=lambda split: split != "val")
    metrics = list(dict.fromkeys(metric for metric, _ in newest))
    sizes = {split: next(r.n for r in newest.values() if r.split == split) for split in splits}
    head = "| | " + " | ".join(f"{split} (n = {sizes[split]})" for split in splits) + " |"
    rows = [head, "|---" * (len(splits) + 1) + "|"]
    for metric in metrics:
        cells = [newest.get((metric, split)) for split in splits]
        shown = [f"{r.value:.3f} [{r.low:.3f}, {r.high:.3f}]" if r else "" for r in cells]
        rows.append(f"| {metric} | " + " | ".join(shown) + " |")
    return "\n".join(rows) + "\n"
