"""A classifier that has learned nothing: what a method finds for it, it finds for anybody."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from cfgen.models.bundle import load_bundle
from cfgen.models.classifier import Classifier
from evaluation.runs import Run

SPREAD = 4.0
"""Standard deviation of its log-odds over the factuals: about as sure as one that has learned."""


@torch.no_grad()
def save_untrained(bundle: str, run: Run, into: Path) -> None:
    """Save the bundle's classifier with its weights drawn anew.

    Untrained, it would call all images one class by a hair. So its batch norms are given the
    statistics of the run's factuals, its last bias the median, and its temperature a spread of
    the log-odds of `SPREAD`: it decides, surely, and for no reason.

    Args:
        bundle: whose classifier is taken as the pattern; of two classes.
        run: whose factuals it is adjusted to.
        into: folder for it; left alone where it is there already.
    """
    if (into / "config.json").is_file():
        return
    pattern = load_bundle(bundle).classifier
    torch.manual_seed(0)
    classifier = Classifier.from_config(pattern.config)
    assert isinstance(classifier, Classifier)
    factuals = torch.cat([factual for _, factual, _ in run.images()]).float()
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean over the batches
    classifier.train()
    for batch in factuals.split(64):
        classifier(batch)
    classifier.eval()
    classifier.calibrate(1.0, [0.5, 0.5])
    logits = torch.cat([classifier(batch) for batch in factuals.split(64)])
    odds = logits[:, 1] - logits[:, 0]
    last = [module for module in classifier.modules() if isinstance(module, nn.Linear)][-1]
    last.bias[1] -= odds.median()
    classifier.calibrate(float(odds.std()) / SPREAD, [0.5, 0.5])
    classifier.save_pretrained(into)
