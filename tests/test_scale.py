"""A search by several processes, of batches that fit, within its time: the same results."""

from __future__ import annotations

import csv
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from cfgen.cli import OUT_OF_TIME, main
from cfgen.data.preprocessing import Preprocessing
from cfgen.data.samples import Sample, Source
from cfgen.methods import METHODS
from cfgen.methods import search as search_batch
from evaluation.runs import read_run
from evaluation.search import clock as clock_module
from evaluation.search import task as task_module
from evaluation.search.clock import Clock
from evaluation.search.ranks import Ranks
from evaluation.search.reading import read_ahead
from evaluation.search.sizes import BatchSize, out_of_memory
from evaluation.search.which import own_blocks
from evaluation.speed.memory import memory

REPOSITORY = Path(__file__).parents[1]
STEPS = ("--settings.steps", 8, "--settings.step_size", 0.005)


@pytest.fixture(scope="module")
def asked(tiny_bundle_path):
    given = ("--bundle", tiny_bundle_path, "--data", "phantom", "--split", "test", "--limit", 10)
    return ("search", *given, "--method", "latent", *STEPS, "--batch_size", 1)


@pytest.fixture(scope="module")
def alone(asked, server, tmp_path_factory):
    """The run of one process."""
    run = tmp_path_factory.mktemp("alone") / "run"
    assert server.run(*asked, "--out", run)[0] == 0
    return run


