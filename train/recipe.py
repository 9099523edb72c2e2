"""The recipe of a bundle: everything that training reads, as one YAML file says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cfgen.data.preprocessing import Preprocessing
from cfgen.models.views import View


@dataclass(frozen=True)
class Augmentation:
    """Random changes of the training images; each is drawn anew for every image.

    Attributes:
        rotation: at most so many degrees either way.
        translation: at most this share of the image's side.
        scale: at most this much larger or smaller, as a share.
        brightness: at most this much added.
        contrast: factor up to 1 + this or down to its inverse.
        gamma: exponent up to 1 + this or down to its inverse.
        blur: Gaussian, with a sigma of at most so many pixels. A classifier that has never seen
            blur takes the autoencoder's for a finding.
        noise: Gaussian, with a standard deviation of at most this.
    """

    rotation: float = 8.0
    translation: float = 0.05
    scale: float = 0.1
    brightness: float = 0.08
    contrast: float = 0.2
    gamma: float = 0.2
    blur: float = 0.0
    noise: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a model learns.

    Attributes:
        epochs: at most.
        batch_size: of one process.
        learning_rate: the highest, after a warm-up and before a cosine decay to zero.
        weight_decay: of AdamW.
        ema: decay of the weights' moving average, which is what gets saved.
        patience: epochs without a better validation loss after which training stops.
        seed: of initial weights, order and augmentation.
    """

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    ema: float = 0.998
    patience: int = 10
    seed: int = 0


@dataclass(frozen=True)
class Robust:
    """Fine-tuning on images that the model itself is attacked with, see `train.robust`.

    Attributes:
        start: the part of the bundle whose weights it starts from; of the same architecture.
        pixel: step of the attack on pixels, in units of the image.
        latent: step of the attack on the autoencoder's code, in standard deviations of codes.
        share: of each batch that is attacked, half in pixels and half in the code.
    """

    start: str = "classifier"
    pixel: float = 0.01
    latent: float = 0.1
    share: float = 2 / 3


@dataclass(frozen=True)
class ClassifierRecipe:
    """A classifier or judge.

    Attributes:
        architecture: see `cfgen.models.networks.build_network`.
        widths: channels a stage, for the compact residual network.
        view: what it sees of an image, see `cfgen.models.classifier.Classifier`; all but 'whole'
            need BUNDLE/segmenter to be there.
        half: which half of the training patients it learns from, see
            `cfgen.data.splits.half_of`; '' for all. A model of half 'a' and one of half 'b' have
            no patient in common; one of a half and one of all patients have.
        robust: makes it a robust fine-tuning of another part, which needs BUNDLE/autoencoder.
        remark: what else the card is to say of this very model.
    """

    architecture: str = "compact-resnet"
    widths: list[int] | None = None
    view: View = "whole"
    half: Literal["", "a", "b"] = ""
    robust: Robust | None = None
    remark: str = ""
    schedule: Schedule = field(default_factory=Schedule)
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True)
class AutoencoderRecipe:
    """The autoencoder and the terms of its loss.

    Attributes:
        patch: pixels to a side of a patch that becomes channels.
        widths: channels at each resolution.
        latent_channels: channels of the code.
        layers: residual blocks at each resolution.
        reconstruction: mean absolute or mean squared error.
        kl: weight of the Kullback-Leibler term.
        perceptual: weight of the distance in the features of the bundle's own classifier.
        adversarial: weight of the patch discriminator's term; 0 trains without one.
        remark: what else the card is to say of this very model.
    """

    patch: int = 4
    widths: list[int] = field(default_factory=lambda: [64, 96])
    latent_channels: int = 8
    layers: int = 1
    reconstruction: Literal["l1", "l2"] = "l1"
    kl: float = 1e-6
    perceptual: float = 0.1
    adversarial: float = 0.0
    remark: str = ""
    schedule: Schedule = field(default_factory=lambda: Schedule(batch_size=16, weight_decay=0.0))
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True)
class PriorRecipe:
    """The generative prior of the autoencoder's codes.

    Attributes:
        widths: channels at each resolution of the U-Net.
        layers: residual blocks at each resolution.
        class_dropout: share of the training codes that are shown without their class, so that
            the prior can be guided (Ho and Salimans 2021).
        sample_every: epochs between the sheets of samples in the log.
        remark: what else the card is to say of this very model.
    """

    widths: list[int] = field(default_factory=lambda: [64, 128])
    layers: int = 2
    class_dropout: float = 0.15
    sample_every: int = 10
    remark: str = ""
    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            epochs=60, learning_rate=6e-4, weight_decay=0.0, ema=0.998, patience=60
        )
    )


