"""Train the generative prior of a bundle: `python -m train.prior --config RECIPE.yaml`."""

from __future__ import annotations

import sys
from typing import Any

import lightning
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import Dataset
from torchvision.utils import save_image

from cfgen.models.autoencoder import Autoencoder, Code, load_autoencoder
from cfgen.models.prior import Prior
from cfgen.models.sampling import sample
from cfgen.models.saving import save_half
from cfgen.types import Images, Labels
from train.card import add_readings, model_hash
from train.command import parse_recipe
from train.data import Batch, Films, ImageSet
from train.loop import fit, optimiser, planned_steps
from train.measure import measure, read_off
from train.preparation import prepare
from train.recipe import PriorRecipe, Recipe

PART = "prior"
DRAWN = 256
"""Samples that are held against the training images."""
SHOWN = 16
"""Samples on a sheet."""


class CodeSet(Dataset[tuple[Tensor, int]]):
    """Codes of images, encoded once, with their labels.

    Args:
        images: what is encoded.
        autoencoder: by what.
    """

    def __init__(self, images: ImageSet, autoencoder: Autoencoder, batch_size: int = 64) -> None:
        with torch.inference_mode():
            batches = images.images.split(batch_size)
            codes = torch.cat([autoencoder.encode(batch.float()) for batch in batches])
        self.codes, self.labels, self.samples = codes.clone(), images.labels, images.samples

    def __len__(self) -> int:
        """Number of codes."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return a code and the index of its class."""
        return self.codes[index], self.labels[index]


class PriorTraining(lightning.LightningModule):
    """Denoising of codes at random noise levels, some of them without their class."""

    def __init__(self, prior: Prior, how: PriorRecipe, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.prior = prior
        nn.Module.to(prior, memory_format=torch.channels_last)
        self.how = how
        # In a list, so that it is no part of this module and of its checkpoints.
        self.shown_by = [autoencoder]

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Loss at noise levels drawn at random."""
        codes, labels = batch
        dropped = torch.rand(len(codes), device=codes.device) < self.how.class_dropout
        labels = torch.where(dropped, self.prior.no_class, labels)
        step = torch.randint(self.prior.steps, (len(codes),), device=codes.device)
        loss = self._loss(codes, torch.randn_like(codes), step, labels)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Loss at the same noise and noise levels each time, spread evenly."""
        codes, labels = batch
        generator = torch.Generator().manual_seed(index)
        noise = torch.randn(codes.shape, generator=generator).to(codes)
        places = (torch.arange(len(codes)) + torch.rand(1, generator=generator)) / len(codes)
        step = (places * self.prior.steps).long().clamp(max=self.prior.steps - 1).to(codes.device)
        loss = self._loss(codes, noise, step, labels)
        self.log("val_loss", loss, prog_bar=True, sync_dist=True, batch_size=len(codes))

    def on_validation_epoch_start(self) -> None:
        """Draw a sheet of samples into the log, as many of each class.

        At the start, since at the end the averaged weights have been taken out again.
        """
        number = self.current_epoch + 1
        logs = self.trainer.log_dir  # asked by every process, for they agree on it
        if number % self.how.sample_every or self.global_rank or logs is None:
            return
        images = draw_samples(self.prior, self.shown_by[0])
        save_image(images, f"{logs}/samples-{number:03d}.png", nrow=SHOWN // 2)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to go on with the codes of another autoencoder than those learned from.

        Raises:
            ValueError: the checkpoint's codes have other statistics.
        """
        for name in ("code_mean", "code_std"):
            theirs = checkpoint["state_dict"][f"prior.{name}"].cpu()
            ours = getattr(self.prior, name).cpu()
            if theirs.shape != ours.shape or not torch.allclose(theirs, ours, atol=1e-3):
                raise ValueError(
                    f"expected to go on with codes of the {name} {theirs.flatten().tolist()}, got "
                    f"{ours.flatten().tolist()}, of another autoencoder; do remove the prior's "
                    "logs to train it anew, or give other --logs"
                )

    def _loss(self, codes: Code, noise: Code, step: Labels, labels: Labels) -> Tensor:
        noisy = self.prior.noised(codes, noise, step).contiguous(memory_format=torch.channels_last)
        predicted = self.prior(noisy, step, labels)
        return mse_loss(predicted.float(), self.prior.velocity(codes, noise, step))

    def configure_optimizers(self) -> tuple[list, list]:
        """AdamW with a warm-up and a cosine decay."""
        total = planned_steps(self.trainer)
        return optimiser(self.prior, self.how.schedule, total)


def draw_samples(prior: Prior, autoencoder: Autoencoder) -> Images:
    """Images of codes drawn from the prior, as many of each class, class after class."""
    labels = torch.arange(SHOWN) * len(prior.classes) // SHOWN
    codes = sample(prior, labels.to(prior.device), torch.Generator().manual_seed(0))
    autoencoder.to(codes.device)  # pyright: ignore[reportArgumentType]
    with torch.inference_mode():
        return autoencoder.decode(codes).clamp(0, 1)


def check_memory(recipe: Recipe, prior: Prior, train: Code, held_out: CodeSet) -> None:
    """Log how near the training images samples come, against how near held-out images do."""
    labels = torch.arange(DRAWN) % len(prior.classes)
    drawn = sample(prior, labels, torch.Generator().manual_seed(1), guidance=1.0)
    ours, theirs = (nearest(prior, codes, train) for codes in (drawn, held_out.codes))
    typical = float(ours.median())

    def ratio(chosen: Int[ndarray, " drawn"]) -> float:
        return typical / float(theirs[chosen].median())

    statistics = {"nearest training code, samples over held-out": ratio}
    add_readings(
        recipe.bundle,
        read_off(PART, model_hash(recipe.bundle, PART), "val", statistics, held_out.samples),
    )


def nearest(
    prior: Prior, codes: Code, train: Float[Tensor, "train channels rows columns"]
) -> Float[Tensor, " batch"]:
    """Distance of each code to the nearest training code, both standardised."""
    ours, theirs = ((one / prior.code_std).flatten(1) for one in (codes, train))
    return torch.cdist(ours, theirs).amin(1)


def train_prior(recipe: Recipe) -> None:
    """Train the prior of a bundle, whose autoencoder is trained already, and save it."""
    how = recipe.prior
    lightning.seed_everything(how.schedule.seed, workers=True, verbose=False)
    source, train, val = prepare(recipe)
    autoencoder = load_autoencoder(recipe.bundle / "autoencoder")
    codes, held_out = CodeSet(train, autoencoder), CodeSet(val, autoencoder)
    prior = Prior(
        classes=list(source.classes),
        channels=codes.codes.shape[1],
        side=codes.codes.shape[2],
        widths=how.widths,
        layers=how.layers,
    )
    prior.set_statistics(codes.codes)
    module = PriorTraining(prior, how, autoencoder)
    films = Films(codes, held_out, how.schedule, recipe.trainer.workers)
    fit(module, films, recipe, PART)
    if module.global_rank == 0:
        prior.cpu().eval()
        save_half(prior, recipe.bundle / PART)
        save_image(draw_samples(prior, autoencoder), recipe.bundle / PART / "samples.png")
        check_memory(recipe, prior, codes.codes, held_out)
        measure(recipe, val, [PART], "val")
        sys.stdout.write(f"saved {recipe.bundle / PART}\n")


def main(arguments: list[str] | None = None) -> None:
    """Train the recipe's prior."""
    train_prior(parse_recipe(arguments))


if __name__ == "__main__":
    main()
