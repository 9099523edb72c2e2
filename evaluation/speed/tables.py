"""The contest's tables, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evaluation.passes import KINDS
from evaluation.speed.contest import Contest, Found
from evaluation.speed.contestants import ORIGIN, SHIFT
from evaluation.speed.limit import BATCHES
from evaluation.speed.spent import OTHER, PARTS
from evaluation.tables import markdown, number

TARGET = 1.15
"""Search time over its limit that is aimed at."""


def results_table(contests: Sequence[Contest]) -> str:
    """Write what each contestant takes and finds; the times of every device side by side."""
    shift = contests[0].entry(SHIFT).found
    rows = [
        {"method": entry.contestant.name, "batch": str(entry.contestant.batch)}
        | _times(contests, place)
        | _found(entry.found, shift)
        for place, entry in enumerate(contests[0].entries)
    ]
    return markdown(rows, tuple(rows[0]))


def _times(contests: Sequence[Contest], place: int) -> dict[str, str]:
    cells = {}
    for one in contests:
        seconds = one.entries[place].seconds
        cells[f"ms an image, {one.device}"] = f"{1000 * seconds:.1f}"
        for name in (ORIGIN, SHIFT):
            ratio = one.entry(name).seconds / seconds
            cells[f"times as fast as {name}, {one.device}"] = number(ratio)
    return cells


def _found(found: Found, shift: Found) -> dict[str, str]:
    return {
        "valid": number(found.valid),
        "L2": number(found.l2),
        "L2 over latent-shift's": number(found.distance_over(shift)),
        "SSIM": number(found.ssim, 3),
        "evaluations": number(found.evaluations, 1),
        "decodes": number(found.decodes, 1),
        "prior passes": number(found.prior_passes, 1),
        "peak MiB": "-" if found.megabytes is None else f"{found.megabytes:.0f}",
    }


def limit_table(contests: Sequence[Contest]) -> str:
    """Write each contestant's passes an image, the least time for them, and how far it is off."""
    rows = []
    for place, entry in enumerate(contests[0].entries):
        row = {"method": entry.contestant.name}
        for kind in KINDS:
            row[kind] = number(entry.found.tally.passes[kind] / contests[0].images, 1)
        for one in contests:
            row[f"limit in ms, {one.device}"] = f"{1000 * one.limit(one.entries[place]):.1f}"
            batched = 1000 * one.as_batched(one.entries[place])
            row[f"as batched in ms, {one.device}"] = f"{batched:.1f}"
            row[f"search in ms, {one.device}"] = f"{1000 * min(one.entries[place].rounds):.1f}"
            row[f"of the limit, {one.device}"] = _marked(one.over_limit(one.entries[place]))
        rows.append(row)
    return markdown(rows, tuple(rows[0]))


def _marked(ratio: float) -> str:
    """Write a ratio, bold where it meets the target."""
    return f"**{number(ratio)}**" if round(ratio, 2) <= TARGET else number(ratio)


def cost_table(contest: Contest) -> str:
    """Write the ms an image of every kind of pass by batch size, the least in bold."""
    rows = []
    for kind in (kind for kind in KINDS if kind in contest.costs):
        costs = contest.costs[kind]
        best = min(costs, key=costs.__getitem__)
        cells = {
            str(size): f"**{1000 * cost:.2f}**" if size == best else f"{1000 * cost:.2f}"
            for size, cost in costs.items()
        }
        rows.append({"pass": kind} | cells)
    return markdown(rows, ("pass", *map(str, BATCHES)))


def spent_table(contest: Contest) -> str:
    """Write the share of every contestant's time by part, in percent."""
    parts = (*PARTS, OTHER)
    rows = [
        {"method": entry.contestant.name}
        | {part: _percent(entry.found.spent[part]) for part in parts}
        for entry in contest.entries
    ]
    return markdown(rows, ("method", *parts))


def _percent(share: float) -> str:
    return "-" if share == 0 or math.isnan(share) else f"{100 * share:.0f}"
