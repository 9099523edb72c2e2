"""A short probe of which forms of the networks a search is faster with on this machine."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cfgen.models.bundle import Bundle
from cfgen.models.forms import FORMS, network_of, place, shaped
from cfgen.models.prior import Prior
from cfgen.types import Codes, Images, Seeds
from evaluation.passes import GRADIENT, counting, networks
from evaluation.search.task import Task
from evaluation.timing import seconds_of

_LOG = logging.getLogger(__name__)

WORTH = 0.95
"""A form is kept where a pass takes at most this share of its time in the best forms before it."""
WORTH_CHANGE = 0.8
"""The same for a form that changes results beyond rounding."""
TRIAL = 1 - WORTH
"""A form is tried where that takes at most this share of the time that the run is expected to
spend in the network: then the least gain that is kept pays for the trial by the end of the run."""
COMPILING = 40.0
"""Seconds that compiling a network is taken to take."""
REPEATS = 4
"""Passes in each form, in turns, of which the least counts: what disturbs them can only add."""
REHEARSED = 8
"""Images that are searched to see how often a search asks each network."""
EXACT = 1e-3
"""How far an exact form's output may be off, at most, as a share of the largest output."""
CLOSE = 0.02
"""How far, in L2, a form that is not exact may be off, and the gradient of any: rounding moves a
ReLU to its other side here and there."""
ADDITIONS = (
    ("folded",),
    ("channels-last",),
    ("compiled",),
    ("autocast",),
    # Little alone, they may be much together: compiling takes the casts into the kernels.
    ("autocast", "compiled"),
)
"""What is tried on top of the best so far, one after the other."""

Forms = tuple[str, ...]
"""Names of forms, in the order in which they are put on."""


class Trial(NamedTuple):
    """What came of some forms.

    Attributes:
        share: time of a pass, as a share of that in the best forms before.
        agrees: whether the output is that of the network as loaded.
    """

    share: float
    agrees: bool


class Chosen(NamedTuple):
    """The forms that are best, and the network in these."""

    forms: Forms
    network: nn.Module


def choose(affordable: Forms, tried: Callable[[Forms, Forms], Trial | None]) -> Forms:
    """Choose forms one after the other: each is kept where it is worth it and changes nothing.

    Args:
        affordable: the forms that may be tried.
        tried: holds some forms against the best before; None where they cannot be made.

    Example:
        >>> shares = {("folded",): 0.9, ("folded", "compiled"): 0.97}
        >>> choose(("folded", "compiled"), lambda best, forms: Trial(shares[forms], agrees=True))
        ('folded',)
    """
    best: Forms = ()
    seen: set[Forms] = {best}
    for addition in ADDITIONS:
        forms = (*best, *(form for form in addition if form not in best))
        if forms in seen or not set(addition) <= set(affordable):
            continue
        seen.add(forms)
        trial = tried(best, forms)
        exact = all(FORMS[form].exact for form in forms[len(best) :])
        if trial and trial.agrees and trial.share <= (WORTH if exact else WORTH_CHANGE):
            best = forms
    return best


@dataclass(frozen=True)
class Pass:
    """A pass of one of a bundle's networks, as a search makes it.

    Attributes:
        bundle: of the networks.
        part: which one, a name in `cfgen.models.forms.PARTS`.
        gradient: whether a backward pass follows, for the gradient at what goes in.
        given: what goes in.
    """

    bundle: Bundle
    part: str
    gradient: bool
    given: Images | Codes

    def ask(self, network: nn.Module) -> tuple[Tensor, ...]:
        """Put a network in its place; return what comes out, and the gradient of |output|^2 / 2."""
        place(self.bundle, self.part, network)
        given = self.given.detach().requires_grad_(self.gradient)
        with torch.set_grad_enabled(self.gradient), warnings.catch_warnings():
            # What torch.compile meets in the code of others is nothing to tell who searches.
            warnings.simplefilter("ignore")
            output = _call(self.bundle, self.part)(given)
            if not self.gradient:
                return (output,)
            return (output.detach(), *torch.autograd.grad(output, given, output.detach()))

    def seconds(self, network: nn.Module) -> float:
        """How long it takes with a network."""
        device = torch.device(self.bundle.device).type
        return seconds_of(lambda: self.ask(network), device)


def pass_of(bundle: Bundle, part: str, gradient: bool, images: Images) -> Pass:
    """Make a pass of a part of a bundle from images."""
    if part in ("classifier", "encoder"):
        return Pass(bundle, part, gradient, images)
    with torch.no_grad():
        return Pass(bundle, part, gradient, bundle.autoencoder.encode(images))


def _call(bundle: Bundle, part: str) -> Callable[[Tensor], Tensor]:
    if part == "classifier":
        return bundle.classifier
    if part == "prior":
        return lambda codes: _velocity(bundle.prior, codes)
    return bundle.autoencoder.encode if part == "encoder" else bundle.autoencoder.decode


