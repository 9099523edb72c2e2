"""Train a classifier or a judge: `python -m train.classifier --config RECIPE.yaml`."""

from __future__ import annotations

import sys

import lightning
import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAUROC

from cfgen.models.classifier import Classifier
from cfgen.types import Images, Logits
from train.augment import augment
from train.calibration import calibrate
from train.command import parse_recipe
from train.data import Batch, Films
from train.loop import fit, optimiser
from train.measure import measure
from train.preparation import prepare
from train.recipe import ClassifierRecipe, Recipe


class ClassifierTraining(lightning.LightningModule):
    """Cross-entropy on augmented images; AUROC and cross-entropy on validation images."""

    def __init__(self, classifier: Classifier, how: ClassifierRecipe, compiled: bool) -> None:
        super().__init__()
        self.classifier = classifier
        nn.Module.to(classifier, memory_format=torch.channels_last)
        self.how = how
        # Of the method, not of the module, which would stand twice in every checkpoint.
        forward = classifier.forward
        self.forward_pass = torch.compile(forward) if compiled else forward
        self.auroc = MulticlassAUROC(len(classifier.classes))
        self.loss = nn.CrossEntropyLoss()

    def forward(self, images: Images) -> Logits:
        """Class logits."""
        return self.forward_pass(images.contiguous(memory_format=torch.channels_last))

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Loss on images changed at random."""
        images, labels = batch
        loss = self.loss(self(augment(images, self.how.augmentation)), labels)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Log what early stopping watches."""
        images, labels = batch
        logits = self(images).float()
        self.auroc.update(logits.softmax(1), labels)
        self.log("val_loss", self.loss(logits, labels), prog_bar=True, sync_dist=True)
        self.log("val_auroc", self.auroc, prog_bar=True)

    def configure_optimizers(self) -> tuple[list, list]:
        """AdamW with a warm-up and a cosine decay."""
        total = int(self.trainer.estimated_stepping_batches)
        return optimiser(self.classifier, self.how.schedule, total)


def train_classifier(recipe: Recipe, part: str) -> None:
    """Train one classifier of a bundle, calibrate it on validation, and save it with its card.

    Args:
        recipe: the bundle's.
        part: 'classifier', or 'judges/NAME'.
    """
    how = recipe.classifier if part == "classifier" else recipe.judge
    lightning.seed_everything(how.schedule.seed, workers=True, verbose=False)
    source, train, val = prepare(recipe)
    classifier = Classifier(
        architecture=how.architecture,
        classes=list(source.classes),
        size=recipe.preprocessing.size,
        mean=float(train.images.float().mean()),
        std=float(train.images.float().std()),
        widths=how.widths,
    )
    module = ClassifierTraining(classifier, how, recipe.trainer.compile)
    films = Films(train, val, how.schedule, recipe.trainer.workers)
    fit(module, films, recipe, part)
    if module.global_rank == 0:
        classifier.cpu().eval()
        calibrate(classifier, val)
        classifier.save_pretrained(recipe.bundle / part)
        measure(recipe, val, [part], "val")
        sys.stdout.write(f"saved {recipe.bundle / part}\n")


def main(arguments: list[str] | None = None) -> None:
    """Train the recipe's classifier."""
    train_classifier(parse_recipe(arguments), "classifier")


def main_judge(arguments: list[str] | None = None) -> None:
    """Train the recipe's judge."""
    recipe = parse_recipe(arguments)
    train_classifier(recipe, f"judges/{recipe.judge.name}")


if __name__ == "__main__":
    main()
