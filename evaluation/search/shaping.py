"""The forms of a run's networks: chosen when a long run begins, and the same to its end."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import nn

from cfgen.data.pixels import UnreadableImage
from cfgen.models.bundle import Bundle
from cfgen.models.forms import FORMS, LEAST_COMPILED, network_of, place, shaped
from evaluation.runs import read_forms, write_forms
from evaluation.search.probe import pass_of, probe
from evaluation.search.ranks import Ranks
from evaluation.search.reading import read_ahead
from evaluation.search.sizes import out_of_memory
from evaluation.search.work import Work

_LOG = logging.getLogger(__name__)

LONG = 1024
"""Images of a process from which on a run is long enough for a probe: to see how often the networks
are asked it searches `evaluation.search.probe.REHEARSED` of them, less than a hundredth."""
PROBED = 32
"""Images at most that a probe makes a pass of: in larger batches an image hardly costs less."""
WITH_GRADIENT = ("classifier", "decoder")
"""The networks that most methods ask for a gradient."""


def shape(
    work: Work, own: Sequence[object], finished: Collection[int], width: int, ranks: Ranks
) -> None:
    """Give the networks the forms of the run.

    A run that was begun with some goes on with them. Where one begins that is long, the first
    process chooses for all; any other stays as loaded.

    Args:
        work: what is to be done.
        own: this process's share of it; with nothing to do it gives its networks no forms.
        finished: ids of the samples that have been searched.
        width: images that are asked about at once.
        ranks: the processes.

    Raises:
        ValueError: forms that change results cannot be had here.
    """
    recorded = None if ranks.rank else read_forms(work.out)
    each = len(work.samples) // ranks.world
    if not ranks.rank and recorded is None and not finished and each >= LONG:
        ranks.share(_chosen(work, min(width, PROBED), each))
        return
    with ranks.agreeing():
        forms = ranks.share(recorded or {})
        if own:
            put_on(work.task.models, forms, min(width, LEAST_COMPILED))


def _chosen(work: Work, batch: int, each: int) -> dict[str, list[str]]:
    """Choose forms by the first images of a run, and write them down."""
    read = next(read_ahead(work.source, [work.samples[:batch]], work.prepare))
    ready = [(one.id, image) for one, image in read if not isinstance(image, UnreadableImage)]
    forms: dict[str, list[str]] = {}
    if ready:
        ids, images = zip(*ready, strict=True)
        given = torch.stack(images).to(work.task.models.device)
        try:
            forms = probe(work.task, given, torch.tensor(ids), each)
        except Exception as error:
            if not out_of_memory(error):
                raise
            # The run goes on in smaller batches, as it would have without a probe.
            _LOG.warning("not enough memory to try forms of the networks: they stay as loaded")
    write_forms(work.out, forms)
    return forms


def put_on(bundle: Bundle, forms: Mapping[str, Sequence[str]], width: int) -> None:
    """Give the networks of a bundle some forms; an exact one that cannot be had here is left out.

    Args:
        bundle: of the networks.
        forms: of each.
        width: images that a network is tried with.

    Raises:
        ValueError: one that changes results cannot be had here.
    """
    for part, names in forms.items():
        for name in names:
            network = network_of(bundle, part)
            try:
                _try(bundle, part, shaped(network, [name]), width)
            except Exception as error:
                place(bundle, part, network)
                said = " ".join(str(error).split())[:300]
                if not FORMS[name].exact:
                    raise ValueError(
                        f"expected the {part} to be had in the form {name}, in which the run was "
                        f"begun, got {said}; go on where it was begun, or search again into "
                        "another folder"
                    ) from error
                _LOG.warning("the %s goes on without the form %s: %s", part, name, said)


def _try(bundle: Bundle, part: str, network: nn.Module, width: int) -> None:
    """Put a network in its place and ask it of a batch: what is compiled fails only then."""
    blank = torch.full((width, 1, bundle.size, bundle.size), 0.5, device=bundle.device)
    pass_of(bundle, part, gradient=part in WITH_GRADIENT, images=blank).ask(network)
