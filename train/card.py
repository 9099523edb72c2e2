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
from train.recipe import ClassifierRecipe, Recipe

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
    folder, _, name = part.partition("/")
    section = recipe.section(part)
    how = asdict(section)
    remark = how.pop("remark")
    sides = list(read_split(recipe.bundle / "split.csv").values())
    readings = read_readings(recipe.bundle, part)
    current = model_hash(recipe.bundle, part)
    looks = sorted({(r.date, r.split) for r in readings if r.split != "val"})
    options = f"--config train/configs/{recipe.bundle.name}.yaml --data DIR"
    command = f"cfgen train {_COMMAND.get(folder, folder)} {options}"
    command += f" --name {name}" if name else ""
    measured = (
        "the same" if folder == "segmenter" else f"`cfgen train measure {options} --split SPLIT`"
    )
    text = f"""# {recipe.bundle.name}: {part}

{_what(section, folder)}{f" Its name is {name}." if name else ""}

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
{_NOTE.get(folder, _CLASSIFIER_NOTE)}

**Readings of held-out splits** (each look at one costs some of its worth): {
        "; ".join(f"{split} on {date}" for date, split in looks) or "none yet"
    }.
"""
    (recipe.bundle / part / "README.md").write_text(text)


_COMMAND = {"classifiers": "classifier", "judges": "judge", "development": "judge"}
_WHAT = {
    "classifier": "The classifier to be explained: grey images in [0, 1] to calibrated logits.",
    "classifiers": "Another classifier to explain: grey images in [0, 1] to calibrated logits.",
    "judges": (
        "A judge that results are reported with: another training than the classifier's (see the "
        "recipe below for architecture, seed, augmentation and view), never attacked, never used "
        "in a search nor in a choice of methods."
    ),
    "development": (
        "A judge for development: another training than the classifier's, never attacked. Methods "
        "are chosen by what it says of validation images; so it is no judge of the results."
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
    "prior": (
        "The generative prior: a class-conditional latent diffusion model of the autoencoder's "
        "codes (diffusers' UNet2DModel, v-prediction). What it changes of a code when the class "
        "is exchanged is where the default search begins.\n\n"
        "![Samples, half of each class](samples.png)\n\n"
        "*Samples, the first row of the first class, the second of the second: no images of "
        "anybody.*"
    ),
}
_CLASSIFIER_NOTE = (
    "'Share of CLASS found' is the recall of that class at the stored threshold: for two classes "
    "specificity and sensitivity. Where `test` differs from `val` beyond the intervals, the splits "
    "differ: the threshold is validation's and is not moved."
)
_NOTE = {
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
    "prior": (
        "'Denoising error' is the mean squared error of the estimated clean code, standardised. "
        "'Nearest training code' compares, by the L2 distance of standardised codes, how near the "
        "training images 256 samples come and how near held-out images do: a ratio well below 1 "
        "would be memory."
    ),
}


_VIEW = {
    "whole": "",
    "lungs": (
        " It sees the lungs alone, cropped and equalised, as found by the segmenter that is saved "
        "with it."
    ),
    "border": (
        " It sees only what is outside a box around the lungs, as found by the segmenter that is "
        "saved with it: what it knows of the classes is no finding of the lungs."
    ),
}


def _what(section: object, folder: str) -> str:
    """What the model is, what it sees and whom it learned from."""
    text = _WHAT[folder]
    if not isinstance(section, ClassifierRecipe):
        return text
    text += _VIEW[section.view]
    if section.robust is not None:
        text += (
            f" Fine-tuned from `{section.robust.start}`: of each batch a share is attacked by one "
            "step of FGSM, half of it in pixels and half in the autoencoder's code. The price is "
            "below, as 'AUROC less the start's' on the same images."
        )
    if section.half:
        text += (
            f" It learned from half '{section.half}' of the training patients only, those for whom "
            f"the sha256 of 'half:' and the patient is {'even' if section.half == 'a' else 'odd'}. "
            "They are nobody of a model of the other half; models of all patients have seen them."
        )
    return text


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
