"""What a counterfactual is worth: pure functions, one number an image, no file in or out."""

from __future__ import annotations

from cfgen.metrics.activations import LayerChange, activation_change
from cfgen.metrics.localisation import energy_inside
from cfgen.metrics.plausibility import FrechetRatio, frechet_distance, frechet_ratio, judge_follow
from cfgen.metrics.proximity import changed_fraction, l1, l2, linf
from cfgen.metrics.similarity import ms_ssim, psnr, ssim
from cfgen.metrics.statistics import Estimate, bootstrap_interval, estimate
from cfgen.metrics.validity import flip, valid

__all__ = [
    "Estimate",
    "FrechetRatio",
    "LayerChange",
    "activation_change",
    "bootstrap_interval",
    "changed_fraction",
    "energy_inside",
    "estimate",
    "flip",
    "frechet_distance",
    "frechet_ratio",
    "judge_follow",
    "l1",
    "l2",
    "linf",
    "ms_ssim",
    "psnr",
    "ssim",
    "valid",
]
