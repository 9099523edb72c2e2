"""Train the autoencoder of a bundle: `python -m train.autoencoder --config RECIPE.yaml`."""

from __future__ import annotations

import sys

import lightning
import torch
from torch import Tensor, nn

from cfgen.models.autoencoder import Autoencoder
from cfgen.models.classifier import load_classifier
from cfgen.types import Images
from train.augment import augment
from train.command import parse_recipe
from train.data import Batch, Films, ImageSet
from train.loop import fit, optimiser, planned_steps
from train.losses import PatchDiscriminator, PerceptualDistance, discriminator_loss, fooling_loss
from train.measure import measure
from train.preparation import prepare
from train.recipe import AutoencoderRecipe, Recipe

PART = "autoencoder"


class AutoencoderTraining(lightning.LightningModule):
    """Reconstruction, Kullback-Leibler, perceptual and, where asked for, adversarial terms."""

    def __init__(
        self,
        autoencoder: Autoencoder,
        perceptual: PerceptualDistance | None,
        how: AutoencoderRecipe,
        compiled: bool,
    ) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        nn.Module.to(autoencoder, memory_format=torch.channels_last)
        self.perceptual = perceptual
        self.discriminator = PatchDiscriminator() if how.adversarial else None
        self.how = how
        if compiled:
            # Its forward is never called: `posterior` and `reconstruct` call the two halves.
            self.autoencoder.vae.encoder.compile()
            self.autoencoder.vae.decoder.compile()

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """One step of the autoencoder and, in the same backward pass, of the discriminator."""
        images = augment(batch[0], self.how.augmentation)
        terms, rebuilt = self._terms(images, sample=True)
        loss = terms["reconstruction"] + self.how.kl * terms["kl"]
        loss = loss + self.how.perceptual * terms["perceptual"]
        if self.discriminator is not None:
            terms["fooling"] = fooling_loss(self.discriminator, rebuilt)
            terms["discriminator"] = discriminator_loss(self.discriminator, images, rebuilt)
            loss = loss + self.how.adversarial * terms["fooling"] + terms["discriminator"]
        self.log_dict({f"train_{name}": value for name, value in terms.items()}, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Log the loss without its adversarial term, which is no measure of progress."""
        terms, _rebuilt = self._terms(batch[0], sample=False)
        loss = terms["reconstruction"] + self.how.perceptual * terms["perceptual"]
        self.log("val_loss", loss, prog_bar=True, sync_dist=True)
        self.log_dict({f"val_{name}": value for name, value in terms.items()}, sync_dist=True)

    def _terms(self, images: Images, *, sample: bool) -> tuple[dict[str, Tensor], Images]:
        images = images.contiguous(memory_format=torch.channels_last)
        posterior = self.autoencoder.posterior(images)
        code = posterior.sample() if sample else posterior.mode()
        rebuilt = self.autoencoder.reconstruct(code)
        error = rebuilt - images
        zero = torch.zeros((), device=images.device)
        terms = {
            "reconstruction": error.abs().mean()
            if self.how.reconstruction == "l1"
            else error.square().mean(),
            "kl": posterior.kl().mean() / images[0].numel(),
            "perceptual": self.perceptual(images, rebuilt) if self.perceptual else zero,
        }
        return terms, rebuilt

    def configure_optimizers(self) -> tuple[list, list]:
        """AdamW over everything that learns; the perceptual network is frozen."""
        learning = nn.ModuleList([self.autoencoder])
        if self.discriminator is not None:
            learning.append(self.discriminator)
        total = planned_steps(self.trainer)
        return optimiser(learning, self.how.schedule, total)


def train_autoencoder(recipe: Recipe) -> None:
    """Train the autoencoder of a bundle, whose classifier is trained already, and save it."""
    how = recipe.autoencoder
    lightning.seed_everything(how.schedule.seed, workers=True, verbose=False)
    source, train, val = prepare(recipe)
    autoencoder = Autoencoder(
        size=recipe.preprocessing.size,
        classes=list(source.classes),
        patch=how.patch,
        widths=how.widths,
        latent_channels=how.latent_channels,
        layers=how.layers,
    )
    perceptual = None
    if how.perceptual:
        perceptual = PerceptualDistance(load_classifier(recipe.bundle / "classifier"))
    module = AutoencoderTraining(autoencoder, perceptual, how, recipe.trainer.compile)
    films = Films(train, val, how.schedule, recipe.trainer.workers)
    fit(module, films, recipe, PART)
    if module.global_rank == 0:
        autoencoder.cpu().eval()
        set_code_statistics(autoencoder, train)
        autoencoder.save_pretrained(recipe.bundle / PART)
        measure(recipe, val, [PART], "val")
        sys.stdout.write(f"saved {recipe.bundle / PART}\n")


def set_code_statistics(autoencoder: Autoencoder, train: ImageSet, batch_size: int = 64) -> None:
    """Scale codes to unit variance over the training images, then store each class's mean code."""
    with torch.inference_mode():
        batches = train.images.split(batch_size)
        codes = torch.cat([autoencoder.posterior(batch.float()).mode() for batch in batches])
        scale = codes.std()
        labels = torch.tensor(train.labels)
        means = [codes[labels == index].mean(0) / scale for index in labels.unique()]
        if len(means) != len(autoencoder.class_means):
            raise ValueError(
                f"expected training images of every class, got {len(means)} of "
                f"{len(autoencoder.class_means)} classes; do add images of the others"
            )
        autoencoder.set_statistics(torch.stack(means), scale)


def main(arguments: list[str] | None = None) -> None:
    """Train the recipe's autoencoder."""
    train_autoencoder(parse_recipe(arguments))


if __name__ == "__main__":
    main()
