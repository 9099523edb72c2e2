"""What is said of one image follows from its change, its verdict and its judges."""

from dataclasses import replace

import pytest
import torch

from cfgen.data.phantom import draw
from cfgen.explanation import explain
from cfgen.familiarity import Familiarity
from cfgen.metrics import lung_zones
from cfgen.types import Outcome
from cfgen.verdict import Decision, Verdict
from evaluation.explain import words
from evaluation.explain.case import make_case

LUNGS = draw(5, 64).lungs


@pytest.fixture
def case(bundle):
    found = explain(draw(5, 64).image, bundle, method="latent")
    return replace(make_case("film.png", bundle, "latent", "cfgen", (found,)), lungs=LUNGS)


def with_change(case, change, **more):
    found = case.found
    factual = torch.full_like(found.factual, 0.5)
    changed = replace(found, factual=factual, counterfactual=factual + change, **more)
    return replace(case, draws=(changed,))


def zone(height, side, value):
    return value * lung_zones(LUNGS)[height, side].float()


def test_a_darker_zone_became_clearer_and_a_brighter_one_denser(case):
    told = words.where(with_change(case, zone("lower", "left", -0.2)))
    assert told == (
        "100 % of the change lies in the lungs: the lower zone of the left lung became clearer "
        "(darker)."
    )
    told = words.where(with_change(case, zone("upper", "right", 0.2)))
    assert "the upper zone of the right lung became denser (brighter)" in told


def test_two_zones_are_named_together_where_both_change_much(case):
    both = zone("lower", "left", -0.2) + zone("lower", "right", -0.2)
    told = words.where(with_change(case, both))
    assert "lung and the lower zone of the" in told
    assert told.endswith("lung became clearer (darker).")
    apart = words.where(
        with_change(case, zone("lower", "left", -0.2) + zone("lower", "right", 0.2))
    )
    assert "left lung became clearer (darker)" in apart
    assert "right lung became denser (brighter)" in apart
    weak = zone("lower", "left", -0.2) + zone("lower", "right", -0.05)
    assert "right" not in words.where(with_change(case, weak))


def test_a_zone_that_changes_both_ways_is_said_to(case):
    change = zone("middle", "right", 0.2)
    change[..., ::2] *= -1
    told = words.where(with_change(case, change))
    assert "clearer in some places and denser in others" in told


def test_a_change_outside_the_lungs_is_said_to_be_there(case):
    change = zone("lower", "left", -0.02)
    change[0, :4, :4] = 0.5
    told = words.where(with_change(case, change))
    assert told.startswith("Most of the change, 9")
    assert "outside the lungs: there the upper left quarter of the image became brighter" in told
    assert "in the lungs, the lower zone of the left lung became clearer" in told


def test_without_outlines_quarters_of_the_image_are_named(case):
    bare = replace(case, lungs=None)
    change = torch.zeros(1, 64, 64)
    change[0, 50:, :8] = -0.3
    told = words.where(with_change(bare, change))
    assert told == (
        "The lungs were not outlined; the lower left quarter of the image became darker."
    )
    assert words.where(with_change(bare, torch.zeros(1, 64, 64))) == "Nothing was changed."


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        (Verdict.SEMANTIC, "can be read as"),
        (Verdict.SPECIFIC, "perhaps a shortcut"),
        (Verdict.ADVERSARIAL, "Do not read it as a finding"),
        (Verdict.UNCERTAIN, "a hint at most"),
    ],
)
def test_belief_follows_verdict_and_judges(case, verdict, told):
    evidence = case.found.evidence._replace(
        judges_asked=torch.tensor([4.0]), judges_follow=torch.tensor([0.75])
    )
    known = Decision(verdict, 0.8, "reasons")
    given = with_change(case, zone("lower", "left", -0.2), verdict=known, evidence=evidence)
    sentence = words.believe(given)
    assert told in sentence
    assert sentence.endswith("3 of 4 other models follow.")
    unsure = words.believe(with_change(case, zone("lower", "left", -0.2), verdict=None))
    assert "a hint at most" in unsure


def test_what_did_not_arrive_is_not_to_be_believed(case):
    change = zone("lower", "left", -0.2)
    spent = words.believe(with_change(case, change, outcome=Outcome.SPENT))
    assert "did not reach its goal" in spent
    there = with_change(case, 0 * change, outcome=Outcome.ALREADY)
    assert "from the start" in words.believe(there)
    assert "which is what was asked for" in words.answer(there)


def test_a_strange_image_is_not_to_be_believed_whatever_the_verdict(case):
    known = Decision(Verdict.SEMANTIC, 0.9, "reasons")
    given = with_change(
        case, zone("lower", "left", -0.2), verdict=known, familiarity=Familiarity(3.0, 1.5)
    )
    assert given.strange
    assert words.believe(given).startswith("Believe none of it")
    assert "3.00 is beyond the limit of 1.50" in words.familiarity(given)


def test_nothing_is_said_of_a_patient(case):
    said = [words.answer(case), words.where(case), words.believe(case), words.CONVENTION]
    assert "patient" not in " ".join(said).lower()
