"""True verdicts on constructed changes of phantoms, and the fit on evidence with a known rule."""

import numpy as np
import pytest
import torch

from cfgen.data.phantom import draw
from cfgen.evidence import FEATURES
from cfgen.verdict import Verdict
from evaluation.verdicts.fit import NEVER, fit, marker_place, risk_curve, true_verdicts


def verdict_of(change, phantom, place=None):
    image = (phantom.image + change)[None]
    place = marker_place(phantom.marker) if place is None else place
    (found,) = true_verdicts(
        phantom.image[None], image, phantom.truth[None], phantom.opacity[None], place[None]
    )
    return found


@pytest.fixture(scope="module")
def marked():
    """A chest with an opacity and a marker."""
    return draw(3, 64, label=1, shortcut=1.0)


def test_the_true_counterfactual_is_semantic(marked):
    assert marked.marker.any()
    assert verdict_of(marked.truth - marked.image, marked) == Verdict.SEMANTIC
    assert verdict_of(0.3 * (marked.truth - marked.image), marked) == Verdict.SEMANTIC


def test_a_change_of_the_opacity_away_from_the_truth_is_not_semantic(marked):
    assert verdict_of(marked.image - marked.truth, marked) == Verdict.UNCERTAIN


def test_erasing_or_drawing_the_marker_is_classifier_specific(marked):
    bare = draw(3, 64, label=0, shortcut=1.0)
    assert not bare.marker.any()
    letter = draw(3, 64, label=1, shortcut=1.0).image - draw(3, 64, label=1).image
    assert verdict_of(-letter, marked) == Verdict.SPECIFIC
    assert verdict_of(letter, bare) == Verdict.SPECIFIC


def test_noise_is_adversarial_and_what_lies_between_uncertain(marked):
    noise = 0.02 * torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(0))
    assert verdict_of(noise, marked) == Verdict.ADVERSARIAL
    flat = torch.zeros(1, 64, 64)
    inside, outside = flat.clone(), flat.clone()
    inside[marked.opacity], outside[~marked.opacity & ~marker_place(marked.marker)] = 1, 1
    inside, outside = inside / inside.norm(), outside / outside.norm()
    for share, expected in ((0.19, Verdict.ADVERSARIAL), (0.21, Verdict.UNCERTAIN)):
        change = 0.1 * (share**0.5 * inside + (1 - share) ** 0.5 * outside)
        assert verdict_of(change, marked) == expected
    assert verdict_of(flat, marked) == Verdict.UNCERTAIN


def test_the_markers_place_holds_every_marker_and_little_else():
    corners = marker_place(torch.zeros(1, 64, 64, dtype=torch.bool))
    assert corners.float().mean() < 0.1
    for seed in range(24):
        marker = draw(seed, 64, label=1, shortcut=1.0).marker
        place = marker_place(marker)
        assert (place & marker).sum() == marker.sum()
        assert (corners & marker).sum() == marker.sum(), seed


FOLLOW, FINE = FEATURES.index("judges_follow"), FEATURES.index("high_frequency")


