from __future__ import annotations

import random
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cfgen.data.samples import Sample, Source
from cfgen.data.sources import open_source
from cfgen.data.splits import (
    PatientLeak,
    check_leaks,
    cut_validation,
    describe,
    read_split,
    samples_of,
    write_split,
)


@st.composite
def training_sets(draw: st.DrawFn) -> list[Sample]:
    """Patients of one class each, with one to five images; some images of unknown patients."""
    sizes = draw(
        st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 5)), min_size=1, max_size=60)
    )
    return [
        Sample(f"{number}-{image}.png", label, "train", f"p{number}" if size else None)
        for number, (label, size) in enumerate(sizes)
        for image in range(max(size, 1))
    ]


@given(training_sets(), st.floats(0.05, 0.5), st.randoms(use_true_random=False))
def test_cut_never_divides_a_patient_and_is_near_its_fraction(
    samples: list[Sample], fraction: float, shuffle: random.Random
):
    cut = cut_validation(samples, fraction)
    check_leaks(samples, cut)
    assert set(cut) == {sample.path for sample in samples}
    shuffled = list(samples)
    shuffle.shuffle(shuffled)
    assert cut_validation(shuffled, fraction) == cut
    for label in {sample.label for sample in samples}:
        images = [sample for sample in samples if sample.label == label]
        sizes = Counter(sample.patient or sample.path for sample in images)
        held_out = sum(cut[sample.path] == "val" for sample in images)
        assert abs(held_out - fraction * len(images)) <= max(sizes.values())
        if len(sizes) > 1:
            assert 0 < held_out < len(images)


@given(training_sets())
def test_any_images_may_have_any_label(samples: list[Sample]):
    mixed = [
        Sample(sample.path, "AB"[row % 2], sample.split, sample.patient)
        for row, sample in enumerate(samples)
    ]
    check_leaks(mixed, cut_validation(mixed))


@pytest.mark.parametrize("fraction", [0.0, 0.6])
def test_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(ValueError, match="fraction"):
        cut_validation([], fraction)


def test_a_patient_in_two_splits_is_named():
    samples = [Sample("a", "A", "train", "p1"), Sample("b", "A", "test", "p1")]
    with pytest.raises(PatientLeak, match=r"p1 \(test and train\)"):
        check_leaks(samples)
    check_leaks([Sample("a", "A", "train"), Sample("b", "A", "test")])


def test_a_patient_on_both_sides_of_a_cut_is_named():
    samples = [Sample(f"{row}.png", "A", "train", f"p{row // 2:02d}") for row in range(40)]
    cut = {sample.path: "val" if row % 2 else "train" for row, sample in enumerate(samples)}
    with pytest.raises(PatientLeak, match=r"p00 .*p09 .*and 10 more"):
        check_leaks(samples, cut)


def test_split_file_gives_back_what_was_written(tmp_path: Path):
    cut = {"train/A/ä, b.png": "train", "train/A/c.png": "val"}
    write_split(tmp_path / "split.csv", cut)
    assert read_split(tmp_path / "split.csv") == cut
    assert [file.name for file in tmp_path.iterdir()] == ["split.csv"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns path,split"),
        ("path,side\n", "columns path,split"),
        ("path,split\na.png,test\n", "line 2"),
        ("path,split\na.png,val\na.png,val\n", "line 3"),
        ("path,split\na.png\n", "line 2"),
    ],
)
def test_broken_split_file_is_named(tmp_path: Path, text, message):
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"{message}.*split\.csv|split\.csv.*{message}"):
        read_split(tmp_path / "split.csv")


def test_missing_split_file_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"no file .*split\.csv"):
        read_split(tmp_path / "split.csv")


def test_description_counts_classes_and_patients():
    samples = [
        Sample("a", "A", "train", "p"),
        Sample("b", "B", "train", "p"),
        Sample("c", "A", "test"),
        Sample("d", None, "new"),
    ]
    text = describe(Source("films", ("A", "B"), samples, lambda _: torch.zeros(1, 8, 8)))
    assert text.splitlines() == [
        "films: 4 images",
        "  new: 1 without label (patients unknown)",
        "  test: 1 A (patients unknown)",
        "  train: 1 A, 1 B (1 patients)",
    ]


@pytest.mark.xrays
def test_cut_of_the_xrays_is_a_tenth_of_each_class_by_patient(xrays: Path):
    source = open_source(str(xrays))
    train = source.of("train")
    cut = cut_validation(train)
    check_leaks(source.samples, cut)
    sides: dict[str | None, list[str]] = defaultdict(list)
    for sample in train:
        sides[sample.label].append(cut[sample.path])
    for found in sides.values():
        assert found.count("val") / len(found) == pytest.approx(0.1, abs=1e-3)
    assert len({sample.patient for sample in train}) < len(train)


def films(count: int, split: str) -> list[Sample]:
    """Images of as many patients, of two classes."""
    return [Sample(f"{split}/{n}.png", "AB"[n % 2], split, f"{split}{n}") for n in range(count)]


def source_of(samples: list[Sample]) -> Source:
    """A source of these samples; none is ever loaded."""
    return Source(
        "films", ("A", "B"), sorted(samples, key=lambda s: s.path), lambda _: torch.ones(1, 8, 8)
    )


def test_train_and_val_are_the_bundles_cut_where_it_knows_the_source(tmp_path):
    source = source_of(films(20, split="train") + films(4, split="test"))
    cut = cut_validation(source.of("train"))
    write_split(tmp_path / "split.csv", cut)
    for side in ("train", "val"):
        found = [sample.path for sample in samples_of(source, side, tmp_path / "split.csv")]
        assert found == [path for path, where in cut.items() if where == side]
    assert samples_of(source, "test", tmp_path / "split.csv") == source.of("test")


def test_another_source_keeps_its_own_splits(tmp_path):
    write_split(tmp_path / "split.csv", {"elsewhere.png": "val"})
    source = source_of(films(6, split="train") + films(2, split="val"))
    for split in ("train", "val"):
        assert samples_of(source, split, tmp_path / "split.csv") == source.of(split)
        assert samples_of(source, split, tmp_path / "missing.csv") == source.of(split)
