"""Processes killed at any moment, a disk that is full: the same command again ends the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from safetensors.torch import load_file

from evaluation.runs import read_run
from tests.server import Server
from tests.test_scale import begin, places, rows_of
from tests.test_training import assert_same_training, draw_films, write_recipe

SEED = 7
SAMPLES = 24


@pytest.fixture(scope="module")
def trainers(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("logs"), "train.classifier", warnings="default")
    yield server
    server.close()


@pytest.fixture(scope="module")
def asked(tiny_bundle_path):
    """A search of many small batches, with nothing in it that could be left to chance."""
    given = ("--bundle", tiny_bundle_path, "--data", "phantom", "--split", "test")
    how = ("--method", "latent", "--settings.steps", 12, "--batch_size", 1)
    return ("search", *given, "--limit", SAMPLES, *how)


@pytest.fixture(scope="module")
def undisturbed(asked, server, tmp_path_factory):
    """The run that nothing happened to, and the seconds that it took."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    server.run("--help")  # until all is imported
    began = time.monotonic()
    assert server.run(*asked, "--out", run)[0] == 0
    return run, time.monotonic() - began


def assert_same(run: Path, expected: Path) -> None:
    """The very same run, but for the seconds."""
    assert rows_of(run) == rows_of(expected)
    assert {file.name for file in run.iterdir()} == {file.name for file in expected.iterdir()}
    for name in ("config.yaml", "skipped.csv"):
        assert (run / name).read_bytes() == (expected / name).read_bytes()
    names = {shard.name for shard in (run / "shards").iterdir()}
    assert names == {shard.name for shard in (expected / "shards").iterdir()}
    for name in names:
        assert (run / "shards" / name).read_bytes() == (expected / "shards" / name).read_bytes()


def assert_nothing_half(run: Path) -> None:
    """What a kill left is whole or known not to be."""
    for shard in run.glob("shards/*.safetensors"):
        assert set(load_file(shard)) == {"id", "factual", "image"}
    if run.is_dir():
        with suppress(ValueError):
            assert read_run(run).samples


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_for(there: Callable[[], bool]) -> None:
    limit = time.monotonic() + 120
    while not there():
        assert time.monotonic() < limit, "expected it to come, got nothing"
        time.sleep(0.01)


def wait_for_shards(run: Path, count: int) -> None:
    wait_for(lambda: len(list(run.glob("shards/*.safetensors"))) >= count)


def test_killed_again_and_again_a_search_ends_as_if_it_had_not_been(
    asked, undisturbed, server, tmp_path
):
    (expected, seconds), chance, kills = undisturbed, random.Random(SEED), 0
    for number in range(4):
        run = tmp_path / f"run{number}"
        for _ in range(3):
            pid = server.begin(*asked, "--out", run)
            time.sleep(chance.uniform(0.1, 1) * seconds)
            kill(pid)
            kills += server.end(pid) == -signal.SIGKILL
            assert_nothing_half(run)
        assert server.run(*asked, "--out", run)[0] == 0
        assert_same(run, expected)
    assert kills > 2


@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("then", [1, 2])
def test_one_of_two_processes_is_killed(victim, then, asked, undisturbed, server, tmp_path):
    run = tmp_path / "run"
    pids = begin(server, "torchrun", 2, *asked, "--out", run)
    wait_for_shards(run, 2 + random.Random(SEED + victim).randrange(4))
    kill(pids[victim])
    assert [server.end(pid) for pid in pids] == ([-9, 2] if victim == 0 else [2, -9])
    assert "got one that ended before" in server.said(pids[1 - victim])
    assert_nothing_half(run)
    again = begin(server, "torchrun", then, *asked, "--out", run)
    assert [server.end(pid) for pid in again] == [0] * then
    assert_same(run, undisturbed[0])


def test_what_lightning_started_ends_with_the_first_process(asked, undisturbed, server, tmp_path):
    run = tmp_path / "run"
    connected = ("--trainer.devices", "2", "--trainer.strategy", "ddp")
    with subprocess.Popen(
        [sys.executable, "-m", "cfgen.cli", *map(str, asked), "--out", run, *connected],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
    ) as first:
        wait_for_shards(run, 3)
        first.kill()
        assert first.stderr is not None
        said = first.stderr.read()  # to its end, which is that of the second process
    assert "the same command again" in said
    assert len(rows_of(run)) < SAMPLES
    assert server.run(*asked, "--out", run)[0] == 0
    assert_same(run, undisturbed[0])


def test_two_commands_at_once_take_turns(asked, undisturbed, server, tmp_path):
    run = tmp_path / "run"
    first = server.begin(*asked, "--out", run)
    wait_for_shards(run, 1)
    second = server.begin(*asked, "--out", run)
    assert [server.end(pid) for pid in (first, second)] == [0, 0]
    assert "another process still writes" in server.said(second)
    assert_same(run, undisturbed[0])


def test_a_search_goes_on_once_a_full_disk_has_space(asked, undisturbed, server, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs rights that this process has not")
    try:
        for size in ("256k", "400k"):
            subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)
            code, said = server.run(*asked, "--out", disk / "run")
            assert code == 2
            assert "free space there" in said
            assert_nothing_half(disk / "run")
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        assert server.run(*asked, "--out", disk / "run")[0] == 0
        assert_same(disk / "run", undisturbed[0])
    finally:
        subprocess.run(["umount", disk], check=True)


def test_one_of_two_processes_that_train_is_killed(trainers, tmp_path):
    draw_films(tmp_path / "films", {"train": 40})
    whole, broken = (
        write_recipe(tmp_path / name, tmp_path / "films") for name in ("whole", "broken")
    )

    def train(recipe):
        how = ("--config", recipe, "--trainer.devices", 2, "--trainer.strategy", "ddp")
        return [
            trainers.begin("train", "classifier", *how, **place) for place in places("torchrun", 2)
        ]

    assert [trainers.end(pid) for pid in train(whole)] == [0, 0]
    pids = train(broken)
    wait_for((broken.parent / "logs/tiny/classifier/last.ckpt").is_file)
    time.sleep(random.Random(SEED).uniform(0, 0.2))
    kill(pids[1])
    assert trainers.end(pids[1]) == -signal.SIGKILL
    kill(pids[0])  # as torchrun does
    trainers.end(pids[0])
    assert not (broken.parent / "tiny/classifier").exists()
    assert [trainers.end(pid) for pid in train(broken)] == [0, 0]
    assert_same_training(broken, whole)
