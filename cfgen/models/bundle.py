"""A bundle: the models that belong together, and how a file becomes an image for them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import yaml
from torch import nn

from cfgen.models.autoencoder import Autoencoder, load_autoencoder
from cfgen.models.classifier import Classifier, import_classifier, load_classifier
from cfgen.models.saving import weights_hash
from cfgen.models.segmenter import Segmenter, load_segmenter

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Bundle:
    """A folder BUNDLE/{classifier, judges/NAME, autoencoder, segmenter}, each loaded on demand.

    Attributes:
        path: the folder.
        classes: names, in the order of the classifiers' logits.
        preprocessing: keyword arguments of `cfgen.data.preprocessing.Preprocessing`.
        own_classifier: `package.module:function` that stands in for the bundle's classifier.
        device: where its models live.
    """

    path: Path
    classes: tuple[str, ...]
    preprocessing: dict[str, str | int]
    own_classifier: str | None = None
    device: str = "cpu"

    @cached_property
    def classifier(self) -> Classifier:
        """The classifier to be explained."""
        if self.own_classifier:
            return self._place(import_classifier(self.own_classifier, self.classes, self.size))
        found = load_classifier(self.path / "classifier")
        if found.classes != self.classes:
            raise ValueError(
                f"expected the classes of bundle.yaml, {', '.join(self.classes)}, got "
                f"{', '.join(found.classes)} in {self.path / 'classifier'}; do put the classifier "
                "of this bundle there"
            )
        return self._place(found)

    @cached_property
    def judges(self) -> dict[str, Classifier]:
        """The judges by name; none where the bundle has none."""
        found = load_judges(self.path / "judges")
        return {name: self._place(judge) for name, judge in found.items()}

    @cached_property
    def autoencoder(self) -> Autoencoder:
        """The autoencoder."""
        return self._place(load_autoencoder(self.path / "autoencoder"))

    @cached_property
    def segmenter(self) -> Segmenter:
        """The segmenter of the lungs."""
        return self._place(load_segmenter(self.path / "segmenter"))

    def _place(self, model: Model) -> Model:
        nn.Module.to(model, self.device)  # diffusers' own `to` hides its types
        return model

    @property
    def size(self) -> int:
        """Height and width of the images."""
        return int(self.preprocessing["size"])

    def weights(self) -> dict[str, str]:
        """Sha256 of the weights of every model there is, by its folder."""
        found = sorted(self.path.rglob("config.json"))
        return {
            str(file.parent.relative_to(self.path)): weights_hash(file.parent) for file in found
        }


def load_judges(path: Path) -> dict[str, Classifier]:
    """Load every judge of a folder DIR/NAME, by name."""
    folders = sorted(file.parent for file in Path(path).glob("*/config.json"))
    return {folder.name: load_classifier(folder) for folder in folders}


def find_bundle(name: str | Path) -> Path:
    """Folder of a bundle: a path if there is a slash in it, else one of those shipped.

    Raises:
        ValueError: there is none.
    """
    library = Path(__file__).parents[1]
    # In an installation the bundles are inside the library, in a checkout beside it.
    shipped = [library / "checkpoints", library.parent / "checkpoints"]
    candidates = [Path(name)] if "/" in str(name) else [root / name for root in shipped]
    for candidate in candidates:
        if (candidate / "bundle.yaml").is_file():
            return candidate
    known = sorted({file.parent.name for root in shipped for file in root.glob("*/bundle.yaml")})
    raise ValueError(
        f"expected a bundle (a folder with bundle.yaml) in {candidates[-1]}, got none; do name a "
        f"shipped one ({', '.join(known) or 'none here'}) or give a path with a slash in it"
    )


def load_bundle(name: str | Path, classifier: str | None = None, device: str = "cpu") -> Bundle:
    """Open a bundle.

    Args:
        name: of a shipped bundle, or a path (with a slash in it).
        classifier: `package.module:function` that stands in for the bundle's classifier.
        device: where its models go.

    Raises:
        ValueError: there is no such bundle, or its bundle.yaml is not one.
    """
    path = find_bundle(name)
    try:
        described = yaml.safe_load((path / "bundle.yaml").read_text())
        classes, preprocessing = tuple(described["classes"]), dict(described["preprocessing"])
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise ValueError(
            f"expected classes and preprocessing in {path / 'bundle.yaml'}, got {error!r}; do "
            "restore the file or train the bundle again"
        ) from error
    return Bundle(path, classes, preprocessing, classifier, device)
