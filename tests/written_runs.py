"""Runs of flat images and classifiers of their brightness: every number can be worked out."""

from __future__ import annotations

import torch
from torch import nn

from cfgen.models.autoencoder import Autoencoder
from cfgen.models.classifier import Classifier
from evaluation.runs import create_run, read_run, write_shards

CLASSES = ("DARK", "BRIGHT")
SIZE = 32


def brightness_classifier(columns=slice(None), classes=CLASSES, steepness=20.0):
    """BRIGHT where the mean of some columns is above one half; its feature is that mean."""

    class Mean(nn.Module):
        def forward(self, images):
            return images[:, 0, :, columns].mean((1, 2))[:, None]

    dense = nn.Linear(1, len(classes))
    with torch.no_grad():
        dense.weight.zero_()
        dense.weight[1] = steepness
        dense.bias.zero_()
        dense.bias[1] = -steepness / 2
    classifier = Classifier(classes=classes, widths=[1], mean=0.0, std=1.0)
    classifier.network = nn.Sequential(Mean(), dense)
    return classifier.eval().requires_grad_(False)


class Darkener(Autoencoder):
    """An autoencoder whose reconstruction lacks some light, and nothing else."""

    def __init__(self, loss):
        super().__init__(size=SIZE, classes=CLASSES, widths=(16,), latent_channels=2)
        self.loss = loss

    def encode(self, images):
        return images

    def decode(self, code):
        return code - self.loss


def flat(left, right=None):
    image = torch.full((1, SIZE, SIZE), float(left))
    if right is not None:
        image[..., SIZE // 2 :] = right
    return image


def sample(i, factual, image, **changes):
    bright = float(factual.mean()) > 0.5
    row = {
        "id": i,
        "path": f"test/{i}.png",
        "label": CLASSES[bright],
        "source": CLASSES[bright],
        "target": CLASSES[not bright],
        "outcome": "reached",
        "p_target_factual": 0.0,
        "p_target": 1.0,
        "steps": i,
        "evaluations": i + 1,
        "prior_passes": 0,
        "decodes": 0,
        "seconds": 0.5,
    }
    return {**row, **changes}, factual, image


def write(path, samples, batch=3, **config):
    create_run(path, {"bundle": "none", "data": "none", "method": "latent", **config})
    for start in range(0, len(samples), batch):
        rows, factual, image = zip(*samples[start : start + batch], strict=True)
        ids = torch.tensor([row["id"] for row in rows])
        write_shards(path, rows, ids, torch.stack(factual), torch.stack(image))
    return read_run(path)
