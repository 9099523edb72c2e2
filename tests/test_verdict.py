"""The verdict model: what it says, why, and that it is stored whole."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from cfgen.evidence import FEATURES, Evidence
from cfgen.reasons import _WORDS, reasons
from cfgen.verdict import FILE, Verdict, VerdictModel, find_model, read_model, table_of

MODEL = VerdictModel(
    features=("judges_follow", "high_frequency", "outside_lungs"),
    means=(0.5, 0.4, 0.5),
    scales=(0.25, 0.2, 0.1),
    classes=(Verdict.SEMANTIC, Verdict.ADVERSARIAL, Verdict.UNCERTAIN),
    weights=((2.0, -1.0, 0.5), (-2.0, 1.0, 0.0), (0.0, 0.0, 0.0)),
    biases=(0.1, 0.2, 0.3),
    threshold=0.8,
    calibration={"n": 4},
    seen=("phantom-1",),
)


def evidence(**known):
    """Two images with the given evidence; the rest is not known."""
    blank = dict.fromkeys(Evidence._fields, torch.full((2,), torch.nan))
    blank |= {"flips": torch.ones(2), "judges_asked": torch.full((2,), 4.0)}
    return Evidence(**blank | {name: torch.tensor(value) for name, value in known.items()})


FOUND = evidence(
    judges_follow=[0.75, 0.0], high_frequency=[0.2, 0.8], outside_lungs=[0.6, float("nan")]
)


def test_probabilities_are_the_softmax_of_weighted_standardised_evidence():
    found = MODEL.probabilities(table_of(FOUND))
    standard = np.array([[1.0, -1.0, 1.0], [-2.0, 2.0, 0.0]])
    scores = standard @ np.array(MODEL.weights).T + np.array(MODEL.biases)
    expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_evidence_beyond_three_deviations_weighs_no_more():
    far, farther = (
        MODEL.probabilities(table_of(evidence(high_frequency=[value] * 2))) for value in (1.0, 9.0)
    )
    np.testing.assert_allclose(far, farther)


def test_what_is_sure_enough_is_decided_and_says_why():
    first, second = MODEL.decide(FOUND)
    assert (first.verdict, second.verdict) == (Verdict.SEMANTIC, Verdict.ADVERSARIAL)
    assert first.reasons == (
        "3 of 4 judges follow; 20 % of the change is waves shorter than 8 pixels; 40 % of the "
        "change lies in the lungs"
    )
    assert second.reasons == (
        "0 of 4 judges follow; 80 % of the change is waves shorter than 8 pixels "
        "(not known here: lungs)"
    )


def test_what_is_not_sure_enough_is_uncertain():
    strict = replace(MODEL, threshold=0.9999)
    sure = MODEL.decide(FOUND)
    for decision, would_be in zip(strict.decide(FOUND), sure, strict=True):
        assert decision.verdict == Verdict.UNCERTAIN
        assert decision.probability == would_be.probability
    undecided = replace(MODEL, biases=(0.0, 0.0, 99.0))
    assert [one.verdict for one in undecided.decide(FOUND)] == [Verdict.UNCERTAIN] * 2


def test_a_change_that_flips_nothing_is_uncertain_whatever_else_speaks_for_it():
    flips = torch.tensor([1.0, 0.0])
    first, second = MODEL.decide(FOUND._replace(flips=flips))
    assert first.verdict == Verdict.SEMANTIC
    assert second.verdict == Verdict.UNCERTAIN
    assert second.reasons == "the classifier does not decide for the target"


def test_each_piece_of_evidence_has_words_and_one_of_a_kind_is_named():
    assert set(_WORDS) == set(FEATURES)
    pull = dict.fromkeys(FEATURES, 1.0) | {"judges_gain_mean": 9.0, "prior_error": -9.0}
    told = reasons(dict.fromkeys(FEATURES, 0.0), 2, pull)
    assert told.split("; ")[0] == "the judges move on average by 0.0 in log-odds towards the target"
    assert told.count("judge") == 1
    assert "prior's error" not in told
    against = reasons(dict.fromkeys(FEATURES, 0.0), 2, pull, either_way=True)
    assert "the prior's error on the result is 1.00 times that on the original" in against
    assert reasons({}, 0, {"prior_error": 1.0}) == (
        "no piece of evidence stands out (not known here: prior)"
    )


def test_a_model_is_read_as_it_was_written(tmp_path):
    (tmp_path / FILE).write_text(MODEL.to_json())
    assert read_model(tmp_path / FILE) == MODEL
    assert find_model(tmp_path) == MODEL


@pytest.mark.parametrize(
    "change",
    [
        {"features": ["a", "b", "c"]},
        {"classes": ["semantic", "funny", "uncertain"]},
        {"means": [0.0]},
        {"weights": [[1, 2, 3]]},
        {"threshold": None},
        {"biases": ["x", 0, 0]},
    ],
)
def test_what_is_no_model_is_refused_with_its_path(change, tmp_path):
    stored = json.loads(MODEL.to_json()) | change
    (tmp_path / FILE).write_text(json.dumps(stored))
    with pytest.raises(ValueError, match=r"expected a verdict model in .*verdict\.json"):
        read_model(tmp_path / FILE)
    with pytest.raises(ValueError, match="expected a verdict model"):
        read_model(tmp_path / "nowhere.json")
