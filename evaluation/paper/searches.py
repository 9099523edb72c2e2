"""A sentence or two on how each method searches, with the settings of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from evaluation.paper.prose import Cite, Formula, Prose, counted, square
from evaluation.paper.references import EDITS, METHODS

_DISTANCES: Mapping[str, Prose] = {
    "l1": ("the sum of the absolute changes of the pixels",),
    "l2": ("the Euclidean norm of the change of the pixels",),
    "squared-l2": ("the squared Euclidean norm of the change of the pixels",),
    "elastic": ("a smoothed elastic net of the change of the pixels", Cite(["chen2018"])),
}
_DECODINGS: Mapping[str, Prose] = {
    "residual": (
        " Codes were decoded residually, ",
        Formula("x' = clip(x + D(z') - D(z))", r"$x' = \mathrm{clip}(x + D(z') - D(z))$"),
        " with the decoder D and the code z of the image x, so that an unchanged code gives back "
        "the image itself.",
    ),
    "plain": (" Codes were decoded plainly, ", Formula("x' = D(z')", "$x' = D(z')$"), "."),
}


def all_described(configs: Iterable[Mapping]) -> list[Prose]:
    """Return how each run's method searches; what was said of an earlier one is not repeated."""
    found: list[Prose] = []
    said: set[Prose] = set()
    for prose in dict.fromkeys(tuple(described(config)) for config in configs):
        decoding = next((one for one in _DECODINGS.values() if prose[-len(one) :] == one), ())
        found.append(prose[: -len(decoding)] if decoding and decoding in said else prose)
        said.add(decoding)
    return found


def described(config: Mapping) -> Prose:
    """Return how a run's method searches.

    Args:
        config: as in config.yaml, and under 'forms' what forms.yaml holds where there is one. A
            run of another tool's pairs has no settings.
    """
    method, settings = str(config.get("method")), config.get("settings")
    if method not in _WORDS or not settings:
        return [
            f"The counterfactuals of {method} were made by another tool and measured as they are."
        ]
    most = config.get("evaluations")
    asked = f", which asked the classifier {most} times of an image at most," if most else ""
    return [f"The search '{method}'{asked} ", *_WORDS[method](config, settings)]


def _pixel(_config: Mapping, settings: Mapping) -> Prose:
    return ["moved the pixels", *_adam(settings)]


def _latent(_config: Mapping, settings: Mapping) -> Prose:
    return [
        "moved the code of an autoencoder",
        Cite(METHODS["latent"][1:]),
        *_adam(settings),
        *_DECODINGS[settings["decoding"]],
    ]


def _latent_boundary(_config: Mapping, settings: Mapping) -> Prose:
    return [
        "moved the code of an autoencoder",
        Cite(METHODS["latent-boundary"][1:]),
        " by steps to where the linearised log-odds of the target reach their bar",
        Cite(METHODS["latent-boundary"][:1]),
        f", each longer by {settings['overshoot']:g}, at most "
        f"{counted(settings['steps'], 'step')}, and halved the way back between the last code "
        f"that failed and the first that held {counted(settings['halvings'], 'time')}.",
        *_DECODINGS[settings["decoding"]],
    ]


def _latent_shift(_config: Mapping, settings: Mapping) -> Prose:
    return [
        "moved the code of an autoencoder",
        Cite(METHODS["latent-shift"][1:]),
        " along the gradient of the target's log-odds at the image",
        Cite(METHODS["latent-shift"][:1]),
        *_line(settings),
    ]


def _class_mean(_config: Mapping, settings: Mapping) -> Prose:
    return [
        "moved the code of an autoencoder",
        Cite(METHODS["class-mean"]),
        " along the difference of the mean codes of the two classes in the training images, a "
        "control that knows nothing of the image",
        *_line(settings),
    ]


def _prior(config: Mapping, settings: Mapping) -> Prose:
    segmented = "segmenter" in (config.get("weights") or {})
    where: Prose = (
        [
            "with strength 1 in the lungs, segmented by a U-Net",
            Cite(["ronneberger2015"]),
            f", and {settings['outside']:g} outside,",
        ]
        if segmented
        else ["with the same strength everywhere,"]
    )
    return [
        *_edit(settings["edit"]),
        " It was scaled, ",
        *where,
        f" to an SSIM of {settings['budget']:g} between the image and its edited version",
        Cite(["wang2004"]),
        ". ",
        *_precision(config.get("forms") or {}),
        *_steps(settings),
        *_DECODINGS[settings["decoding"]],
    ]


def _precision(forms: Mapping) -> Prose:
    """What a run's probe chose is told where it changes results beyond rounding."""
    halved = "autocast" in forms.get("prior", ())
    return ["The diffusion model was evaluated in bfloat16. "] if halved else []


def _edit(name: str) -> Prose:
    model = [
        "a class-conditional latent diffusion model of the codes of an autoencoder",
        Cite(METHODS["prior"]),
        ", trained without the classifier",
    ]
    cite = Cite(EDITS.get(name, ()))
    if name == "delta-denoising":
        return ["began with an edit that climbs, by delta denoising", cite, ", the contrast of the "
                "two classes in ", *model, "."]  # fmt: skip
    if name == "opposite":
        return ["began, as a control, with the reverse of the edit that delta denoising", cite,
                " finds in ", *model, "."]  # fmt: skip
    if name == "paired-residual":
        return ["began with the difference of two guided denoisings from the same noise", cite,
                ", as target and as source, by ", *model, "."]  # fmt: skip
    control = {
        "class-mean": "the difference of the mean codes of the two classes",
        "random": "a smooth random change of the code",
    }
    return [f"began, as a control, with {control[name]}."]


def _steps(settings: Mapping) -> Prose:
    if settings["steps"] == 0:
        return ["The classifier was not asked where to use it: the edit itself is the result."]
    return [
        "The classifier then chose where to use it: a field of ",
        square(settings["grid"]),
        f" strengths from 0 to {settings['strongest']:g} was moved by at most "
        f"{counted(settings['steps'], 'normalised step')}, each {settings['step_size']:g} of the "
        f"field's first length, with momentum {settings['momentum']:g}, to minimise ",
        *_objective(settings),
    ]


def _objective(settings: Mapping) -> Prose:
    weight = f"{settings['weight']:g}"
    return [
        Formula(
            f"-log p(target) + {weight} d(x, x')",
            rf"$-\log p(\mathrm{{target}}) + {weight}\,d(x, x')$",
        ),
        " for the image x and its counterfactual x', with d ",
        *_DISTANCES[settings["distance"]],
        ".",
    ]


def _adam(settings: Mapping) -> Prose:
    return [
        " by Adam",
        Cite(["kingma2015"]),
        f", with a step size of {settings['step_size']:g} and for at most "
        f"{counted(settings['steps'], 'step')}, to minimise",
        Cite(METHODS["pixel"]),
        " ",
        *_objective(settings),
    ]


def _line(settings: Mapping) -> Prose:
    return [
        f". The strength began at {settings['first']:g}, grew by a factor of "
        f"{settings['growth']:g} and was then bisected, for at most "
        f"{counted(settings['steps'], 'strength')} in all.",
        *_DECODINGS[settings["decoding"]],
    ]


_WORDS: Mapping[str, Callable[[Mapping, Mapping], Prose]] = {
    "prior": _prior,
    "pixel": _pixel,
    "latent": _latent,
    "latent-boundary": _latent_boundary,
    "latent-shift": _latent_shift,
    "class-mean": _class_mean,
}
