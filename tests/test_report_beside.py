"""Runs beside a run on its page, and the commands that make it again."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
import torch
import yaml

from cfgen.cli import main
from evaluation.report.commands import made_by
from evaluation.report.main import report
from evaluation.runs import create_run, read_run, write_shards
from tests.report_runs import sample, write_measures, write_run
from tests.test_report import read


def words_of(command: str) -> list[str]:
    """What a shell makes of a command that is pasted into it."""
    told = """cfgen() { for word; do printf '%s\\0' "$word"; done; }"""
    done = subprocess.run(["sh", "-c", f"{told}\n{command}"], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


@pytest.fixture
def run(tmp_path):
    return write_measures(write_run(tmp_path / "run"))


def test_runs_are_matched_by_sample_whatever_their_order(run, tmp_path):
    other = write_run(tmp_path / "other", ids=(4, 1, 2), shift=0.1, method="<i>pixel")
    page = read(report(run, [other]))
    assert page.data("table")["methods"] == ["latent", "<i>pixel"]
    found = {k: page.data(f"case-{k}")["found"][1] for k in range(6)}
    assert [k for k, one in found.items() if one] == [1, 2, 4]
    assert found[4]["result"] == "not reached"
    assert found[1]["result"] == "reached, not measured"
    own = page.data("case-1")["found"][0]
    assert own["result"] == "judges follow"
    assert own["change"] != found[1]["change"]


def test_runs_of_one_method_are_told_apart_by_their_folders(run, tmp_path):
    other = write_run(tmp_path / "stronger", shift=0.1)
    assert read(report(run, [other])).data("table")["methods"] == ["run", "stronger"]


def test_a_run_over_other_samples_is_refused(run, tmp_path):
    other = write_run(tmp_path / "other", ids=(6, 7, 8))
    with pytest.raises(ValueError, match=r"got none of the 6 in .*other; search both"):
        report(run, [other])
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("factual", [torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 16, 16)])
def test_another_image_of_the_same_name_is_refused(run, tmp_path, factual):
    other = tmp_path / "other"
    create_run(other, {"bundle": "other", "method": "pixel"})
    row = sample(1)
    write_shards(other, [row], torch.tensor([row["id"]]), factual, factual + 0.5)
    with pytest.raises(ValueError, match=r"same image as in the first run.*case1\.png"):
        report(run, [other])
    assert not list(run.glob("report.html*"))


def test_the_command_line_takes_several_runs(run, tmp_path, capsys):
    others = [write_run(tmp_path / name, shift=0.1, method=name) for name in ("a", "b c")]
    assert main(["report", str(run), "--beside", *map(str, others), "--limit", "5"]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    page = read(run / "report.html")
    assert page.data("table")["methods"] == ["latent", "a", "b c"]
    last = page.text[page.text.rindex("cfgen report") :].split(" Settings")[0]
    words = shlex.split(last.replace("\\ --", "--"))
    assert words == ["cfgen", "report", str(run), "--beside", *map(str, others), "--limit", "5"]


def test_the_command_makes_the_same_run_again(tiny_bundle_path, tmp_path):
    data = tmp_path / "films of $(today)"
    mask = tmp_path / "it's -- a mask.png"
    assert main(["phantoms", "--out", str(data), "--count", "4", "--size", "64"]) == 0
    films = next(data.rglob("*.png"))
    films.rename(mask)
    given = ["--bundle", str(tiny_bundle_path), "--data", "phantom", "--mask", str(mask)]
    given += ["--settings.steps", "3", "--settings.weight", "0.25", "--limit", "4"]
    run = tmp_path / "run"
    searched = ["search", *given, "--method", "pixel", "--seed", "7", "--out", str(run)]
    assert main(searched) == 0
    again = tmp_path / "again"
    assert main([*words_of(made_by(read_run(run)))[:-1], str(again)]) == 0
    assert yaml.safe_load((again / "config.yaml").read_text()) == read_run(run).config
    ids = [row["id"] for row in read_run(run).samples]
    assert [row["id"] for row in read_run(again).samples] == ids


def test_long_commands_are_broken_between_options_only(run):
    text = made_by(read_run(run))
    assert words_of(text) == [
        "search",
        "--bundle=phantom-64",
        "--data=some/folder of $(films)",
        "--split=test",
        "--method=latent",
        "--settings.weight=0.1",
        "--settings.steps=15",
        "--out",
        str(run),
    ]
    assert re.search(r"\\\n    '--data=some/folder of \$\(films\)'", text)
