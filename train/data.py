"""The data module: images read once, cut by patient, augmented by whoever trains on them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import lightning
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler
from tqdm import tqdm

from cfgen.data.pixels import UnreadableImage
from cfgen.data.preprocessing import Preprocessing
from cfgen.data.samples import Sample, Source
from train.recipe import Schedule

Batch = list[Tensor]
"""Images in [0, 1] and the indices of their classes, as a loader collates them."""


class ImageSet(Dataset[tuple[Tensor, int]]):
    """Preprocessed images held in memory, with their labels.

    Half precision keeps more than the 8 bits of a film's file, at half the memory.

    Args:
        source: where to load from.
        samples: which ones; unreadable ones are reported on standard error and left out.
        preprocessing: how a file becomes an image.
    """

    def __init__(
        self, source: Source, samples: Sequence[Sample], preprocessing: Preprocessing
    ) -> None:
        images, self.samples = [], []
        for sample in tqdm(samples, desc=f"reading {source.name}", unit="image", mininterval=5):
            try:
                images.append(preprocessing(source.load(sample)).half())
            except UnreadableImage as error:
                sys.stderr.write(f"skipped: {error}\n")
            else:
                self.samples.append(sample)
        if not images:
            raise ValueError(f"expected readable images in {source.name}, got none; see above")
        self.images = torch.stack(images)
        self.labels = [source.classes.index(str(sample.label)) for sample in self.samples]

    def keep(self, wanted: Callable[[Sample], bool]) -> None:
        """Let go of all images but those of the samples wanted."""
        rows = [row for row, sample in enumerate(self.samples) if wanted(sample)]
        self.images = self.images[rows]
        self.samples = [self.samples[row] for row in rows]
        self.labels = [self.labels[row] for row in rows]

    def __len__(self) -> int:
        """Number of images that could be read."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "1 h w"], int]:
        """Return an image in [0, 1] and the index of its class."""
        return self.images[index].float(), self.labels[index]


class Films(lightning.LightningDataModule):
    """Training and validation images (or codes) of a bundle, for any of its models."""

    def __init__(self, train: Dataset, val: Dataset, schedule: Schedule, workers: int = 0) -> None:
        super().__init__()
        self.train, self.val = train, val
        self.schedule, self.workers = schedule, workers

    def train_dataloader(self) -> DataLoader:
        """In batches of one size, in an order that depends on nothing but seed and epoch."""
        assert self.trainer is not None
        processes = self.trainer.world_size
        order = DistributedSampler(
            self.train, processes, self.trainer.global_rank, seed=self.schedule.seed
        )
        whole = len(order) >= self.schedule.batch_size
        return self._loader(self.train, order, drop_last=whole)

    def val_dataloader(self) -> DataLoader:
        """In order, all of them."""
        return self._loader(self.val)

    def _loader(
        self, images: Dataset, order: Sampler | None = None, *, drop_last: bool = False
    ) -> DataLoader:
        return DataLoader(
            images,
            self.schedule.batch_size,
            sampler=order,
            drop_last=drop_last,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
