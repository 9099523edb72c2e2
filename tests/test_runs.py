"""A run on disk survives interruptions and says what is wrong with it."""

import resource
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import yaml

from evaluation.runs import (
    SAMPLE_COLUMNS,
    create_run,
    read_run,
    write_shards,
    write_skipped,
)

CONFIG = {"bundle": "tiny", "data": "somewhere", "seed": 0, "settings": {"lambda": 0.1}}


def rows_of(ids, **changes):
    known = {
        "path": 'test/A/"odd", näme.png',
        "label": "A",
        "source": "A",
        "target": "B",
        "outcome": "reached",
        "p_target_factual": 0.1,
        "p_target": 0.1 + 0.2,
        "steps": 3,
        "evaluations": 4,
        "prior_passes": 0,
        "decodes": 5,
        "seconds": 1 / 3,
        "patient": None,
    }
    return [{"id": i, **known, **changes} for i in ids]


def images_of(ids):
    return torch.stack([torch.full((1, 4, 4), (i % 100) / 100) for i in ids])


def add(path, ids, **changes):
    images = images_of(ids)
    write_shards(path, rows_of(ids, **changes), torch.tensor(ids), images, 1 - images)


def test_what_is_written_is_read_again(tmp_path):
    run = tmp_path / "deep" / "run"
    assert create_run(run, CONFIG) == set()
    big = 2**63 - 1
    add(run, [big, 7], patient="p1", draw=2)
    add(run, [3])
    write_skipped(run, [{"path": "bad.png", "reason": "truncated, at byte 7"}])
    found = read_run(run)
    assert found.config == CONFIG
    assert [row["id"] for row in found.samples] == [big, 7, 3]
    first, last = found.samples[0], found.samples[2]
    assert set(first) == set(SAMPLE_COLUMNS)
    assert first["p_target"] == 0.1 + 0.2
    assert first["seconds"] == 1 / 3
    assert (first["steps"], first["draw"], first["patient"]) == (3, 2, "p1")
    assert first["path"] == 'test/A/"odd", näme.png'
    assert last["patient"] is last["draw"] is last["subgroup"] is None
    assert found.skipped == [{"path": "bad.png", "reason": "truncated, at byte 7"}]
    shards = list(found.images())
    assert [ids.tolist() for ids, _, _ in shards] == [[big, 7], [3]]
    assert torch.equal(shards[1][1], images_of([3]))
    assert torch.equal(shards[1][2], 1 - images_of([3]))


def test_configuration_is_stored_as_plain_yaml(tmp_path):
    config = {**CONFIG, "classes": ("A", "B"), "judges": tmp_path, "limit": None}
    create_run(tmp_path / "run", config)
    stored = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert stored == {**CONFIG, "classes": ["A", "B"], "judges": str(tmp_path), "limit": None}
    assert create_run(tmp_path / "run", config) == set()


def test_a_run_resumes_with_the_ids_that_it_has(tmp_path):
    create_run(tmp_path, CONFIG)
    add(tmp_path, [1, 2])
    assert create_run(tmp_path, CONFIG) == {1, 2}
    add(tmp_path, [3])
    assert [row["id"] for row in read_run(tmp_path).samples] == [1, 2, 3]


def test_another_configuration_is_refused_and_its_differences_named(tmp_path):
    create_run(tmp_path, CONFIG)
    other = {**CONFIG, "settings": {"lambda": 0.5}, "limit": 8}
    with pytest.raises(ValueError, match=r"settings\.lambda: there 0\.1, asked 0\.5") as caught:
        create_run(tmp_path, other)
    assert "limit: there 'nothing', asked 8" in str(caught.value)
    assert "seed" not in str(caught.value)
    assert "--out" in str(caught.value)


def test_something_else_is_never_written_into(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="something else"):
        create_run(tmp_path, CONFIG)
    with pytest.raises(ValueError, match="got the file"):
        create_run(tmp_path / "thesis.txt", CONFIG)
    with pytest.raises(ValueError, match="can be written"):
        create_run(tmp_path / "thesis.txt" / "run", CONFIG)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_start_that_was_interrupted_is_begun_again(tmp_path):
    create_run(tmp_path, CONFIG)
    (tmp_path / "config.yaml").unlink()
    assert create_run(tmp_path, CONFIG) == set()


def test_a_shard_without_rows_is_searched_again(tmp_path):
    create_run(tmp_path, CONFIG)
    add(tmp_path, [1, 2])
    before = (tmp_path / "samples.csv").read_text()
    add(tmp_path, [3, 4])
    (tmp_path / "samples.csv").write_text(before)
    with pytest.raises(ValueError, match="run the same search again"):
        read_run(tmp_path)
    assert create_run(tmp_path, CONFIG) == {1, 2}
    add(tmp_path, [4, 3])
    assert [row["id"] for row in read_run(tmp_path).samples] == [1, 2, 4, 3]


