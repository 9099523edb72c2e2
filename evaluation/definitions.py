"""What the columns of a run's `metrics.csv` are called and what they mean."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """How a metric is shown and what it is."""

    label: str
    decimals: int
    definition: str


METRICS = {
    "valid": Metric("valid", 2, "calibrated p(target) >= 0.9 (less 1e-4 for rounding)"),
    "flip": Metric(
        "flip",
        2,
        "the classifier's decision, at its own threshold, becomes the target; of those where it "
        "was not to begin with",
    ),
    "p_target_factual": Metric("p before", 2, "calibrated p(target) of the factual"),
    "p_target": Metric("p after", 2, "calibrated p(target) of the counterfactual"),
    "p_change": Metric(
        "change of p", 2, "absolute change of calibrated p(target), whichever way it goes"
    ),
    "cout": Metric(
        "COUT",
        2,
        "area under p(target) less that under p(source) while the counterfactual's pixels are "
        "swapped in, those of most change first, in 12 sets; from -1 to 1, curves in cout.csv",
    ),
    "panel_follows": Metric(
        "panel follows",
        2,
        "share of the judges that decide for the target, of those that had the factual right",
    ),
    "non_adversarial": Metric(
        "non-adversarial",
        2,
        "share of the judges whose decision becomes the target, of those where it was not before; "
        "of counterfactuals that flip the classifier, whatever the label",
    ),
    "border_shift": Metric(
        "border shift",
        2,
        "rise of the target's log-odds for a classifier that does not see the lungs: how much of "
        "the change is in what the data's classes differ by outside them",
    ),
    "ssim": Metric(
        "SSIM", 3, "SSIM of counterfactual and factual (Gaussian window, without the border)"
    ),
    "ssim_outside": Metric(
        "SSIM outside lungs",
        3,
        "mean of the same SSIM's map over the pixels outside the lungs of the factual",
    ),
    "ssim_reconstruction": Metric(
        "SSIM to reconstruction",
        3,
        "SSIM of the counterfactual and the autoencoder's reconstruction of the factual",
    ),
    "ms_ssim": Metric(
        "MS-SSIM", 3, "multi-scale SSIM of both; fewer scales below 176 pixels a side"
    ),
    "psnr": Metric("PSNR", 1, "in dB; identical images, infinite, are left out of mean and n"),
    "gmsd": Metric("GMSD", 3, "gradient magnitude similarity deviation; 0 is alike (by piq)"),
    "fsim": Metric("FSIM", 3, "feature similarity of the grey images; 1 is alike (by piq)"),
    "haarpsi": Metric("HaarPSI", 3, "Haar wavelet perceptual similarity; 1 is alike (by piq)"),
    "vif": Metric("VIFp", 3, "visual information fidelity in pixels; 1 is alike (by piq)"),
    "lpips": Metric(
        "LPIPS",
        3,
        "learned perceptual image patch similarity, a distance: 0 is alike, lower is more alike. "
        "Of AlexNet by the weights of --lpips, with the authors' linear heads 0.1 unless the file "
        "has its own, the grey on three channels in [-1, 1], at the images' own size",
    ),
    "l1": Metric("L1", 3, "mean absolute change of a pixel, of a range of 1"),
    "l2": Metric("L2", 2, "Euclidean norm of the change; depends on the image size"),
    "linf": Metric("L-inf", 2, "largest change of a pixel"),
    "changed": Metric("changed", 3, "share of pixels changed by more than 0.05"),
    "sparsity": Metric(
        "Hoyer sparsity",
        2,
        "of the change: 1 where one pixel changes, 0 where all change alike, .2 for noise",
    ),
    "high_frequency": Metric(
        "high frequency", 3, "share of squared change above 1/8 cycle a pixel; noise has .95"
    ),
    "im1": Metric(
        "IM1",
        3,
        "squared error of the prior in rebuilding the counterfactual's code as the target, over "
        "that as the source; below 1 it reads rather as the target. A variant: the prior, "
        "denoising from noise level .4, stands in for autoencoders of one class each",
    ),
    "im2": Metric(
        "IM2",
        4,
        "squared difference of the same rebuilt as the target and as any class, over the L1 norm "
        "of the code; a variant likewise, and of one prior only",
    ),
    "reconstruction_flips": Metric(
        "reconstruction flips",
        2,
        "control: the classifier decides otherwise on the mere reconstruction of the factual",
    ),
    "energy_in_opacity": Metric(
        "energy in opacity", 2, "share of squared change inside the phantom's true opacity mask"
    ),
    "iou_opacity": Metric(
        "IoU with opacity",
        2,
        "intersection over union of the phantom's true opacity mask and as many pixels of greatest "
        "change",
    ),
    "pointing_opacity": Metric(
        "points at opacity",
        2,
        "the pixel of greatest change, smoothed by one pixel, is inside the phantom's true opacity "
        "mask",
    ),
    "ssim_outside_opacity": Metric(
        "SSIM outside opacity",
        3,
        "mean of the SSIM's map over the pixels outside the phantom's true opacity mask",
    ),
    "energy_in_marker": Metric(
        "energy in marker",
        2,
        "share of squared change inside the phantom's marker, of phantoms that have one",
    ),
    "energy_in_lungs": Metric(
        "energy in lungs",
        2,
        "share of squared change inside the lungs of the factual: the phantom's own mask, or that "
        "of the bundle's segmenter",
    ),
    "inside_ratio": Metric(
        "in lungs over chance",
        2,
        "energy in lungs over the lungs' share of the pixels; 1 is chance",
    ),
    "l2_truth": Metric("L2 to truth", 2, "L2 of counterfactual and true counterfactual"),
    "l2_truth_factual": Metric(
        "L2 of factual to truth", 2, "the same of the factual: what doing nothing scores"
    ),
    "ssim_truth": Metric("SSIM to truth", 3, "SSIM of counterfactual and true counterfactual"),
    "ssim_truth_factual": Metric(
        "SSIM of factual to truth", 3, "the same of the factual: what doing nothing scores"
    ),
}
JUDGE_METRICS = {
    "follows_valid": Metric(
        "{} follows, of valid",
        2,
        "the judge {} decides for the target; of valid counterfactuals whose factual it had right",
    ),
    "follows": Metric(
        "{} follows", 2, "the same, valid or not: of all whose factual the judge {} had right"
    ),
    "flips": Metric(
        "{} flips",
        2,
        "the decision of the judge {} becomes the target; of those where it was not to begin with, "
        "whatever the label",
    ),
    "factual_right": Metric(
        "{} right on factuals", 2, "accuracy of the judge {} on the factuals, real images"
    ),
    "p_target_factual": Metric("p of {} before", 2, "p(target) of the judge {} on the factual"),
    "p_target": Metric("p of {} after", 2, "p(target) of the judge {} on the counterfactual"),
    "log_odds": Metric(
        "log-odds of {} after", 2, "log-odds of the target of the judge {} on the counterfactual"
    ),
}
"""Columns of every judge, `judge_NAME_...`, with {} for its name."""


def describe(name: str) -> Metric:
    """Return how a column of `metrics.csv` is shown and what it is.

    >>> describe("judge_dense_follows").label
    'dense follows'
    """
    if name in METRICS:
        return METRICS[name]
    for suffix, metric in JUDGE_METRICS.items():
        judge = name.removeprefix("judge_").removesuffix(f"_{suffix}")
        if name == f"judge_{judge}_{suffix}":
            return Metric(
                metric.label.format(judge), metric.decimals, metric.definition.format(judge)
            )
    raise ValueError(f"expected the name of a metric, got {name!r}; see METRICS.")