def planted(n, noise, seed=0):
    """Evidence that tells three verdicts apart by two features, and misleads at random."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, n)
    table = np.full((n, len(FEATURES)), np.nan)
    table[:, :9] = rng.normal(size=(n, 9))
    table[:, FOLLOW] = (label == 0) + noise * rng.normal(size=n)
    table[:, FINE] = (label == 2) + noise * rng.normal(size=n)
    table[rng.random((n, len(FEATURES))) < 0.05] = np.nan
    truths = [list(Verdict)[k] for k in label]
    return table, truths, [f"phantom-{k // 3}" for k in range(n)]


def test_calibration_recovers_a_planted_rule():
    table, truths, groups = planted(300, 0.15)
    found = fit(table, truths, groups)
    assert found.model.features == FEATURES[:9]
    assert found.model.classes == (Verdict.SEMANTIC, Verdict.SPECIFIC, Verdict.ADVERSARIAL)
    weights = np.abs(np.array(found.model.weights))
    noise = [k for k in range(9) if k not in (FOLLOW, FINE)]
    assert weights[:, [FOLLOW, FINE]].max(0).min() > 4 * weights[:, noise].max()
    fresh, fresh_truths, _ = planted(300, 0.15, seed=1)
    odds = found.model.probabilities(fresh)
    decided = found.model.decides(odds)
    right = np.array([found.model.classes[k] for k in odds.argmax(1)]) == np.array(fresh_truths)
    assert right[decided].mean() > 0.9
    assert decided.mean() > 0.7


def test_the_regression_is_at_the_least_penalised_loss_that_its_signs_allow():
    from scipy.optimize import approx_fprime

    table, truths, groups = planted(60, 0.5)
    model = fit(table, truths, groups).model
    inputs, label = model.standardise(table), [model.classes.index(truth) for truth in truths]

    def loss(flat):
        weights, biases = flat[:-3].reshape(3, -1), flat[-3:]
        scores = inputs @ weights.T + biases
        log_p = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        return -log_p[range(60), label].sum() + (weights**2).sum() / 2 + 5e-4 * (biases**2).sum()

    weights = np.array(model.weights)
    slope = approx_fprime(np.concatenate([weights.ravel(), model.biases]), loss)
    free = weights != 0
    assert np.abs(slope[:-3].reshape(3, -1)[free]).max() < 0.05
    assert np.abs(slope[-3:]).max() < 0.05
    semantic, specific, adversarial = weights
    survival = [k for k, name in enumerate(model.features) if name.startswith("survives")]
    # A weight at zero would grow the wrong way, were it let: the loss falls only there.
    pressed = slope[:-3].reshape(3, -1)
    for row, sign in ((0, 1), (1, 1), (2, -1)):
        stuck = [k for k in survival if not free[row, k]]
        assert (sign * pressed[row, stuck] > -0.05).all()
    assert semantic[FOLLOW] > 0 > adversarial[FOLLOW]
    assert specific[FINE] < 0 < adversarial[FINE]
    assert (weights[:2, survival] >= 0).all()
    assert (adversarial[survival] <= 0).all()


def test_evidence_may_not_speak_the_wrong_way():
    table, truths, groups = planted(120, 0.15)
    table[:, FOLLOW] *= -1
    model = fit(table, truths, groups).model
    semantic = model.weights[model.classes.index(Verdict.SEMANTIC)]
    assert semantic[model.features.index("judges_follow")] == 0


@pytest.mark.parametrize("noise", [0.3, 0.5, 0.8])
def test_abstaining_bounds_the_risk_on_unseen_samples(noise):
    found = fit(*planted(600, noise))
    table, truths, _ = planted(2000, noise, seed=7)
    odds = found.model.probabilities(table)
    decided = found.model.decides(odds)
    right = np.array([found.model.classes[k] for k in odds.argmax(1)]) == np.array(truths)
    assert decided.any()
    # Three standard errors of the calibration's own estimate are allowed.
    assert 1 - right[decided].mean() < 0.1 + 3 * (0.09 / (600 * decided.mean())) ** 0.5
    assert decided.mean() < 0.999 or (1 - right.mean()) < 0.1


def test_evidence_that_says_nothing_decides_nothing():
    table, truths, groups = planted(200, 0.2)
    shuffled = [truths[k] for k in np.random.default_rng(0).permutation(len(truths))]
    found = fit(table, shuffled, groups)
    assert found.model.decides(found.model.probabilities(table)).mean() < 0.1
    assert found.model.threshold > 0.5 or found.model.threshold == NEVER


def test_the_risk_curve_counts_what_each_threshold_decides():
    odds = np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4], [0.8, 0.2], [0.2, 0.8]])
    label = np.array([0, 1, 1, 1, 1])
    curve = risk_curve(odds, label, (Verdict.SEMANTIC, Verdict.ADVERSARIAL))
    assert [tuple(point) for point in curve] == [
        (0.9, 1, 0), (0.8, 3, 1), (0.7, 4, 1), (0.6, 5, 2),
    ]  # fmt: skip
    undecided = risk_curve(odds, label, (Verdict.SEMANTIC, Verdict.UNCERTAIN))
    assert [point.decided for point in undecided] == [1, 2, 3]


def test_too_little_to_calibrate_on_is_refused():
    table, truths, groups = planted(30, 0.2)
    with pytest.raises(ValueError, match="expected at least 2 true verdicts and 5 phantoms"):
        fit(table, [Verdict.SEMANTIC] * 30, groups)
    with pytest.raises(ValueError, match="on 1; give runs"):
        fit(table, truths, ["one"] * 30)
