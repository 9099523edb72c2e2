"""The card of a bundle's statistics of familiar images."""

from __future__ import annotations

from cfgen.data.splits import read_split
from cfgen.familiarity import FOLDER, SHARE, FamiliarityModel
from train.card import Reading, read_readings
from train.recipe import Recipe


def write_card(recipe: Recipe, model: FamiliarityModel, name: str) -> None:
    """Write BUNDLE/familiarity/README.md.

    Args:
        recipe: the bundle's.
        model: the statistics.
        name: of these in the bundle's readings.
    """
    sides = list(read_split(recipe.bundle / "split.csv").values())
    options = f"--config train/configs/{recipe.bundle.name}.yaml --data DIR"
    rows = [_row(one) for one in read_readings(recipe.bundle, FOLDER) if one.model == name]
    table = "\n".join(["| shown | n | called unlike the training images |", "|---|---|---|", *rows])
    text = f"""# {recipe.bundle.name}: familiarity

Is an image like those that the models of this bundle were trained on? The distance is that of
Mahalanobis between {len(model.mean)} traits of the image (layout, texture and exposure; see
`cfgen.familiarity.traits`) and those of the training images, 1 being usual. An image beyond
{model.limit:.3f} is called unlike the training images: {100 * SHARE:.0f} % of the validation images
keep this limit. No model is asked, so no retraining of one changes it.

**Intended use.** A warning before an explanation is read. Not for diagnosis, nor for any other
decision about a person; an image that it does not warn of is not thereby a suitable one.

**Data.** {recipe.card} {sides.count("train")} images for training and {sides.count("val")} for
validation, cut by patient where patients are known (`split.csv`). No test split was read.

**Made by** `cfgen train familiarity {options}`; there is no seed in it.

**Measured** by the same, with 95 % intervals (bootstrap over patients). The first row is the rate
of false alarms, each half of the validation patients against the limit that the other half sets;
the rows that follow are of the validation images, changed; the last ones are of other images.

{table}

Where a row is far below 1, an image of that kind is mostly taken for familiar. It was not tried on
other devices or centres, other ages or other parts of the body, for want of such images; the test
split was left unread, so its rate of false alarms is not known.
"""
    (recipe.bundle / FOLDER / "README.md").write_text(text, encoding="utf-8")


def _row(reading: Reading) -> str:
    interval = f"{reading.value:.3f} [{reading.low:.3f}, {reading.high:.3f}]"
    return f"| {reading.metric} | {reading.n} | {interval} |"