@pytest.mark.parametrize("lost", [1, 3, 60, 150])
def test_rows_cut_short_are_searched_again(tmp_path, lost):
    create_run(tmp_path, CONFIG)
    add(tmp_path, [1, 2])
    add(tmp_path, [3, 4])
    table = tmp_path / "samples.csv"
    table.write_bytes(table.read_bytes()[:-lost])
    assert create_run(tmp_path, CONFIG) == {1, 2}
    add(tmp_path, [3, 4])
    assert [row["id"] for row in read_run(tmp_path).samples] == [1, 2, 3, 4]


def test_rows_without_their_shard_are_searched_again(tmp_path):
    create_run(tmp_path, CONFIG)
    add(tmp_path, [1, 2])
    kept = set((tmp_path / "shards").iterdir())
    add(tmp_path, [3])
    for shard in set((tmp_path / "shards").iterdir()) - kept:
        shard.unlink()
    with pytest.raises(ValueError, match="run the same search again"):
        read_run(tmp_path)
    assert create_run(tmp_path, CONFIG) == {1, 2}
    assert [row["id"] for row in read_run(tmp_path).samples] == [1, 2]


def test_broken_and_partial_shards_are_searched_again(tmp_path):
    create_run(tmp_path, CONFIG)
    add(tmp_path, [1])
    (tmp_path / "shards" / "x.safetensors.partial").write_bytes(b"half")
    (shard,) = (tmp_path / "shards").glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:20])
    with pytest.raises(ValueError, match=shard.name):
        read_run(tmp_path)
    assert create_run(tmp_path, CONFIG) == set()
    assert not list((tmp_path / "shards").iterdir())


def test_writing_the_same_batch_twice_does_not_double_it(tmp_path):
    create_run(tmp_path, CONFIG)
    add(tmp_path, [1, 2])
    add(tmp_path, [1, 2])
    assert create_run(tmp_path, CONFIG) == {1, 2}
    assert [row["id"] for row in read_run(tmp_path).samples] == [1, 2]


def test_rows_that_do_not_fit_their_images_are_refused(tmp_path):
    create_run(tmp_path, CONFIG)
    images = images_of([1, 2])
    with pytest.raises(ValueError, match="one row an image"):
        write_shards(tmp_path, rows_of([2, 1]), torch.tensor([1, 2]), images, images)
    with pytest.raises(ValueError, match="got also stpes"):
        write_shards(tmp_path, rows_of([1, 2], stpes=1), torch.tensor([1, 2]), images, images)
    assert not list((tmp_path / "shards").iterdir())


def test_what_is_no_run_is_named(tmp_path):
    with pytest.raises(ValueError, match="which is none"):
        read_run(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"no config\.yaml"):
        read_run(tmp_path)
    create_run(tmp_path / "run", CONFIG)
    with pytest.raises(ValueError, match="without any"):
        read_run(tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_text("[unclosed")
    with pytest.raises(ValueError, match="cannot be read"):
        read_run(tmp_path / "run")


def test_a_foreign_table_is_named(tmp_path):
    create_run(tmp_path, CONFIG)
    (tmp_path / "samples.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="expected the columns id, path"):
        read_run(tmp_path)


def test_a_full_disk_is_an_error_with_the_path_and_leaves_nothing_half(tmp_path):
    """A limit on the size of files stands in for the disk: the write itself fails."""
    create_run(tmp_path, CONFIG)
    add(tmp_path, [1])
    images = torch.zeros(1, 1, 512, 512)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(ValueError, match=r"shards.*free space") as caught:
            write_shards(tmp_path, rows_of([2]), torch.tensor([2]), images, images)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert isinstance(caught.value.__cause__, OSError)
    assert len(list((tmp_path / "shards").iterdir())) == 1
    assert [row["id"] for row in read_run(tmp_path).samples] == [1]


def test_writers_at_the_same_time_do_not_mix_their_rows(tmp_path):
    create_run(tmp_path, CONFIG)
    with ThreadPoolExecutor(8) as writers:
        list(writers.map(lambda i: add(tmp_path, [i, i + 1000], label="x" * 5000), range(1, 101)))
    found = read_run(tmp_path)
    assert {row["id"] for row in found.samples} == {*range(1, 101), *range(1001, 1101)}
    assert {row["label"] for row in found.samples} == {"x" * 5000}


def test_images_that_are_the_factuals_themselves_are_stored(tmp_path):
    create_run(tmp_path, CONFIG)
    images = images_of([1])
    write_shards(tmp_path, rows_of([1], outcome="already there"), torch.tensor([1]), images, images)
    ((_, factual, image),) = read_run(tmp_path).images()
    assert torch.equal(factual, image)
