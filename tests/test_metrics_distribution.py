"""Distances of sets of features against second implementations, and the draws against theory."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from cfgen import metrics
from cfgen.metrics.draws import disjoint_draws, largest_draw


def frechet_reference(a, b):
    a, b = a.double().numpy(), b.double().numpy()
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = sqrtm(covariances[0] @ covariances[1])
    means = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return means + np.trace(covariances[0] + covariances[1] - 2 * np.real(root))


@pytest.mark.parametrize(("n", "m"), [(200, 150), (12, 9), (200, 7)])
def test_frechet_distance_agrees_with_the_matrix_root(n, m):
    generator = torch.Generator().manual_seed(1)
    a = torch.randn(n, 8, generator=generator)
    b = 0.5 + torch.randn(m, 8, generator=generator) @ torch.randn(8, 8, generator=generator)
    assert metrics.frechet_distance(a, b) == pytest.approx(frechet_reference(a, b), rel=1e-5)


def test_frechet_distance_of_one_dimension_has_its_closed_form():
    a, b = torch.tensor([[0.0], [2.0], [4.0]]), torch.tensor([[5.0], [6.0], [7.0]])
    assert metrics.frechet_distance(a, b) == pytest.approx((6 - 2) ** 2 + (2 - 1) ** 2)


def test_frechet_distance_holds_for_fewer_samples_than_features():
    generator = torch.Generator().manual_seed(2)
    a, b = torch.randn(2, 5, 40, generator=generator)
    forth, back = metrics.frechet_distance(a, b), metrics.frechet_distance(b, a)
    assert forth == pytest.approx(back)
    assert forth > 0
    assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    shifted = metrics.frechet_distance(a, a + 3)
    assert shifted == pytest.approx(40 * 9, rel=1e-6)


def test_frechet_distance_refuses_what_has_no_covariance():
    with pytest.raises(ValueError, match="at least 2 samples"):
        metrics.frechet_distance(torch.zeros(1, 3), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="finite"):
        metrics.frechet_distance(torch.full((2, 3), torch.nan), torch.zeros(4, 3))


def test_frechet_ratio_is_one_for_real_images_and_more_for_others():
    generator = torch.Generator().manual_seed(3)
    real, alike = torch.randn(400, 6, generator=generator), torch.randn(100, 6, generator=generator)
    same, apart = metrics.frechet_ratio(alike, real), metrics.frechet_ratio(alike + 1, real)
    assert same.n == apart.n == 100
    assert 0.6 < same.ratio < 1.6
    assert apart.ratio > 5
    assert apart.ratio == pytest.approx(apart.distance / apart.real)
    assert metrics.frechet_ratios(torch.stack([alike + 1, alike]), real) == [apart, same]


def test_frechet_ratio_takes_half_of_few_real_images_and_refuses_too_few():
    generator = torch.Generator().manual_seed(4)
    generated, real = torch.randn(50, 4, generator=generator), torch.randn(21, 4)
    assert metrics.frechet_ratio(generated, real).n == 10
    with pytest.raises(ValueError, match="at least 2 generated images and 2 pairs"):
        metrics.frechet_ratio(generated, real[:3])
    with pytest.raises(ValueError, match="features that differ"):
        metrics.frechet_ratio(generated, torch.ones(21, 4))
    with pytest.raises(ValueError, match="a group for each of 21"):
        metrics.frechet_ratio(generated, real, "abc")


def patients_of_ten(generator):
    """Ten images of each of 20 patients, who differ far more than their images do."""
    means = torch.randn(20, 4, generator=generator).repeat_interleave(10, 0)
    return means + 0.1 * torch.randn(200, 4, generator=generator), np.repeat(np.arange(20), 10)


def test_real_sets_without_a_common_patient_are_further_apart():
    real, patients = patients_of_ten(torch.Generator().manual_seed(5))
    by_image = metrics.frechet_ratio(real[:80], real)
    by_patient = metrics.frechet_ratio(real[:80], real, patients.tolist())
    assert by_patient.real > 3 * by_image.real


def kernel_reference(a, b):
    """Both sums in plain loops, in float64."""
    a, b = a.double().numpy(), b.double().numpy()

    def kernel(x, y):
        return (x @ y / len(x) + 1) ** 3

    def among(rows):
        pairs = [(i, j) for i in range(len(rows)) for j in range(len(rows)) if i != j]
        return np.mean([kernel(rows[i], rows[j]) for i, j in pairs])

    return among(a) + among(b) - 2 * np.mean([kernel(x, y) for x in a for y in b])


def test_kernel_distance_agrees_with_plain_loops():
    generator = torch.Generator().manual_seed(6)
    a, b = torch.randn(9, 5, generator=generator), 1 + torch.randn(7, 5, generator=generator)
    assert metrics.kernel_distance(a, b) == pytest.approx(kernel_reference(a, b), rel=1e-9)
    assert metrics.kernel_distance(a, b) == pytest.approx(metrics.kernel_distance(b, a))


def test_kernel_distance_of_many_is_computed_in_parts(monkeypatch):
    a, b = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(7))
    whole = metrics.kernel_distance(a, b)
    monkeypatch.setattr("cfgen.metrics.kernel._AT_ONCE", 6)
    assert metrics.kernel_distance(a, b) == pytest.approx(whole)


def test_kernel_distance_has_no_bias():
    """Of sets of one distribution it is 0 on average, even of four samples; many fall below."""
    generator = torch.Generator().manual_seed(8)
    found = [
        metrics.kernel_distance(*torch.randn(2, 4, 3, generator=generator)) for _ in range(500)
    ]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 4 * error
    assert 0.3 < np.mean(np.array(found) < 0) < 0.7


def test_kernel_comparison_tells_what_is_further_than_real_ones_are():
    generator = torch.Generator().manual_seed(9)
    real, alike = torch.randn(300, 6, generator=generator), torch.randn(80, 6, generator=generator)
    same, apart = metrics.kernel_comparison(alike, real), metrics.kernel_comparison(alike + 1, real)
    assert same.n == 80
    assert abs(same.real) < same.real_high < apart.distance
    assert same.distance < 2 * same.real_high
    assert same.distance == pytest.approx(metrics.kernel_distance(alike, real))


def test_kernel_distance_refuses_what_has_no_pairs():
    with pytest.raises(ValueError, match="at least 2 samples a side"):
        metrics.kernel_distance(torch.zeros(1, 3), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="finite"):
        metrics.kernel_distance(torch.full((2, 3), torch.nan), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="2 pairs of real ones"):
        metrics.kernel_comparison(torch.zeros(9, 3), torch.zeros(4, 3), "aaab")


def precision_recall_reference(a, b, k):
    """Both shares by sorting distances in plain loops, in float64."""
    a, b = a.double().numpy(), b.double().numpy()

    def covered(points, others):
        balls = [sorted(np.linalg.norm(o - q) for q in others)[k] for o in others]
        pairs = list(zip(others, balls, strict=True))
        return np.mean([any(np.linalg.norm(p - o) <= r for o, r in pairs) for p in points])

    return covered(a, b), covered(b, a)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_agree_with_plain_loops(k):
    generator = torch.Generator().manual_seed(10)
    a, b = torch.randn(30, 4, generator=generator), 1 + torch.randn(25, 4, generator=generator)
    found = metrics.precision_recall(a, b, k)
    assert found == pytest.approx(precision_recall_reference(a, b, k))
    assert 0 < found.precision < 1
    assert metrics.precision_recall(b, a, k) == pytest.approx(found[::-1])


def test_precision_is_of_what_is_real_and_recall_of_what_is_there():
    generator = torch.Generator().manual_seed(11)
    modes = torch.tensor([[0.0, 0.0], [50.0, 0.0]])
    real = modes.repeat(40, 1) + torch.randn(80, 2, generator=generator)
    one_mode = torch.randn(80, 2, generator=generator)
    dropped = metrics.precision_recall(one_mode, real)
    assert dropped.precision > 0.8
    assert dropped.recall == pytest.approx(0.5, abs=0.1)
    strange = torch.cat([real[:40], 500 + torch.randn(40, 2, generator=generator)])
    added = metrics.precision_recall(strange, real)
    assert added.precision == 0.5
    assert added.recall > 0.8
    assert metrics.precision_recall(real, real) == (1, 1)


def test_coverage_stands_beside_that_of_real_images_of_other_patients():
    generator = torch.Generator().manual_seed(12)
    real, alike = torch.randn(100, 3, generator=generator), torch.randn(40, 3, generator=generator)
    same = metrics.coverage(alike, real)
    assert same.n == 40
    assert same.precision == pytest.approx(same.real_precision, abs=0.1)
    assert same.recall == pytest.approx(same.real_recall, abs=0.1)
    shrunk = metrics.coverage(0.1 * alike, real)
    assert metrics.coverages(torch.stack([0.1 * alike, alike]), real) == [shrunk, same]
    assert shrunk.precision > 0.9
    assert shrunk.recall < 0.3
    real, patients = patients_of_ten(generator)
    by_patient = metrics.coverage(real[:80], real, patients.tolist())
    assert by_patient.real_precision < 0.2 < metrics.coverage(real[:80], real).real_precision


def test_precision_refuses_what_has_no_neighbours():
    with pytest.raises(ValueError, match="more than 3 samples a side, got 3 and 9"):
        metrics.precision_recall(torch.zeros(3, 2), torch.zeros(9, 2))
    with pytest.raises(ValueError, match="finite"):
        metrics.precision_recall(torch.full((5, 2), torch.nan), torch.zeros(9, 2))


@pytest.mark.parametrize("groups", ["abcdefgh", "aabbccdd", "aaabcdef", "aaaabbcdef"])
def test_no_patient_is_in_both_sets_and_every_row_has_its_turn(groups):
    n = largest_draw(groups)
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for first, second in disjoint_draws(groups, n, 60, generator):
        rows = (first.tolist(), second.tolist())
        assert [len(set(side)) for side in rows] == [n, n]
        one, other = ({groups[row] for row in side} for side in rows)
        assert not one & other
        seen |= {(side, row) for side in (0, 1) for row in rows[side]}
    assert len(seen) == 2 * len(groups)
    with pytest.raises(ValueError, match=f"at most {n} rows"):
        next(disjoint_draws(groups, n + 1, 1, generator))