def places(launcher: str, world: int) -> list[dict[str, object]]:
    """Environments of processes on this machine, as torchrun or srun sets them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    master = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if launcher == "torchrun":
        known = {"WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "GROUP_RANK": 0}
        known |= {"TORCHELASTIC_RUN_ID": "none"}
        return [{**master, **known, "RANK": rank, "LOCAL_RANK": rank} for rank in range(world)]
    known = {"SLURM_NTASKS": world, "SLURM_NTASKS_PER_NODE": world, "SLURM_NNODES": 1}
    known |= {"SLURM_JOB_ID": 7, "SLURM_JOB_NAME": "search", "SLURM_NODELIST": "127.0.0.1"}
    return [
        {**master, **known, "SLURM_PROCID": rank, "SLURM_LOCALID": rank, "SLURM_NODEID": 0}
        for rank in range(world)
    ]


def begin(server, launcher, world, *arguments):
    connected = ("--trainer.devices", world, "--trainer.strategy", "ddp")
    return [
        server.begin(*arguments, *connected, "--trainer.accelerator", "cpu", **place)
        for place in places(launcher, world)
    ]


def rows_of(run):
    with (run / "samples.csv").open(newline="") as file:
        return [{**row, "seconds": None} for row in csv.DictReader(file)]


def images_of(run):
    found = {}
    for shard in (run / "shards").glob("*.safetensors"):
        held = load_file(shard)
        found |= dict(zip(held["id"].tolist(), held["image"], strict=True))
    return found


def assert_close(run, expected):
    """Same rows in the same order, to rounding; same images, to rounding."""
    numbers = ("p_target_factual", "p_target")
    got, wanted = rows_of(run), rows_of(expected)
    assert [row["id"] for row in got] == [row["id"] for row in wanted]
    for ours, theirs in zip(got, wanted, strict=True):
        for name in numbers:
            assert float(ours.pop(name)) == pytest.approx(float(theirs.pop(name)), abs=1e-4)
        assert ours == theirs
    mine, others = images_of(run), images_of(expected)
    assert mine.keys() == others.keys()
    for i, image in mine.items():
        torch.testing.assert_close(image, others[i], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("launcher", "world"), [("torchrun", 2), ("torchrun", 3), ("slurm", 2)])
def test_any_number_of_processes_finds_the_same(launcher, world, asked, alone, server, tmp_path):
    run = tmp_path / "run"
    pids = begin(server, launcher, world, *asked, "--out", run)
    assert [server.end(pid) for pid in pids] == [0] * world
    assert_close(run, alone)
    assert {file.name for file in run.iterdir()} == {file.name for file in alone.iterdir()}
    names = {shard.name for shard in (run / "shards").iterdir()}
    assert names == {shard.name for shard in (alone / "shards").iterdir()}
    assert server.said(pids[0]).splitlines()[-1] == str(run)
    assert str(run) not in server.said(pids[1])


def test_fewer_samples_than_processes_are_searched_once(asked, alone, server, tmp_path):
    few = [*asked, "--limit", 2]
    assert server.run(*few, "--out", tmp_path / "alone")[0] == 0
    pids = begin(server, "torchrun", 3, *few, "--out", tmp_path / "run")
    assert [server.end(pid) for pid in pids] == [0, 0, 0]
    assert_close(tmp_path / "run", tmp_path / "alone")
    assert len(list((tmp_path / "run/shards").iterdir())) == 2


def test_what_is_wrong_is_said_by_the_first_process(asked, alone, server):
    before = (alone / "samples.csv").read_bytes()
    pids = begin(server, "torchrun", 2, *asked, "--out", alone, "--seed", 5)
    assert [server.end(pid) for pid in pids] == [2, 2]
    assert "seed: there 0, asked 5" in server.said(pids[0])
    assert "seed" not in server.said(pids[1])
    pids = begin(server, "torchrun", 2, *asked, "--out", alone, "--target", "GOUT")
    assert [server.end(pid) for pid in pids] == [2, 2]
    assert "got 'GOUT'" in server.said(pids[0])
    assert "GOUT" not in server.said(pids[1])
    assert (alone / "samples.csv").read_bytes() == before


def test_files_that_cannot_be_read_are_listed_once_in_order(tiny_bundle_path, server, tmp_path):
    from PIL import Image

    for number in range(9):
        file = tmp_path / f"films/test/{('NORMAL', 'OPACITY')[number % 2]}/{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = torch.rand(64, 64, generator=torch.Generator().manual_seed(number))
        Image.fromarray((pixels * 255).byte().numpy()).save(file)
        if number % 3 == 1:
            file.write_bytes(file.read_bytes()[:200])
    asked = ("search", "--bundle", tiny_bundle_path, "--data", tmp_path / "films")
    asked = (*asked, "--method", "pixel", "--settings.steps", 2, "--batch_size", 2)
    assert server.run(*asked, "--out", tmp_path / "one")[0] == 0
    pids = begin(server, "torchrun", 2, *asked, "--out", tmp_path / "two")
    assert [server.end(pid) for pid in pids] == [0, 0]
    assert_close(tmp_path / "two", tmp_path / "one")
    listed = [(tmp_path / run / "skipped.csv").read_text() for run in ("one", "two")]
    assert listed[0] == listed[1]
    assert len(read_run(tmp_path / "two").skipped) == 3


@settings(max_examples=40, deadline=None)
@given(
    total=st.integers(1, 60),
    block=st.integers(1, 9),
    world=st.integers(1, 5),
    done=st.sets(st.integers(0, 59)),
)
def test_every_sample_is_one_process_s_business(total, block, world, done):
    samples = [Sample(f"{number}.png", None, None) for number in range(total)]
    finished = {samples[number].id for number in done if number < total}
    shares = [
        own_blocks(samples, finished, block, Ranks(rank, world, "cpu", id, list))
        for rank in range(world)
    ]
    found = [sample for share in shares for some in share for sample in some]
    assert len(found) == len(set(found)) == total - len(finished)
    whole = own_blocks(samples, finished, block, Ranks(0, 1, "cpu", id, list))
    assert sorted(map(str, whole)) == sorted(str(some) for share in shares for some in share)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


class TooMuch:
    """A search that has memory for a few items at once only, and says otherwise as torch does."""

    def __init__(self, fits: int, error: Exception) -> None:
        self.fits, self.error, self.tried = fits, error, []

    def __call__(self, items, width):
        self.tried.append((len(items), width))
        if width > self.fits:
            raise self.error
        return list(items)


CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 4611686018427387904 bytes. Error code 12 (Cannot allocate memory)"
)
GPU = torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("error", [GPU, CPU, MemoryError("numpy")])
def test_a_batch_too_large_is_halved_and_stays_so(error, caplog):
    search, size = TooMuch(3, error), BatchSize(16)
    found = [item for some in size.search(range(64), search) for item in some]
    assert found == list(range(64))
    assert search.tried == [(64, 16), (32, 8), (16, 4), *[(8, 2)] * 8]
    search.tried.clear()
    assert [len(some) for some in size.search(range(13), search)] == [8, 5]
    assert search.tried == [(8, 2), (5, 2)]
    assert "16 images at once: going on with 8" in caplog.text


def test_an_image_too_large_and_another_error_are_no_matter_of_size():
    with pytest.raises(ValueError, match=r"memory for one image .*CUDA out of memory"):
        list(BatchSize(4).search(range(4), TooMuch(0, GPU)))
    search = TooMuch(1, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        list(BatchSize(4).search(range(4), search))
    assert search.tried == [(4, 4)]


def test_torch_s_own_error_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**62, dtype=torch.uint8)
    assert out_of_memory(caught.value)
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize("size", [8, "auto"])
def test_a_search_without_enough_memory_finds_the_same(size, asked, alone, tmp_path, monkeypatch):
    tried = []

    def narrow(bundle, goal, factual, *how):
        width = min(how[-1].width, len(factual))
        tried.append((len(factual), width))
        if width > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return search_batch(bundle, goal, factual, *how)

    monkeypatch.setattr(task_module, "search_batch", narrow)
    given = [*map(str, asked), "--batch_size", str(size), "--out", str(tmp_path / "run")]
    assert main(given) == 0
    assert tried[1:] == ([(10, 8)] if size == 8 else [(10, 10), (10, 5)]) + (
        [(10, 4), (8, 2), (2, 2)] if size == 8 else [(8, 2), (2, 2)]
    )
    assert_close(tmp_path / "run", alone)
    monkeypatch.undo()
    assert main(["axioms", str(tmp_path / "run"), "--limit", "2"]) == 0


def test_the_size_found_is_the_largest_that_is_worth_it(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("evaluation.search.sizes.time.perf_counter", lambda: now[0])

    def searched(items, width):
        turns = -(-len(items) // width)
        now[0] += turns * (10 + max(width, 32))  # as long for 32 as for 1
        now[0] += turns * max(0, width - 32) * 5  # and no better beyond
        return len(items), width

    size = BatchSize("auto")
    sizes = list(size.search(range(600), searched))
    assert sizes == [(64, 16), (128, 32), (256, 64), (128, 32), (24, 24)]


def test_the_next_block_is_read_while_one_is_searched():
    begun, second = [], threading.Event()

    def load(sample):
        begun.append(sample.path)
        if sample.path == "3":
            second.set()
        return torch.rand(1, 8, 8)

    samples = [Sample(str(number), None, None) for number in range(8)]
    source = Source("drawn", (), samples, load)
    blocks = [samples[start : start + 2] for start in range(0, 8, 2)]
    reading = read_ahead(source, blocks, Preprocessing(size=8))
    assert [sample.path for sample, _ in next(reading)] == ["0", "1"]
    assert second.wait(30)
    time.sleep(0.05)
    assert sorted(begun) == ["0", "1", "2", "3"]
    assert [sample.path for read in reading for sample, _ in read] == list("234567")


def test_a_further_batch_is_begun_only_in_time(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(clock_module.time, "monotonic", lambda: now[0])
    clock = Clock(10.0)
    now[0] += 3  # models are loaded
    clock.begin()
    for seconds, goes_on in ((2, True), (1, True), (2, True), (0.5, False)):
        now[0] += seconds
        assert clock.another() == goes_on
    late = Clock(1.0)
    late.begin()
    now[0] += 50
    assert not late.another()
    for timeout in (0.0, -1.0):
        with pytest.raises(ValueError, match="above 0 seconds"):
            Clock(timeout)


def test_a_search_out_of_time_goes_on_by_the_same_command(asked, alone, tmp_path, capsys):
    command = [*map(str, asked), "--timeout", "0.001", "--out", str(tmp_path / "run")]
    for done in (4, 8):
        assert main(command) == OUT_OF_TIME
        assert f"expected 10 samples within 0.001 s, got {done} so far" in capsys.readouterr().err
        assert len(read_run(tmp_path / "run").samples) == done
    assert main(command) == 0
    assert_close(tmp_path / "run", alone)


def test_time_is_up_for_all_processes_at_once(asked, alone, server, tmp_path):
    command = (*asked, "--out", tmp_path / "run", "--timeout")
    pids = begin(server, "torchrun", 2, *command, 0.001)
    assert [server.end(pid) for pid in pids] == [OUT_OF_TIME, 0]
    assert "got 8 so far" in server.said(pids[0])
    assert len(read_run(tmp_path / "run").samples) == 8
    pids = begin(server, "torchrun", 2, *command, 1000)
    assert [server.end(pid) for pid in pids] == [0, 0]
    assert_close(tmp_path / "run", alone)


@pytest.mark.parametrize("method", METHODS)
def test_the_budget_of_a_sample_holds(method, asked, tmp_path):
    given = [*map(str, asked[:-8]), "--method", method, "--settings.steps", "5", "--limit", "4"]
    assert main([*given, "--confidence", "0.9999", "--out", str(tmp_path / "run")]) == 0
    samples = read_run(tmp_path / "run").samples
    # Of the factual, of the start, of the gradient that latent-shift goes along or a hope in vain.
    assert all(int(row["evaluations"]) <= 5 + 3 for row in samples)
    assert max(int(row["steps"]) for row in samples) <= 5


@pytest.mark.parametrize("most", [3, 6])
@pytest.mark.parametrize("method", METHODS)
def test_no_sample_costs_more_evaluations_than_it_may(method, most, asked, tmp_path):
    given = [*map(str, asked[:-8]), "--method", method, "--limit", "4", "--batch_size", "2"]
    given += ["--confidence", "0.9999", "--evaluations", str(most), "--out", str(tmp_path / "run")]
    assert main(given) == 0
    samples = read_run(tmp_path / "run").samples
    assert max(int(row["evaluations"]) for row in samples) == most
    assert {row["outcome"] for row in samples} <= {"budget spent", "reached"}


def test_the_batch_script_for_slurm_is_one():
    script = REPOSITORY / "docs/slurm/search.sbatch"
    subprocess.run(["bash", "-n", script], check=True)
    told = script.read_text()
    assert "srun" in told
    assert f"-eq {OUT_OF_TIME}" in told


def test_the_benchmark_of_memory_measures_real_searches(tiny_bundle_path):
    lines = memory([3], str(tiny_bundle_path)).splitlines()
    assert [cell.strip() for cell in lines[0].split("|")[1:3]] == ["images", "peak memory (MiB)"]
    images, peak = (cell.strip() for cell in lines[2].split("|")[1:3])
    assert images == "3"
    assert 100 < float(peak) < 10_000