def _velocity(prior: Prior, codes: Codes) -> Codes:
    labels = torch.zeros(len(codes), dtype=torch.long, device=codes.device)
    return prior(codes, torch.full_like(labels, prior.steps // 2), labels)


def probe(task: Task, images: Images, seeds: Seeds, left: int) -> dict[str, list[str]]:
    """Choose the forms of each network that a search asks, and put them in their places.

    Args:
        task: the search.
        images: a batch of the run.
        seeds: of these.
        left: images that the process is going to search.

    Returns:
        The forms of each network that is asked.
    """
    asked = _asked(task, images[:REHEARSED], seeds[:REHEARSED])
    bundle, chosen = task.models, dict[str, Chosen]()
    for part in networks(bundle):
        gradient = asked.get(part + GRADIENT, 0) > 0
        passes = asked.get(part + GRADIENT if gradient else part, 0)
        if passes:
            one = pass_of(bundle, part, gradient, images)
            chosen[part] = probe_pass(one, passes * left / len(images))
    # Not before all are chosen: should memory not suffice on the way, all stay as loaded.
    for part, found in chosen.items():
        place(bundle, part, found.network)
    return {part: list(found.forms) for part, found in chosen.items()}


def _asked(task: Task, images: Images, seeds: Seeds) -> Mapping[str, float]:
    """Search some images; return how often each kind of pass was made for an image."""
    with counting(task.models) as tally:
        task.search(images, seeds)
    found: dict[str, float] = {}
    for (kind, size), calls in tally.calls.items():
        found[kind] = found.get(kind, 0) + calls * size / len(images)
    return found


def probe_pass(one: Pass, times: float) -> Chosen:
    """Choose the forms of one network, which stays in its place as loaded.

    Args:
        one: a pass of it.
        times: how often the run is expected to make it.
    """
    loaded = network_of(one.bundle, one.part)
    try:
        trials = _Trials(one, one.ask(loaded), {(): loaded})
        seconds = one.seconds(loaded)
        forms = choose(affordable(one.part, seconds, times * seconds), trials.hold)
    finally:
        place(one.bundle, one.part, loaded)
    return Chosen(forms, trials.made[forms])


@dataclass(frozen=True)
class _Trials:
    """Forms of a network held against one another.

    Attributes:
        one: the pass that is made in each.
        expected: what comes of it as loaded.
        made: the network in the forms that could be made.
    """

    one: Pass
    expected: tuple[Tensor, ...]
    made: dict[Forms, nn.Module]

    def hold(self, best: Forms, forms: Forms) -> Trial | None:
        """Hold some forms, which begin with the best so far, against those."""
        try:
            network = shaped(self.made[best], forms[len(best) :])
            trial = self._measured(self.made[best], network, forms)
        except Exception as error:  # of tracing, compiling, memory: whatever torch meets
            said = " ".join(str(error).split())[:300]
            _LOG.info("%s: %s cannot be had here: %s", self.one.part, " ".join(forms), said)
            return None
        self.made[forms] = network
        told = f"{trial.share:.2f} of the time" if trial.agrees else "left out, its output differs"
        _LOG.info("%s: %s: %s", self.one.part, " ".join(forms), told)
        return trial

    def _measured(self, best: nn.Module, network: nn.Module, forms: Forms) -> Trial:
        exact = all(FORMS[form].exact for form in forms)
        if not agrees(self.one.ask(network), self.expected, exact):
            return Trial(1.0, agrees=False)
        turns = [(self.one.seconds(best), self.one.seconds(network)) for _ in range(REPEATS)]
        before, after = (min(seconds) for seconds in zip(*turns, strict=True))
        return Trial(after / before, agrees=True)


def affordable(part: str, seconds: float, expected: float) -> Forms:
    """Return the forms of a network that may be tried.

    Args:
        part: of the bundle.
        seconds: of a pass as loaded.
        expected: seconds of all its passes in the run.

    Example:
        >>> affordable("prior", 0.1, 60.0), affordable("prior", 0.1, 3600.0)
        (('autocast',), ('autocast', 'compiled'))
    """
    trial = (1 + 2 * REPEATS) * seconds
    costs = {name: trial + COMPILING * (name == "compiled") for name in FORMS}
    return tuple(
        name
        for name, form in FORMS.items()
        if part in form.parts and costs[name] <= TRIAL * expected
    )


def agrees(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], exact: bool) -> bool:
    """Whether the output of a pass, and its gradient where there is one, are as expected.

    Args:
        found: output and gradient.
        expected: likewise.
        exact: whether they may differ by rounding only.
    """
    output, *gradients = zip(found, expected, strict=True)
    near = _farthest(*output) <= EXACT if exact else _distance(*output) <= CLOSE
    return near and all(_distance(*gradient) <= CLOSE for gradient in gradients)


def _farthest(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def _distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())
