from __future__ import annotations

import hashlib
import random
from collections import Counter
from itertools import takewhile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cfgen.data.samples import Sample, Source, agree_on_classes, choose

LABELS = ("A", "B", "C")


@st.composite
def sample_lists(draw: st.DrawFn) -> list[Sample]:
    rows = draw(
        st.lists(
            st.tuples(st.sampled_from(LABELS), st.none() | st.integers(0, 9)),
            min_size=1,
            max_size=60,
        )
    )
    return [
        Sample(f"test/{label}/{row}.png", label, "test", None if one is None else f"p{one}")
        for row, (label, one) in enumerate(rows)
    ]


def test_id_is_the_path_hash_without_its_sign_bit():
    digest = hashlib.sha256(b"test/NORMAL/a.png").hexdigest()
    expected = int(digest[:16], 16) % 2**63
    assert Sample("test/NORMAL/a.png", None, None).id == expected
    assert torch.tensor(expected, dtype=torch.int64).item() == expected


def test_of_returns_a_split_and_names_the_others():
    samples = [Sample("a", "A", "train"), Sample("b", "A", "test")]
    source = Source("films", ("A", "B"), samples, load=lambda _: torch.zeros(1, 8, 8))
    assert source.of("test") == samples[1:]
    with pytest.raises(ValueError, match="test, train of films, got 'val'"):
        source.of("val")


def test_classes_are_sorted_or_as_given():
    assert agree_on_classes("films", ["B", "A", "B"], None) == ("A", "B")
    assert agree_on_classes("films", ["A"], ("B", "A")) == ("B", "A")


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (["A", "A"], None, "one class only"),
        (["A", "X"], ("A", "B"), "among the classes A, B in films, got X"),
        (["A"], ("A", "A"), "classes that differ"),
    ],
)
def test_wrong_classes_are_named(labels, classes, message):
    with pytest.raises(ValueError, match=message):
        agree_on_classes("films", labels, classes)


def test_choice_follows_the_hash_of_the_file_name_not_the_name():
    samples = [Sample(f"test/A/{row}.png", "A", "test") for row in range(20)]
    expected = sorted(
        samples, key=lambda s: hashlib.sha256(s.path.split("/")[-1].encode()).hexdigest()
    )
    assert choose(samples, None) == expected
    assert choose(samples, 5) == expected[:5] != samples[:5]


def test_a_class_that_runs_out_is_filled_up_from_the_others():
    samples = [Sample(f"{row}.png", "B" if row < 2 else "A", "test") for row in range(20)]
    labels = Counter(sample.label for sample in choose(samples, 10))
    assert labels == {"A": 8, "B": 2}


def test_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="limit of 1 or more, got 0"):
        choose([], 0)


@given(sample_lists(), st.integers(1, 60), st.randoms(use_true_random=False))
def test_choice_is_even_complete_and_independent_of_the_order(
    samples: list[Sample], limit: int, shuffle: random.Random
):
    chosen = choose(samples, limit)
    shuffled = list(samples)
    shuffle.shuffle(shuffled)
    assert choose(shuffled, limit) == chosen
    assert choose(samples, None)[:limit] == chosen
    assert len(set(chosen)) == len(chosen) == min(limit, len(samples))
    there, taken = (Counter(sample.label for sample in found) for found in (samples, chosen))
    unexhausted = [taken[label] for label in there if taken[label] < there[label]]
    if unexhausted:
        assert max(taken.values()) - min(unexhausted) <= 1


@given(sample_lists())
def test_every_patient_of_a_class_comes_once_before_one_comes_twice(samples: list[Sample]):
    one_class = [sample for sample in samples if sample.label == "A"]
    patients = [sample.patient or sample.path for sample in choose(one_class, None)]
    seen: set[str] = set()
    first = list(takewhile(lambda one: one not in seen and not seen.add(one), patients))
    assert len(first) == len(set(patients))
