"""Train the lung segmenter of a bundle: `python -m train.segmenter --config RECIPE.yaml`.

It learns on chest phantoms, whose lungs are known, and then, in rounds of self-training, on the
bundle's own training films with the masks that the round before proposed for them.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import lightning
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, binary_cross_entropy_with_logits
from torch.utils.data import TensorDataset
from tqdm import tqdm

from cfgen.data.phantom import draw
from cfgen.data.samples import Sample
from cfgen.models.segmenter import Segmenter
from cfgen.types import Images
from train.card import add_readings, model_hash, write_card
from train.command import parse_recipe
from train.data import Batch, Films, ImageSet
from train.disturb import Masks, disturb
from train.loop import fit, optimiser, planned_steps
from train.measure import Statistic, mean_of, read_off
from train.preparation import prepare
from train.pseudo import Plausible, clean, propose
from train.recipe import Recipe, SegmenterRecipe

PART = "segmenter"
TRAIN_SEEDS, VAL_SEEDS, TEST_SEEDS = 30_000_000, 40_000_000, 50_000_000
"""First seeds of the phantoms to learn on, to choose on and to measure: no data set's own."""
HELD_OUT = 200


class SegmenterTraining(lightning.LightningModule):
    """Cross-entropy and Dice loss on disturbed films; the same on undisturbed ones to validate."""

    def __init__(self, segmenter: Segmenter, how: SegmenterRecipe) -> None:
        super().__init__()
        self.segmenter = segmenter
        nn.Module.to(segmenter, memory_format=torch.channels_last)
        self.how = how

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Loss on films changed at random."""
        loss = self._loss(*disturb(batch[0].float(), batch[1].float(), self.how.augmentation))
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Log what early stopping watches."""
        loss = self._loss(batch[0].float(), batch[1].float())
        self.log("val_loss", loss, prog_bar=True, sync_dist=True)

    def _loss(self, images: Images, masks: Masks) -> Tensor:
        logits = self.segmenter.logits(images).float()
        p = logits.sigmoid()
        both, either = (p * masks).sum((1, 2, 3)), (p + masks).sum((1, 2, 3))
        return binary_cross_entropy_with_logits(logits, masks) + (1 - 2 * both / either).mean()

    def configure_optimizers(self) -> tuple[list, list]:
        """AdamW with a warm-up and a cosine decay."""
        total = planned_steps(self.trainer)
        return optimiser(self.segmenter, self.how.schedule, total)


def train_segmenter(recipe: Recipe) -> None:
    """Train the segmenter of a bundle and save it with its card."""
    how = recipe.segmenter
    lightning.seed_everything(how.schedule.seed, workers=True, verbose=False)
    _source, train, val = prepare(recipe)
    segmenter = Segmenter(side=how.side, widths=how.widths)
    module = SegmenterTraining(segmenter, how)
    learned = draw_phantoms(how.phantoms, TRAIN_SEEDS, how.side)
    chosen_on = draw_phantoms(HELD_OUT, VAL_SEEDS, how.side)
    workers = recipe.trainer.workers
    films = Films(learned, chosen_on, how.schedule, workers)
    fit(module, films, recipe, f"{PART}/phantoms")
    for number, epochs in enumerate(how.rounds, 1):
        segmenter.cpu().eval()
        films = Films(
            _joined(learned, adopt(segmenter, train)),
            _joined(chosen_on, adopt(segmenter, val)),
            how.schedule,
            workers,
        )
        segmenter.train()
        fit(module, films, _lasting(recipe, epochs), f"{PART}/round-{number}")
    if module.global_rank == 0:
        segmenter.cpu().eval()
        segmenter.save_pretrained(recipe.bundle / PART)
        measure_segmenter(recipe, segmenter, val)
        sys.stdout.write(f"saved {recipe.bundle / PART}\n")


def _lasting(recipe: Recipe, epochs: int) -> Recipe:
    """Give the recipe with as many epochs of the segmenter."""
    schedule = replace(recipe.segmenter.schedule, epochs=epochs)
    return replace(recipe, segmenter=replace(recipe.segmenter, schedule=schedule))


