"""A bundle: the models that belong together, and how a file becomes an image for them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import yaml
from torch import nn

from cfgen.models.adapters import adapted_hash, is_description, load_adapted
from cfgen.models.autoencoder import Autoencoder, load_autoencoder
from cfgen.models.classifier import Classifier, import_classifier, load_classifier
from cfgen.models.prior import Prior, load_prior
from cfgen.models.saving import weights_hash
from cfgen.models.segmenter import Segmenter, load_segmenter

Model = TypeVar("Model", bound=nn.Module)

_SEARCHED_WITH = ("classifier", "autoencoder", "prior", "segmenter")
BORDER = "border"
"""Name of the judge that sees only what is outside the lungs."""


@dataclass(frozen=True)
class Bundle:
    """A folder of models; each is loaded when asked for.

    BUNDLE/{classifier, classifiers/NAME, judges/NAME, development/NAME, autoencoder,
    prior, segmenter}. A judge may also be described: BUNDLE/judges/NAME.yaml, see
    `cfgen.models.adapters`.

    Attributes:
        path: the folder.
        classes: names, in the order of the classifiers' logits.
        preprocessing: keyword arguments of `cfgen.data.preprocessing.Preprocessing`.
        own_classifier: what stands in for the bundle's classifier, see `load_bundle`.
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
        name = self.own_classifier
        if name and is_description(name):
            return self._place(load_adapted(Path(name), self.classes))
        if name and ":" in name:
            return self._place(import_classifier(name, self.classes, self.size))
        folder = self._classifier_folder(name)
        found = load_classifier(folder)
        if found.classes != self.classes:
            raise ValueError(
                f"expected the classes of bundle.yaml, {', '.join(self.classes)}, got "
                f"{', '.join(found.classes)} in {folder}; do put a classifier of this bundle there"
            )
        return self._place(found)

    def _classifier_folder(self, name: str | None) -> Path:
        if not name:
            return self.path / "classifier"
        if "/" in name:
            return Path(name)
        folder = self.path / "classifiers" / name
        if not folder.is_dir():
            known = sorted(path.name for path in folder.parent.glob("*/"))
            raise ValueError(
                f"expected --classifier package.module:function, a path with a slash in it, a "
                f"YAML file, or one of {folder.parent} ({', '.join(known) or 'none there'}), got "
                f"{name!r}"
            )
        return folder

    @cached_property
    def judges(self) -> dict[str, Classifier]:
        """The judges that results are reported with, by name, but for the border's."""
        return {name: judge for name, judge in self._reporting.items() if name != BORDER}

    @cached_property
    def border(self) -> Classifier | None:
        """The judge that sees only what is outside the lungs, where there is one.

        It counts for no verdict: it measures how much of a change the data's confounders explain.
        """
        return self._reporting.get(BORDER)

    @cached_property
    def development(self) -> dict[str, Classifier]:
        """The judges that methods are chosen by, by name."""
        return self._judges("development")

    @cached_property
    def _reporting(self) -> dict[str, Classifier]:
        return self._judges("judges")

    def _judges(self, folder: str) -> dict[str, Classifier]:
        found = load_judges(self.path / folder)
        return {name: self._place(judge) for name, judge in found.items()}

    @cached_property
    def autoencoder(self) -> Autoencoder:
        """The autoencoder."""
        return self._place(load_autoencoder(self.path / "autoencoder"))

    @cached_property
    def prior(self) -> Prior:
        """The generative prior of the autoencoder's codes."""
        return self._place(load_prior(self.path / "prior"))

    @cached_property
    def segmenter(self) -> Segmenter:
        """The segmenter of the lungs."""
        return self._place(load_segmenter(self.path / "segmenter"))

    def _place(self, model: Model) -> Model:
        nn.Module.to(model, self.device)  # diffusers' own `to` hides its types
        return model

    def has(self, part: str) -> bool:
        """Whether a part, such as 'prior', is there."""
        return (self.path / part / "config.json").is_file()

    @property
    def size(self) -> int:
        """Height and width of the images."""
        return int(self.preprocessing["size"])

    def weights(self) -> dict[str, str]:
        """Sha256 of the weights of every model there is, by its folder."""
        found = {file.parent for file in self.path.rglob("config.json")}
        for panel in ("judges", "development"):
            found |= set(find_judges(self.path / panel).values())
        folders = {one: one.with_suffix("") if is_description(one) else one for one in found}
        return {
            folders[one].relative_to(self.path).as_posix(): model_hash(one) for one in sorted(found)
        }

    def searched_with(self) -> dict[str, str]:
        """Sha256 of the weights that a search depends on: of no judge, but of the one explained."""
        found = {part: known for part, known in self.weights().items() if part in _SEARCHED_WITH}
        own = self.own_classifier
        if own and is_description(own):
            found["classifier"] = model_hash(Path(own))
        elif own and ":" not in own:
            found["classifier"] = model_hash(self._classifier_folder(own))
        return found


def find_judges(path: Path) -> dict[str, Path]:
    """Where every judge of a folder is, by name: DIR/NAME, or described by DIR/NAME.yaml.

    Raises:
        ValueError: two judges have the same name.
    """
    folders = [file.parent for file in Path(path).glob("*/config.json")]
    described = [file for file in Path(path).glob("*.y*ml") if is_description(file)]
    found: dict[str, Path] = {folder.name: folder for folder in folders}
    for file in described:
        if file.stem in found:
            raise ValueError(
                f"expected judges of different names in {path}, got {file.name} beside "
                f"{found[file.stem].name}; do rename one"
            )
        found[file.stem] = file
    return dict(sorted(found.items()))


def load_judges(path: Path) -> dict[str, Classifier]:
    """Load every judge of a folder, by name, see `find_judges`."""
    return {
        name: load_adapted(one) if is_description(one) else load_classifier(one)
        for name, one in find_judges(path).items()
    }


def model_hash(path: Path) -> str:
    """Sha256 of a model's weights: a saved model's folder, or a classifier's YAML file."""
    return adapted_hash(path) if is_description(path) else weights_hash(path)


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
        classifier: what stands in for the bundle's classifier: `package.module:function`, the
            YAML file of one that cfgen did not train (`cfgen.models.adapters`), the name of a
            folder in BUNDLE/classifiers, or the path (with a slash in it) of a saved one.
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
    return Bundle(path, classes, preprocessing, classifier and _lasting(classifier), device)


def _lasting(classifier: str) -> str:
    """Name the path of a classifier so that it is found from any directory."""
    path = Path(classifier).expanduser()
    named = is_description(path) or "/" in classifier
    return str(path.resolve()) if named and path.exists() else classifier
