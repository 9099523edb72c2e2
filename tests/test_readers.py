"""What readers can tell: against SciPy, against published examples, and against theory."""

import math

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from cfgen.metrics import cohen_kappa, crossed_interval, fleiss_kappa, mean_auc, shuffled_auc_p


def test_the_area_is_that_of_the_rank_test():
    generator = np.random.default_rng(0)
    answers = generator.integers(-5, 6, size=(1, 40)).astype(float)
    positive = generator.random(40) < 0.4
    u = mannwhitneyu(answers[0, positive], answers[0, ~positive]).statistic
    pairs = positive.sum() * (~positive).sum()
    assert mean_auc(answers, positive) == pytest.approx(u / pairs)


def test_of_yes_and_no_the_area_is_the_mean_of_sensitivity_and_specificity():
    called = np.array([[1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0]])
    positive = np.array([True, True, True, False, False, False, False])
    assert mean_auc(called, positive) == pytest.approx((2 / 3 + 3 / 4) / 2)


def test_what_was_not_answered_counts_for_nothing():
    positive = np.array([True, True, False, False])
    answers = np.array([[1.0, np.nan, 0.0, np.nan], [np.nan, np.nan, 1.0, 2.0]])
    assert mean_auc(answers, positive) == 1.0
    assert math.isnan(mean_auc(answers[1:], positive))
    assert math.isnan(shuffled_auc_p(answers[1:], positive))


def test_the_shuffled_p_is_the_share_of_all_arrangements():
    """Of the 20 arrangements of 3 of 6, two are as far from one half as a perfect reader."""
    answers, positive = np.array([[3.0, 4.0, 5.0, 0.0, 1.0, 2.0]]), np.arange(6) < 3
    assert shuffled_auc_p(answers, positive) == pytest.approx(2 / 20, abs=0.01)
    assert shuffled_auc_p(-answers, positive) == pytest.approx(2 / 20, abs=0.01)
    assert shuffled_auc_p(np.ones((1, 6)), positive) == 1.0


def test_the_shuffled_p_of_blind_readers_is_low_no_more_often_than_it_says():
    generator = np.random.default_rng(1)
    positive = np.arange(20) < 10
    p_values = [
        shuffled_auc_p(np.tile(generator.normal(size=20), (3, 1)), positive, draws=200)
        for _ in range(400)
    ]
    for bar in (0.05, 0.2, 0.5):
        # Areas tie, and a tie counts against the reader.
        assert bar - 0.1 < np.mean(np.array(p_values) <= bar) < bar + 0.03


def test_the_interval_of_a_mean_is_as_wide_as_theory_has_it():
    """One reader: the standard error of a mean; more readers who differ: wider."""
    values = np.random.default_rng(2).normal(size=(1, 200))
    places = [np.arange(200)]
    low, high = crossed_interval(lambda rows, drawn: values[np.ix_(rows, drawn)].mean(), 1, places)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / math.sqrt(200), rel=0.1)
    shifted = values + np.array([[-1.0], [0.0], [1.0]])
    wide = crossed_interval(lambda rows, drawn: shifted[np.ix_(rows, drawn)].mean(), 3, places)
    assert wide[1] - wide[0] > 2 * (high - low)


def test_an_interval_needs_two_images_of_each_kind():
    strata = [np.arange(4), np.array([4])]
    assert all(map(math.isnan, crossed_interval(lambda *_: 0.0, 2, strata)))


def test_the_kappa_of_two_is_that_of_the_four_field_table():
    """20 both yes, 5 and 10 apart, 15 both no: p_o .7, p_e .5, kappa .4."""
    first = np.repeat([1, 1, 0, 0], [20, 5, 10, 15])
    second = np.repeat([1, 0, 1, 0], [20, 5, 10, 15])
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    assert cohen_kappa(first, first) == 1.0
    assert math.isnan(cohen_kappa(np.ones(4, int), np.ones(4, int)))


def test_the_kappa_of_many_is_that_of_a_published_example():
    """Fourteen readers, ten subjects, five categories: kappa .210."""
    counts = np.array([
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ])  # fmt: skip
    named = np.stack([np.repeat(np.arange(5), row) for row in counts], 1)
    assert fleiss_kappa(named) == pytest.approx(0.210, abs=5e-4)
    assert fleiss_kappa(np.array([[0, 1, 1], [0, 1, 1], [0, 1, 1]])) == 1.0
    assert math.isnan(fleiss_kappa(named[:1]))
