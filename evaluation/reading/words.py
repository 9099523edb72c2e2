"""The scores of a study for reading."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evaluation.reading.key import Key
from evaluation.reading.scores import EVERYONE, Score
from evaluation.tables import interval, markdown, markdown_text, p_value

_NOTE = (
    "AUC is of how sure readers are that an image is altered, from -5 to 5; accuracy is the mean "
    "of the share of altered images that are called altered and of real ones that are called real. "
    "Of both .5 is chance. Intervals are 95 %, by bootstrap over readers and images (over images "
    "alone for a single reader, and for the agreement); p is by shuffling which images are "
    "altered, all answers to an image together, and speaks of these readers. It is not corrected "
    "for the number of tests. No patient was shown twice. 'Named' is against the label of a real "
    "image and against the target of a counterfactual.\n"
)


def to_markdown(key: Key, scores: Sequence[Score], names: Sequence[str]) -> str:
    """Write scores for reading, what all readers say together first.

    Args:
        key: of the study.
        scores: of its answers.
        names: of the readers.
    """
    whole = [one for one in scores if one.reader == EVERYONE]
    each = [one for one in scores if one.reader != EVERYONE]
    who = f"{len(names)} reader{'s' * (len(names) != 1)} ({', '.join(map(markdown_text, names))})"
    parts = [
        "# Reader study\n",
        f"{who}, {len(key.rows)} images.\n",
        _verdict(whole),
        markdown([_line(one) for one in whole], ("", "of", "images", "value", "p")),
    ]
    if each:
        rows = [{"reader": one.reader, **_line(one)} for one in each]
        parts += [
            "## Each reader\n",
            markdown(rows, ("reader", "", "of", "images", "value", "p")),
        ]
    return "\n".join([*parts, _NOTE])


def _verdict(scores: Sequence[Score]) -> str:
    """Say in a sentence whether readers could tell; the rest is for the table."""
    area = next(one for one in scores if one.measure == "told apart: AUC")
    value = interval({"mean": area.value, "low": area.low, "high": area.high, "n": area.images})
    if math.isnan(area.p):
        return "Whether altered images can be told from real ones, these answers do not say.\n"
    if area.p >= 0.05:
        said = (
            "Altered images were not told from real ones beyond chance; that is no proof that they "
            "cannot be, and the interval says how much remains possible"
        )
    else:
        said = "Altered images were told from real ones" + (
            "" if area.value > 0.5 else ", but the wrong way round"
        )
    return f"{said}: AUC {value}, {p_value(area.p)}.\n"


def _line(one: Score) -> dict[str, str]:
    low, high = (None if math.isnan(end) else end for end in (one.low, one.high))
    mean = None if math.isnan(one.value) else one.value
    return {
        "": one.measure,
        "of": one.subset,
        "images": str(one.images),
        "value": interval({"mean": mean, "low": low, "high": high, "n": one.images}),
        "p": "-" if math.isnan(one.p) else p_value(one.p),
    }
