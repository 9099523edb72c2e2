"""What metrics and methods are cited by: keys of `references.bib`, or that they have none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

Keys = tuple[str, ...]

_PIQ = "kastryulin2022"

METRICS: Mapping[str, Keys] = {
    "valid": ("mothilal2020",),
    "flip": ("singla2023",),
    "p_change": ("weng2024",),
    "cout": ("khorram2022",),
    "panel_follows": ("papernot2016",),
    "non_adversarial": ("bender2025",),
    "ssim": ("wang2004",),
    "ssim_outside": ("wang2004",),
    "ssim_reconstruction": ("wang2004",),
    "ssim_outside_opacity": ("wang2004",),
    "ssim_truth": ("wang2004",),
    "ssim_truth_factual": ("wang2004",),
    "ms_ssim": ("wang2003",),
    "gmsd": ("xue2014", _PIQ),
    "fsim": ("zhang2011", _PIQ),
    "haarpsi": ("reisenhofer2018", _PIQ),
    "vif": ("sheikh2006", _PIQ),
    "lpips": ("zhangr2018",),
    "l1": ("wachter2017",),
    "changed": ("mothilal2020",),
    "sparsity": ("hoyer2004",),
    "im1": ("vanlooveren2021",),
    "im2": ("vanlooveren2021",),
    "energy_in_opacity": ("wang2020",),
    "energy_in_marker": ("wang2020",),
    "energy_in_lungs": ("wang2020",),
    "iou_opacity": ("everingham2010",),
    "pointing_opacity": ("zhang2018",),
    "follows": ("papernot2016",),
    "follows_valid": ("papernot2016",),
    "frechet": ("dowson1982", "heusel2017"),
    "kernel": ("gretton2012", "binkowski2018"),
    "coverage": ("kynkaanniemi2019",),
    "identity": ("gray2008",),
    "diversity": ("mothilal2020",),
}
"""By column of metrics.csv (a judge's without its name) or by measure of a summary."""

OWN = frozenset(
    {
        "p_target_factual", "p_target", "border_shift", "psnr", "l2", "linf", "high_frequency",
        "reconstruction_flips", "inside_ratio", "l2_truth", "l2_truth_factual", "flips",
        "factual_right", "log_odds", "on_real", "changes",
    }
)  # fmt: skip
"""Measures without a reference: defined by cfgen, or in every textbook."""

METHODS: Mapping[str, Keys] = {
    "prior": ("rombach2022", "salimans2022"),
    "pixel": ("wachter2017",),
    "latent": ("wachter2017", "rombach2022"),
    "latent-boundary": ("moosavi2016", "rombach2022"),
    "latent-shift": ("cohen2021", "rombach2022"),
    "class-mean": ("rombach2022",),
}

EDITS: Mapping[str, Keys] = {
    "delta-denoising": ("hertz2023",),
    "paired-residual": ("song2021", "ho2021"),
    "opposite": ("hertz2023",),
}
"""Of the method `prior`; those that are not here are controls of cfgen's own."""

_JUDGED = re.compile(r"judge_.+_(factual_right|p_target_factual|p_target|log_odds|follows_valid|"
                     r"follows|flips)")  # fmt: skip


def cited_by(metric: str) -> Keys:
    """Return the keys of a metric; none for an own definition.

    Raises:
        ValueError: neither reference nor own definition is known of it.

    >>> cited_by("judge_dense_follows"), cited_by("psnr")
    (('papernot2016',), ())
    """
    judged = _JUDGED.fullmatch(metric)
    name = judged[1] if judged else metric
    if name in OWN:
        return ()
    if name in METRICS:
        return METRICS[name]
    raise ValueError(
        f"expected a metric with a reference or among OWN, got {metric!r}; add it to "
        "evaluation/paper/references.py."
    )


def entries() -> dict[str, str]:
    """Return every BibTeX entry there is, by key."""
    text = Path(__file__).with_name("references.bib").read_text(encoding="utf-8")
    found = re.split(r"\n(?=@)", text.strip())
    return {entry[entry.index("{") + 1 : entry.index(",")]: entry.strip() for entry in found}


def bibliography(keys: Iterable[str]) -> str:
    """Return the entries of some keys as a BibTeX file, each once."""
    known = entries()
    return "\n\n".join(known[key] for key in dict.fromkeys(keys)) + "\n"
