"""What a counterfactual is worth: pure functions of images or features, no file in or out."""

from __future__ import annotations

from cfgen.metrics.activations import LayerChange, activation_change
from cfgen.metrics.axioms import (
    composition,
    latent_divergence,
    least_share,
    reversibility,
    stability,
)
from cfgen.metrics.clusters import kmeans, silhouette
from cfgen.metrics.contrast import contrast
from cfgen.metrics.diversity import Diversity, diversity
from cfgen.metrics.frechet import FrechetRatio, frechet_distance, frechet_ratio, frechet_ratios
from cfgen.metrics.identity import low_passed, own_is_nearest, same_group_is_nearest
from cfgen.metrics.interpretability import im1, im2
from cfgen.metrics.kernel import KernelDistance, kernel_comparison, kernel_distance
from cfgen.metrics.localisation import (
    energy_inside,
    inside_ratio,
    pointing_game,
    ssim_outside,
    strongest_iou,
)
from cfgen.metrics.lpips import lpips
from cfgen.metrics.manifold import (
    Coverage,
    PrecisionRecall,
    coverage,
    coverages,
    precision_recall,
)
from cfgen.metrics.pareto import pareto_front
from cfgen.metrics.perceptual import perceptual
from cfgen.metrics.plausibility import judge_follow, non_adversarial, overshoot
from cfgen.metrics.proximity import changed_fraction, l1, l2, linf, sparsity
from cfgen.metrics.readers import (
    cohen_kappa,
    crossed_interval,
    fleiss_kappa,
    mean_auc,
    shuffled_auc_p,
)
from cfgen.metrics.similarity import ms_ssim, psnr, ssim, ssim_map, ssim_on_device
from cfgen.metrics.spectrum import high_frequency_share
from cfgen.metrics.statistics import (
    Estimate,
    bootstrap_interval,
    estimate,
    holm,
    paired_difference,
    sign_flip_p,
)
from cfgen.metrics.template import mean_pairwise_cosine, share_explained_by_mean
from cfgen.metrics.transition import cout, transition
from cfgen.metrics.validity import confidence_change, flip, valid
from cfgen.metrics.zones import Zone, lung_zones, quarters, zone_changes

__all__ = [
    "Coverage",
    "Diversity",
    "Estimate",
    "FrechetRatio",
    "KernelDistance",
    "LayerChange",
    "PrecisionRecall",
    "Zone",
    "activation_change",
    "bootstrap_interval",
    "changed_fraction",
    "cohen_kappa",
    "composition",
    "confidence_change",
    "contrast",
    "cout",
    "coverage",
    "coverages",
    "crossed_interval",
    "diversity",
    "energy_inside",
    "estimate",
    "fleiss_kappa",
    "flip",
    "frechet_distance",
    "frechet_ratio",
    "frechet_ratios",
    "high_frequency_share",
    "holm",
    "im1",
    "im2",
    "inside_ratio",
    "judge_follow",
    "kernel_comparison",
    "kernel_distance",
    "kmeans",
    "l1",
    "l2",
    "latent_divergence",
    "least_share",
    "linf",
    "low_passed",
    "lpips",
    "lung_zones",
    "mean_auc",
    "mean_pairwise_cosine",
    "ms_ssim",
    "non_adversarial",
    "overshoot",
    "own_is_nearest",
    "paired_difference",
    "pareto_front",
    "perceptual",
    "pointing_game",
    "precision_recall",
    "psnr",
    "quarters",
    "reversibility",
    "same_group_is_nearest",
    "share_explained_by_mean",
    "shuffled_auc_p",
    "sign_flip_p",
    "silhouette",
    "sparsity",
    "ssim",
    "ssim_map",
    "ssim_on_device",
    "ssim_outside",
    "stability",
    "strongest_iou",
    "transition",
    "valid",
    "zone_changes",
]