@dataclass(frozen=True)
class SegmenterRecipe:
    """The segmenter of the lungs.

    Attributes:
        side: height and width at which the network works.
        widths: channels at each resolution of the U-Net, multiples of 4.
        phantoms: how many are drawn to learn on.
        rounds: epochs of each round of self-training on the bundle's own films, which follow the
            schedule's epochs on phantoms. Bundles of phantoms need none.
        remark: what else the card is to say of this very model.
    """

    side: int = 64
    widths: list[int] = field(default_factory=lambda: [8, 16, 32, 64])
    phantoms: int = 3000
    rounds: list[int] = field(default_factory=lambda: [3, 3])
    remark: str = ""
    schedule: Schedule = field(default_factory=lambda: Schedule(epochs=8, learning_rate=3e-3))
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(
            rotation=12.0,
            translation=0.12,
            scale=0.3,
            brightness=0.15,
            contrast=0.6,
            gamma=0.6,
            blur=1.2,
            noise=0.05,
        )
    )


Section = ClassifierRecipe | AutoencoderRecipe | PriorRecipe | SegmenterRecipe


@dataclass(frozen=True)
class TrainerSettings:
    """Where and how Lightning runs; the names are those of `lightning.Trainer`.

    Attributes:
        max_steps: optimiser steps after which training stops in any case; -1 for no such limit. The
            rate is that of all epochs; an epoch that is cut short is learned anew if taken up.
        compile: whether the network goes through `torch.compile`.
        tensorboard: whether to log for TensorBoard too (needs `cfgen[tensorboard]`).
        workers: processes that load data.
    """

    accelerator: str = "auto"
    devices: int | Literal["auto"] = "auto"
    num_nodes: int = 1
    strategy: str = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accumulate_grad_batches: int = 1
    max_steps: int = -1
    compile: bool = False
    tensorboard: bool = False
    workers: int = 0


@dataclass(frozen=True)
class Recipe:
    """Everything that makes a bundle; each command trains one part of it.

    Attributes:
        bundle: folder of the bundle.
        data: a class-folder tree, a CSV table, a MedMNIST archive or 'phantom'.
        classes: names of the classes; None for those found in the data.
        borrows: name of the bundle beside this one whose parts, such as judges, stand in for those
            that this one has not; '' for none.
        classifier: the classifier to be explained.
        classifiers: further ones to explain, by name; 'robust' goes to BUNDLE/classifiers/robust.
        judges: those that results are reported with, by name; never attacked, never chosen by.
        development: those that methods are chosen by, on validation images.
        logs: folder for logs and for the checkpoints to resume from.
        card: what the model cards say of data, licence and citation.
    """

    bundle: Path
    data: str
    classes: list[str] | None = None
    borrows: str = ""
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    classifier: ClassifierRecipe = field(default_factory=ClassifierRecipe)
    classifiers: dict[str, ClassifierRecipe] = field(default_factory=dict)
    judges: dict[str, ClassifierRecipe] = field(default_factory=dict)
    development: dict[str, ClassifierRecipe] = field(default_factory=dict)
    autoencoder: AutoencoderRecipe = field(default_factory=AutoencoderRecipe)
    prior: PriorRecipe = field(default_factory=PriorRecipe)
    segmenter: SegmenterRecipe = field(default_factory=SegmenterRecipe)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    logs: Path = Path("logs")
    card: str = "Data: the user's own."

    def __post_init__(self) -> None:
        """Refuse a name that would mean two judges.

        Raises:
            ValueError: a judge of the panel and one for development share it.
        """
        both = sorted(self.judges.keys() & self.development.keys())
        if both:
            raise ValueError(
                f"expected judges and development to share no name, got {', '.join(both)} in both; "
                "do rename one, for what methods are chosen by cannot report on them"
            )

    def section(self, part: str) -> Section:
        """What the recipe says of a part of the bundle, such as 'classifier' or 'judges/NAME'.

        A stage of a part's training, such as 'segmenter/round-1', has the section of the part.

        Raises:
            ValueError: it says nothing of this part.
        """
        folder, _, name = part.partition("/")
        found = getattr(self, folder)
        if not name or not isinstance(found, dict):
            return found
        if name not in found:
            raise ValueError(
                f"expected one of the {folder} that the recipe describes "
                f"({', '.join(found) or 'none'}), got {name!r}; do name one or describe it there"
            )
        return found[name]
