"""Intervals against theory and against a bootstrap written out."""

import math
from itertools import combinations, product

import numpy as np
import pytest
from scipy.stats import bootstrap, permutation_test

from cfgen.metrics import (
    bootstrap_interval,
    estimate,
    holm,
    paired_difference,
    pareto_front,
    sign_flip_p,
)


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


def test_p_is_the_share_of_all_sign_flips_patients_flipped_whole():
    generator = np.random.default_rng(6)
    values, patients = generator.normal(0.5, 1, 20), np.arange(20) % 7
    sums = [math.fsum(values[patients == patient]) for patient in range(7)]
    observed = abs(math.fsum(sums))
    reached = [
        abs(math.fsum(s * total for s, total in zip(signs, sums, strict=True))) >= observed - 1e-12
        for signs in product((-1, 1), repeat=7)
    ]
    found = sign_flip_p(values.tolist(), patients.tolist())
    assert found == sum(reached) / 2**7
    assert found != sign_flip_p(values.tolist())


@pytest.mark.parametrize("n", [9, 40])
def test_p_agrees_with_scipys_permutation_test_where_patients_are_single(n):
    generator = np.random.default_rng(n)
    first = generator.normal(size=n)
    second = first + generator.normal(0.2, 0.5, n)
    known = permutation_test(
        (first, second),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=np.random.default_rng(0),
    ).pvalue
    found = sign_flip_p((first - second).tolist())
    assert found == pytest.approx(known, rel=1e-9 if n == 9 else 0.1)
    assert 0.001 < found < 0.6


def test_drawn_signs_agree_with_all_of_them_and_are_the_same_each_time():
    values = np.random.default_rng(7).normal(0.4, 1, 14).tolist()
    every, drawn = sign_flip_p(values), sign_flip_p(values, draws=8000)
    assert drawn == pytest.approx(every, abs=0.015)
    assert drawn == sign_flip_p(values, draws=8000)
    assert drawn != sign_flip_p(values, draws=8000, seed=1)


def test_p_of_what_cannot_differ_is_one_and_of_nothing_unknown():
    assert sign_flip_p([0.0] * 5) == sign_flip_p([0.0] * 50) == 1
    assert sign_flip_p([1.0] * 50) == pytest.approx(1 / 20_001)
    # 0.1 + 0.2 is not 0.3: whole flips must still count as ties.
    assert sign_flip_p([0.1, 0.2, 0.3, -0.3]) == sign_flip_p([1.0, 2.0, 3.0, -3.0])
    assert math.isnan(sign_flip_p([None, math.nan]))
    with pytest.raises(ValueError, match="a group for each of 2"):
        sign_flip_p([1.0, 2.0], ["a"])


def test_p_of_a_true_null_is_below_a_level_as_often_as_the_level_says():
    generator = np.random.default_rng(8)
    found = [sign_flip_p(generator.normal(size=10).tolist()) for _ in range(1000)]
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(found) <= level) == pytest.approx(level, abs=0.04)


def test_holms_is_the_closed_test_with_bonferronis():
    """p' is the greatest Bonferroni p of all sets of hypotheses that hold this one."""
    p_values = np.random.default_rng(9).uniform(size=6) ** 3
    sets = [s for size in range(1, 7) for s in combinations(range(6), size)]
    expected = [
        max(min(1, len(s) * min(p_values[list(s)])) for s in sets if i in s) for i in range(6)
    ]
    assert holm(p_values.tolist()) == pytest.approx(expected, abs=1e-15)
    with_none = holm([*p_values[:3].tolist(), math.nan, *p_values[3:].tolist()])
    assert math.isnan(with_none.pop(3))
    assert with_none == holm(p_values.tolist())
    assert holm([]) == []
    with pytest.raises(ValueError, match=r"in \[0, 1\], got \[1.5\]"):
        holm([1.5])


def test_a_front_is_what_no_other_point_beats():
    points = np.random.default_rng(10).integers(0, 5, (40, 3)).astype(float)
    points[7, 1], points[8] = math.nan, points[9]

    def beats(a, b):
        return all(x >= y for x, y in zip(a, b, strict=True)) and a.tolist() != b.tolist()

    whole = [point for k, point in enumerate(points) if k != 7]
    expected = [
        k != 7 and not any(beats(a, point) for a in whole) for k, point in enumerate(points)
    ]
    assert pareto_front(points).tolist() == expected
    assert 0 < sum(expected) < 30
