"""Train a classifier or a judge: `python -m train.classifier --config RECIPE.yaml`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import lightning
import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAUROC

from cfgen.data.splits import half_of
from cfgen.models.autoencoder import Autoencoder, load_autoencoder
from cfgen.models.classifier import Classifier, load_classifier
from cfgen.models.segmenter import load_segmenter
from cfgen.types import Images, Labels, Logits
from train.augment import augment
from train.calibration import calibrate
from train.command import command_line
from train.data import Batch, Films, ImageSet
from train.loop import fit, optimiser, planned_steps
from train.measure import measure
from train.preparation import prepare
from train.recipe import ClassifierRecipe, Recipe
from train.robust import attack


class ClassifierTraining(lightning.LightningModule):
    """Cross-entropy on augmented images; AUROC and cross-entropy on validation images.

    With an autoencoder the images are attacked as well, see `train.robust.attack`. Then the
    validation loss, by which the best weights are chosen, is of attacked images too; the AUROC is
    of the images as they are.
    """

    def __init__(
        self,
        classifier: Classifier,
        how: ClassifierRecipe,
        compiled: bool,
        autoencoder: Autoencoder | None = None,
    ) -> None:
        super().__init__()
        self.classifier, self.autoencoder = classifier, autoencoder
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
        images = self._attacked(augment(images, self.how.augmentation), labels)
        loss = self.loss(self(images), labels)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Log what early stopping watches."""
        images, labels = batch
        logits = self(images).float()
        self.auroc.update(logits.softmax(1), labels)
        if self.autoencoder is not None:
            logits = self(self._attacked(images, labels)).float()
        self.log("val_loss", self.loss(logits, labels), prog_bar=True, sync_dist=True)
        self.log("val_auroc", self.auroc, prog_bar=True)

    def _attacked(self, images: Images, labels: Labels) -> Images:
        if self.autoencoder is None or self.how.robust is None:
            return images
        return attack(self.classifier, self.autoencoder, images, labels, self.how.robust)

    def configure_optimizers(self) -> tuple[list, list]:
        """AdamW with a warm-up and a cosine decay."""
        total = planned_steps(self.trainer)
        return optimiser(self.classifier, self.how.schedule, total)


def train_classifier(recipe: Recipe, part: str) -> None:
    """Train one classifier of a bundle, calibrate it on validation, and save it with its card.

    Args:
        recipe: the bundle's.
        part: 'classifier', or 'classifiers/NAME', 'judges/NAME' or 'development/NAME'.

    Raises:
        ValueError: the recipe does not describe it, or what it needs of the bundle is missing.
    """
    how = recipe.section(part)
    assert isinstance(how, ClassifierRecipe)
    lightning.seed_everything(how.schedule.seed, workers=True, verbose=False)
    source, train, val = prepare(recipe)
    if how.half:
        train.keep(lambda sample: half_of(sample) == how.half)
    classifier = build(recipe, how, train, source.classes)
    autoencoder = None
    if how.robust is not None:
        start_from(classifier, recipe.bundle / how.robust.start)
        autoencoder = load_autoencoder(recipe.bundle / "autoencoder")
    module = ClassifierTraining(classifier, how, recipe.trainer.compile, autoencoder)
    films = Films(train, val, how.schedule, recipe.trainer.workers)
    fit(module, films, recipe, part)
    if module.global_rank == 0:
        classifier.cpu().eval()
        calibrate(classifier, val)
        classifier.save_pretrained(recipe.bundle / part)
        measure(recipe, val, [part], "val")
        sys.stdout.write(f"saved {recipe.bundle / part}\n")


def build(
    recipe: Recipe, how: ClassifierRecipe, train: ImageSet, classes: Sequence[str]
) -> Classifier:
    """A classifier that has learned nothing yet, but knows its images' mean and their lungs."""
    segmenter, described = None, None
    if how.view != "whole":
        segmenter = load_segmenter(recipe.bundle / "segmenter")
        described = {k: v for k, v in segmenter.config.items() if not k.startswith("_")}
    classifier = Classifier(
        architecture=how.architecture,
        classes=list(classes),
        size=recipe.preprocessing.size,
        mean=float(train.images.float().mean()),
        std=float(train.images.float().std()),
        widths=how.widths,
        view=how.view,
        segmenter_config=described,
    )
    if segmenter is not None:
        assert classifier.segmenter is not None
        classifier.segmenter.load_state_dict(segmenter.state_dict())
    return classifier


def start_from(classifier: Classifier, folder: Path) -> None:
    """Give a classifier the weights of a saved one.

    Raises:
        ValueError: there is none, or it is another network.
    """
    try:
        classifier.load_state_dict(load_classifier(folder).state_dict())
    except RuntimeError as error:
        raise ValueError(
            f"expected the network of {folder}, to be fine-tuned, got another one in the recipe; "
            "do give both the same architecture, widths and view"
        ) from error


def main(arguments: list[str] | None = None) -> None:
    """Train the recipe's classifier, or the further one that is named."""
    meaning = "one of the recipe's `classifiers`, in place of its `classifier`"
    recipe, name = command_line(arguments, "name", "", meaning)
    train_classifier(recipe, f"classifiers/{name}" if name else "classifier")


def main_judge(arguments: list[str] | None = None) -> None:
    """Train one judge of the recipe, of the panel or for development.

    Raises:
        ValueError: the recipe has no judge of this name.
    """
    recipe, name = command_line(arguments, "name", "", "one of its `judges` or `development`")
    folders = {"judges": recipe.judges, "development": recipe.development}
    parts = [f"{folder}/{known}" for folder, judges in folders.items() for known in judges]
    chosen = [part for part in parts if not name or part.endswith(f"/{name}")]
    if len(chosen) != 1:
        raise ValueError(
            f"expected --name of one of the recipe's judges ({', '.join(parts) or 'none there'}), "
            f"got {name!r}; do name one, without its folder"
        )
    train_classifier(recipe, chosen[0])


if __name__ == "__main__":
    main()