def draw_phantoms(count: int, first: int, side: int) -> TensorDataset:
    """Phantoms of consecutive seeds and the masks of their lungs."""
    seeds = tqdm(range(first, first + count), desc="drawing", unit="phantom", mininterval=5)
    phantoms = [draw(seed, side) for seed in seeds]
    images = torch.stack([phantom.image.half() for phantom in phantoms])
    return TensorDataset(images, torch.stack([phantom.lungs for phantom in phantoms]))


def adopt(segmenter: Segmenter, films: ImageSet) -> TensorDataset:
    """Films for which the segmenter proposes plausible lungs, with the cleaned proposals.

    They are averaged down to the side at which the segmenter works.
    """
    images, masks = [], []
    for batch in films.images.split(64):
        small = adaptive_avg_pool2d(batch.float(), segmenter.side)
        found = [clean(p, Plausible()) for p in propose(segmenter, small)[:, 0].numpy()]
        images.append(small[[mask is not None for mask in found]].half())
        masks += [torch.from_numpy(mask)[None] for mask in found if mask is not None]
    sys.stderr.write(f"plausible lungs on {len(masks)} of {len(films)} films\n")
    none = torch.zeros(0, 1, segmenter.side, segmenter.side, dtype=torch.bool)
    return TensorDataset(torch.cat(images), torch.stack(masks) if masks else none)


def _joined(one: TensorDataset, other: TensorDataset) -> TensorDataset:
    return TensorDataset(*map(torch.cat, zip(one.tensors, other.tensors, strict=True)))


def measure_segmenter(recipe: Recipe, segmenter: Segmenter, films: ImageSet) -> None:
    """Measure a segmenter on unseen phantoms and on validation films, and write its card."""
    size, model = recipe.preprocessing.size, model_hash(recipe.bundle, PART)
    images, lungs = draw_phantoms(HELD_OUT, TEST_SEEDS, size).tensors
    with torch.inference_mode():
        found = torch.cat([segmenter.lungs(batch.float()) for batch in images.split(64)])
    drawn = [Sample(f"phantom-{TEST_SEEDS + n}", None, "phantoms") for n in range(HELD_OUT)]
    readings = read_off(PART, model, "phantoms", _on_phantoms(dice(found, lungs)), drawn)
    readings += read_off(PART, model, "val", _on_films(segmenter, films), films.samples)
    add_readings(recipe.bundle, readings)
    write_card(recipe, PART)
    for reading in readings:
        sys.stdout.write(f"{PART} {reading.split} {reading.text()}\n")


def dice(one: Tensor, other: Tensor) -> Float[Tensor, " batch"]:
    """Overlap 2 |A and B| / (|A| + |B|) of each pair of masks (Dice 1945); 1 if both are empty."""
    one, other = one.flatten(1), other.flatten(1)
    either = one.sum(1) + other.sum(1)
    return torch.where(either > 0, 2 * (one & other).sum(1) / either, 1.0)


def _on_phantoms(overlaps: Tensor) -> dict[str, Statistic]:
    values = overlaps.numpy()
    return {
        "Dice": lambda drawn: float(values[drawn].mean()),
        "Dice, 5th percentile": lambda drawn: float(np.percentile(values[drawn], 5)),
    }


def _on_films(segmenter: Segmenter, films: ImageSet) -> dict[str, Statistic]:
    """Area by class, plausibility and agreement with the mirrored film."""
    batches = [batch.float() for batch in films.images.split(64)]
    with torch.inference_mode():
        masks = torch.cat([segmenter.lungs(batch) for batch in batches])
        mirrored = torch.cat([segmenter.lungs(batch.flip(-1)).flip(-1) for batch in batches])
    share = masks.flatten(1).double().mean(1)
    pairs = [clean(mask.double().numpy(), Plausible()) is not None for mask in masks[:, 0]]
    labels = torch.tensor(films.labels)
    statistics = {
        f"area, {films.samples[films.labels.index(index)].label!s}": mean_of(share, labels == index)
        for index in labels.unique().tolist()
    }
    return {
        **statistics,
        "two lungs": mean_of(torch.tensor(pairs).double()),
        "mirrored": mean_of(dice(masks, mirrored).double()),
    }


def main(arguments: list[str] | None = None) -> None:
    """Train the recipe's segmenter."""
    train_segmenter(parse_recipe(arguments))


if __name__ == "__main__":
    main()
