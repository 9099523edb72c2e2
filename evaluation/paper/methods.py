"""The methods section: which images and models, how it was searched, how it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from evaluation.measured import Measured
from evaluation.paper.measuring import compared, measured
from evaluation.paper.prose import Cite, Prose, counted, listed, square
from evaluation.paper.searches import all_described
from evaluation.runs import read_forms
from evaluation.summary import ALL, CORRECT

_INTERPOLATED = {"bilinear": "bilinearly", "bicubic": "bicubically"}
_ASPECTS = {"pad": "padded to a square", "stretch": "stretched to a square", "crop": "cropped to "
            "the central square"}  # fmt: skip


def methods(runs: Sequence[Measured], warnings: Sequence[str] = ()) -> list[Prose]:
    """Return the section's paragraphs: images and models, one a search, measures, limitations.

    Args:
        runs: evaluated; the first is the one that the paper is about.
        warnings: what is to be known of them, see `evaluation.compare.warnings_of`.
    """
    first = runs[0]
    searches = all_described({**run.run.config, "forms": read_forms(run.run.path)} for run in runs)
    limits: list[Prose] = [[f"Limitations: {' '.join(warnings)}"]] if warnings else []
    return [_asked(first), *searches, measured(first), *compared(runs), *limits]


def _asked(run: Measured) -> Prose:
    config, summary = run.run.config, run.summary
    samples = counted(summary["samples"], "image")
    patients = summary["patients"]
    whose = "" if patients is None else f" of {counted(patients, 'patient')}"
    of = f", split '{config['split']}'" if config.get("split") else ""
    data = config.get("data") or listed([str(path) for path in config.get("pairs") or ["pairs"]])
    return [
        f"Counterfactuals of {samples}{whose} of '{PurePath(str(data)).name}'{of}",
        *_data_cites(str(data), str(config.get("bundle"))),
        f" were sought for the classifier of the bundle '{PurePath(str(config['bundle'])).name}', "
        f"which tells {listed([str(name) for name in config.get('classes') or []])} apart"
        f"{_own_classifier(config)}{_hash(config)}. ",
        *_preprocessing(config),
        _chosen(config),
        *_goal(config),
        _numbers(run),
        _tools(config),
    ]


def _data_cites(data: str, bundle: str) -> Prose:
    if data.startswith("pneumoniamnist"):
        return [Cite(["yang2023"]), ","]
    trained = PurePath(bundle).name.startswith("kermany")
    if trained:
        return [", with models trained on the X-rays of Kermany et al.", Cite(["kermany2018"]), ","]
    return [", chest phantoms drawn by a procedure,"] if data.startswith("phantom") else []


def _own_classifier(config: Mapping) -> str:
    own = config.get("classifier")
    return f" ('{PurePath(str(own)).name}' in the place of the bundle's own)" if own else ""


def _hash(config: Mapping) -> str:
    known = (config.get("weights") or {}).get("classifier")
    return f" (sha256 of its weights {str(known)[:12]})" if known else ""


def _preprocessing(config: Mapping) -> Prose:
    known = config.get("preprocessing") or {}
    if not known:
        return []
    size = known["size"]
    scaled = {
        "full": "grey levels kept the scale of the file's bit depth",
        "minmax": "grey levels were stretched to the image's own range",
        "percentile": "grey levels were stretched to the 0.5th to 99.5th percentile",
    }[known.get("intensity", "full")]
    return [
        f"Images were {_ASPECTS[known.get('aspect', 'pad')]}, resized "
        f"{_INTERPOLATED[known.get('interpolation', 'bilinear')]} with antialiasing to ",
        square(size),
        f" pixels; {scaled}. ",
    ]


def _chosen(config: Mapping) -> str:
    if config.get("command") != "search":
        return ""
    limit = config.get("limit")
    which = "All images were taken" if limit is None else f"At most {limit:,} images were taken"
    return f"{which}, the classes in turn and in the order of hashed file names. "


def _goal(config: Mapping) -> Prose:
    if "confidence" not in config:
        return []
    target = config.get("target")
    classes = config.get("classes") or []
    default = "the class not predicted" if len(classes) == 2 else "the runner-up class"
    aim = f"'{target}'" if target else default
    draws = int(config.get("draws") or 1)
    drawn = "" if draws == 1 else f", with {draws} counterfactuals of each image"
    bound = float(config.get("bound") or 1)
    bounded = "" if bound == 1 else f", no pixel changing by more than {bound:g}"
    masked = "" if config.get("mask") is None else ", within a mask"
    return [
        f"The target was {aim}{drawn}; a search ended once the probability of the target, "
        "calibrated by temperature scaling",
        Cite(["guo2017"]),
        f", reached {config['confidence']:g}{bounded}{masked}. ",
    ]


def _numbers(run: Measured) -> str:
    summary = run.summary
    attempted, correct = (summary["subsets"][name]["n"] for name in (ALL, CORRECT))
    skipped = summary["skipped"]
    unread = "" if not skipped else f"; {counted(skipped, 'further file')} could not be read"
    return (
        f"Of these images {attempted:,} were not at their target to begin with, {correct:,} of "
        f"which the classifier assigned to their label{unread}. "
    )


def _tools(config: Mapping) -> str:
    known = config.get("versions") or {}
    versions = listed([f"{name} {version}" for name, version in known.items()])
    seed = f", with seed {config['seed']}" if "seed" in config else ""
    return f"This was done by {versions}{seed}." if versions else ""
