"""The benchmark of search: what it counts, its limit and its tables; no clock is asked."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch

from cfgen.goals import make_goal
from cfgen.methods import METHODS, search, settings_of
from cfgen.methods.settings import Descent
from cfgen.types import Outcome
from evaluation.passes import GRADIENT, KINDS, Tally, counting, forward_passes, networks
from evaluation.speed.contest import Contest, Entry, Found, contest
from evaluation.speed.contestants import ORIGIN, SHIFT, Contestant, contestants
from evaluation.speed.curve import BUDGETS, curve, curve_figure, curve_table, trace
from evaluation.speed.forms import forms
from evaluation.speed.limit import as_batched, limit, probe
from evaluation.speed.origin import origin_loop, origin_settings
from evaluation.speed.peak import peak_memory
from evaluation.speed.search import page
from evaluation.speed.spent import OTHER, PARTS, shares
from evaluation.speed.tables import cost_table, limit_table, results_table, spent_table

STEPS = 6


def cut(method):
    return replace(METHODS[method].settings, steps=STEPS)


@pytest.mark.parametrize("method", METHODS)
def test_the_passes_counted_are_those_that_a_search_says(bundle, phantoms, method):
    with counting(bundle) as tally:
        goal = make_goal(bundle.classifier, phantoms)
        found = search(bundle, goal, phantoms, method, cut(method))
    assert forward_passes(tally.passes, "classifier") == int(found.evaluations.sum())
    assert forward_passes(tally.passes, "decoder") == int(found.decodes.sum())
    assert tally.passes["prior"] == int(found.prior_passes.sum())
    assert set(+tally.passes) <= set(KINDS)


def test_backward_passes_are_counted_for_images_with_a_gradient_only(bundle, phantoms):
    asked = phantoms.clone().requires_grad_()
    with counting(bundle) as tally:
        bundle.classifier(phantoms)
        (bundle.classifier(asked)[:3] ** 2).sum().backward()
    assert tally.passes == {"classifier": len(phantoms) + 1, "classifier" + GRADIENT: 3}
    assert +tally.calls == {("classifier", 4): 1, ("classifier" + GRADIENT, 4): 1}


def test_nothing_is_counted_afterwards(bundle, phantoms):
    with counting(bundle) as tally:
        pass
    bundle.classifier(phantoms)
    assert not tally.passes
    assert not tally.calls
    assert all(not network._forward_hooks for network in networks(bundle).values())


def test_the_limit_is_the_sum_of_counts_at_the_best_cost():
    costs = {"classifier": {1: 4.0, 8: 1.0, 64: 2.0}, "decoder": {1: 0.5, 8: 0.75}}
    assert limit({"classifier": 3, "decoder": 2}, costs) == 3 * 1.0 + 2 * 0.5
    assert limit({}, costs) == 0
    with pytest.raises(ValueError, match="costs of all passes, got none of prior"):
        limit({"classifier": 1, "prior": 1}, costs)


def test_calls_cost_what_batches_of_their_sizes_cost():
    costs = {"prior": {1: 4.0, 8: 1.0, 64: 2.0}}
    assert as_batched({("prior", 1): 2, ("prior", 8): 1, ("prior", 64): 0}, costs) == 16.0
    assert as_batched({("prior", 36): 1}, costs) == pytest.approx((8 + 128) / 2)
    assert as_batched({("prior", 100): 1}, costs) == 200.0


def test_every_kind_of_pass_is_probed_at_every_size(bundle, phantoms):
    costs = probe(bundle, phantoms, (1, 6))
    assert set(costs) == set(KINDS)
    assert {tuple(sizes) for sizes in costs.values()} == {(1, 6)}
    assert all(cost > 0 for sizes in costs.values() for cost in sizes.values())


@pytest.mark.parametrize("steps", [1, 4, 60])
def test_the_origins_loop_is_the_pixel_search_of_one_image(bundle, phantoms, steps):
    settings = settings_of("pixel", {"step_size": 0.01, "weight": 0.5, "steps": steps})
    goal = make_goal(bundle.classifier, phantoms[:1])
    theirs = origin_loop(goal, phantoms[:1], settings)
    ours = search(bundle, goal, phantoms[:1], "pixel", settings)
    assert theirs.outcomes == ours.outcomes
    if theirs.outcomes == [Outcome.REACHED]:
        torch.testing.assert_close(theirs.images, ours.images, atol=1e-5, rtol=0)


def test_the_origins_settings_are_those_of_its_example():
    assert origin_settings() == Descent(distance="l2", weight=0.5, step_size=0.1, steps=500)


def test_an_image_that_is_there_already_costs_one_pass(bundle, phantoms):
    goal = replace(make_goal(bundle.classifier, phantoms[:1]), bar=torch.tensor([-math.inf]))
    found = origin_loop(goal, phantoms[:1], origin_settings())
    assert found.outcomes == [Outcome.ALREADY]
    assert int(found.evaluations) == 1
    assert torch.equal(found.images, phantoms[:1])


@pytest.mark.parametrize("method", METHODS)
def test_a_trace_has_an_entry_an_evaluation_and_ends_in_what_is_found(bundle, phantoms, method):
    image, seed = phantoms[:1], torch.zeros(1, dtype=torch.long)
    settings = replace(METHODS[method].settings, steps=BUDGETS[-1])
    found = search(bundle, make_goal(bundle.classifier, image), image, method, settings)
    seen = trace(bundle, method, image, seed)
    assert len(seen) == int(found.evaluations)
    reached = found.outcomes == [Outcome.REACHED]
    assert any(map(math.isfinite, seen)) == reached
    if reached:
        distance = float(torch.linalg.vector_norm(found.images - image))
        assert min(abs(one - distance) for one in seen) < 1e-4


def test_the_origins_trace_goes_on_after_the_goal(bundle, phantoms):
    seen = trace(bundle, ORIGIN, phantoms[:1], torch.zeros(1, dtype=torch.long))
    assert len(seen) == BUDGETS[-1] + 1


def test_a_curve_keeps_the_nearest_and_counts_who_has_none():
    points = dict(
        zip(BUDGETS, curve([[math.inf, 5.0, 2.0, 9.0], [math.inf] * 9, [1.0]]), strict=True)
    )
    assert points[1] == (math.inf, 1 / 3)
    assert points[2] == (5, 2 / 3)
    assert points[30] == (2, 2 / 3)


def test_the_curves_table_and_figure_hold_every_method():
    found = {name: curve([[math.inf, 2.5]]) for name in ("one", "two")}
    table = curve_table(found)
    assert "- (.00)" in table
    assert "2.50 (1.00)" in table
    assert len(table.splitlines()) == 4
    figure = curve_figure(found)
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]


def test_shares_of_the_time_are_of_one_whole(bundle, phantoms):
    goal = make_goal(bundle.classifier, phantoms)
    spent = shares(lambda: search(bundle, goal, phantoms, "prior", cut("prior")))
    assert set(spent) == {*PARTS, OTHER}
    assert sum(spent.values()) == pytest.approx(1)
    assert all(spent[part] > 0 for part in PARTS)
    assert spent[OTHER] > 0


def test_peak_memory_is_that_of_the_work_alone():
    big = peak_memory(lambda: torch.ones(2**24), "cpu")
    if big is None:
        pytest.skip("this system does not tell a process's peak memory")
    small = peak_memory(lambda: None, "cpu")
    assert small is not None
    assert big == pytest.approx(64, abs=16)
    assert small < 16


def test_the_contest_is_of_the_same_images(bundle, phantoms):
    short = [one for one in contestants(3) if one.name in (ORIGIN, SHIFT, "class-mean")]
    held = contest(bundle, phantoms, torch.arange(4), short, rounds=1)
    assert [one.contestant.batch for one in held.entries] == [1, 1, 3]
    for one in held.entries:
        counted = forward_passes(one.found.tally.passes, "classifier") / len(phantoms)
        # The origin's loop asks anew of each image what its goal has been made by.
        twice = one.contestant.name == ORIGIN
        assert counted == pytest.approx(one.found.evaluations + twice)
        assert held.limit(one) > 0


def found(distances):
    return Found(
        distances=distances,
        ssim=0.9876,
        evaluations=3.0,
        decodes=0.0,
        prior_passes=0.0,
        tally=Tally(
            Counter({"classifier": 4, "classifier" + GRADIENT: 8}),
            Counter({("classifier", 1): 4, ("classifier" + GRADIENT, 8): 1}),
        ),
        megabytes=None,
        spent={**dict.fromkeys(PARTS, 0.0), "classifier": 0.4, "backward": 0.5, OTHER: 0.1},
    )


def made(device, rounds):
    far = (torch.tensor([2.0, 3.0]), torch.tensor([4.0, math.inf]))
    entries = [
        Entry(Contestant(name, 1, lambda *_: None), found(distances), times)
        for name, distances, times in zip((ORIGIN, SHIFT), far, rounds, strict=True)
    ]
    costs = {"classifier": {1: 0.002, 8: 0.001}, "classifier" + GRADIENT: {1: 0.002, 8: 0.003}}
    return Contest(device, 2, costs, entries)


def test_the_tables_hold_every_devices_columns():
    contests = [
        made("cpu", ([0.02, 0.03, 0.04], [0.0115, 0.015, 0.2])),
        made("cuda", ([0.01], [0.005])),
    ]
    results = results_table(contests)
    assert "ms an image, cuda" in results
    origin, shift = (
        [cell.strip() for cell in line.split("|")] for line in results.splitlines()[2:]
    )
    # Milliseconds, times as fast as the origin's and as latent-shift: of the medians.
    assert origin[3:6] == ["30.0", "1.00", ".50"]
    assert shift[3:9] == ["15.0", "2.00", "1.00", "5.0", "2.00", "1.00"]
    # Valid, L2, L2 over latent-shift's where both are valid, SSIM.
    assert origin[9:13] == ["1.00", "2.50", ".50", ".988"]
    assert shift[9:13] == [".50", "4.00", "1.00", ".988"]
    limits = limit_table(contests)
    origin, shift = ([cell.strip() for cell in line.split("|")] for line in limits.splitlines()[2:])
    # Two images: (4 * 1 + 8 * 2) / 2 ms an image, and the least of the rounds over it.
    assert origin[2:4] == ["2.0", "4.0"]
    # As batched: (4 * 2 + 8 * 3) / 2.
    assert origin[-9:-1] == ["10.0", "16.0", "20.0", "2.00", "10.0", "16.0", "10.0", "**1.00**"]
    assert shift[-6:-1] == ["**1.15**", "10.0", "16.0", "5.0", "**.50**"]
    assert "**1.00**" in cost_table(contests[0])
    assert spent_table(contests[0]).count("| 40 ") == 2


def test_the_page_is_of_all_tables():
    text = page(
        [made("cpu", ([1.0], [2.0]))], "CURVE\n", ("IMAGES\n", "PIXELS\n", "RANKS\n"), ["A"], 3
    )
    assert text.count("\n## ") == 4
    assert all(part in text for part in ("CURVE", "IMAGES", "PIXELS", "RANKS", "- A\n", SHIFT))


def test_the_forms_of_a_run_are_told(tiny_bundle_path, monkeypatch):
    monkeypatch.setattr("evaluation.search.probe.COMPILING", 1e9)
    monkeypatch.setattr("evaluation.search.probe.WORTH", math.inf)
    told = forms(str(tiny_bundle_path), split="test", limit=3, method="latent-boundary", rounds=1)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in told.splitlines()]
    assert [row[:2] for row in rows[2:5]] == [
        ["classifier", "folded"],
        ["encoder", "-"],
        ["decoder", "-"],
    ]
    assert "of 3 images by latent-boundary" in told
    assert "3 of 3 end alike" in told
