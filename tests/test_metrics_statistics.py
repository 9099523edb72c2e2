"""Intervals against theory and against a bootstrap written out."""

import math

import numpy as np
import pytest
from scipy.stats import bootstrap

from cfgen.metrics import bootstrap_interval, estimate, paired_difference


def test_an_interval_agrees_with_scipys_percentile_bootstrap():
    values = np.random.default_rng(0).normal(size=200)
    found = bootstrap_interval(values.tolist(), draws=4000)
    known = bootstrap(
        (values,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert found == pytest.approx((known.low, known.high), abs=0.015)


def test_an_interval_has_the_width_of_the_normal_law():
    values = np.random.default_rng(1).normal(size=2000)
    low, high = bootstrap_interval(values.tolist())
    assert high - low == pytest.approx(2 * 1.96 / math.sqrt(2000), rel=0.1)
    assert low < values.mean() < high


def test_whole_patients_are_drawn():
    """Ten patients of 50 equal images carry the information of ten images, not of 500."""
    means = np.random.default_rng(2).normal(size=10)
    values = np.repeat(means, 50).tolist()
    patients = np.repeat(np.arange(10), 50).tolist()
    grouped = bootstrap_interval(values, patients)
    assert grouped == pytest.approx(bootstrap_interval(means.tolist()))
    alone = bootstrap_interval(values)
    assert grouped[1] - grouped[0] > 4 * (alone[1] - alone[0])


def test_patients_with_more_images_weigh_more():
    values, patients = [0.0] * 30 + [1.0] * 10, [*range(30), *([99] * 10)]
    found = estimate(values, patients)
    assert found.mean == pytest.approx(0.25)
    assert found.low == 0
    assert found.high > 0.35


def test_missing_values_are_left_out_and_the_number_says_so():
    values = [0.0, 1.0, None, math.nan, math.inf, 3.0]
    found = estimate(values)
    assert (found.mean, found.n) == (pytest.approx(4 / 3), 3)
    assert (found.low, found.high) == bootstrap_interval([0.0, 1.0, 3.0])


def test_one_group_or_none_has_no_interval():
    assert all(math.isnan(end) for end in bootstrap_interval([1.0, 2.0], ["a", "a"]))
    nothing = estimate([None, math.nan])
    assert nothing.n == 0
    assert math.isnan(nothing.mean)


def test_the_same_values_have_the_same_interval():
    values = np.random.default_rng(3).normal(size=50).tolist()
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values) != bootstrap_interval(values, seed=1)


def test_many_values_are_drawn_in_parts():
    values = np.random.default_rng(4).normal(size=400_000).tolist()
    low, high = bootstrap_interval(values, draws=20)
    assert 0 < high - low < 0.02


def test_groups_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="a group for each of 2"):
        bootstrap_interval([1.0, 2.0], ["a"])


def test_a_paired_difference_cancels_what_makes_a_sample_hard():
    generator = np.random.default_rng(5)
    hard = generator.normal(size=60)
    better = hard + 0.2 + 0.05 * generator.normal(size=60)
    patients = (np.arange(60) // 3).tolist()
    found = paired_difference(better.tolist(), hard.tolist(), patients)
    assert found == estimate((better - hard).tolist(), patients)
    assert 0 < found.low < 0.2 < found.high
    apart = estimate(better.tolist(), patients)
    assert found.high - found.low < (apart.high - apart.low) / 5


def test_a_paired_difference_is_of_the_samples_that_both_know():
    found = paired_difference([1.0, None, 3.0, math.nan], [0.0, 1.0, 1.0, 0.0])
    assert (found.mean, found.n) == (1.5, 2)
    with pytest.raises(ValueError, match="got 1 and 2"):
        paired_difference([1.0], [1.0, 2.0])
