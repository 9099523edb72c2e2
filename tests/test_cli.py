"""The command line: its fixed lines, its configuration files, its exit codes."""

import json
import subprocess
import sys

import pytest
import yaml
from PIL import Image

from cfgen.cli import COMMANDS, INTERRUPTED, PARTS, main
from cfgen.data.phantom import of_path, samples
from evaluation.summary import ALL

QUICK = ("--settings.weight", 0.1, "--settings.steps", 15)


def cfgen(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Six phantoms of a test split, as PNG files in class folders."""
    root = tmp_path_factory.mktemp("films")
    for sample in samples({"test": 6}):
        path = root / sample.path
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = (of_path(sample.path, 64).image[0] * 255).round().byte().numpy()
        Image.fromarray(pixels).save(path)
    return root


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["train"], ["train", "--help"]])
def test_help_names_every_command(arguments, capsys):
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for word in PARTS if arguments[:1] == ["train"] else COMMANDS:
        assert f"  {word} " in out


def test_help_imports_neither_torch_nor_what_needs_it():
    code = (
        "import sys; from cfgen.cli import main; code = main(['--help']); "
        "heavy = {'torch', 'lightning', 'diffusers', 'matplotlib', 'numpy', 'jsonargparse'}; "
        "sys.exit(code or ' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "listed"),
    [
        (["serach", "--bundle", "x"], COMMANDS),
        (["serach", "--help"], COMMANDS),
        (["--bundle", "x"], COMMANDS),
        (["train", "clasifier"], PARTS),
        (["train", "clasifier", "--help"], PARTS),
    ],
)
def test_unknown_words_are_refused_with_what_there_is(arguments, listed, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert repr(arguments[arguments[0] == "train"]) in err
    assert all(word in err for word in listed)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "train"])
def test_each_command_lists_its_options(command, capsys):
    with pytest.raises(SystemExit) as ended:
        cfgen(command, "--help")
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "--config" in out
    assert "--print_config" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["search", "--data", "phantom", "--out", "x"], "bundle"),
        (["search", "--bundle", "b/", "--data", "phantom", "--out", "x", "--limmit", 3], "limmit"),
        (["search", "--bundle", "b/", "--data", "phantom", "--out", "x", "--limit", "n"], "limit"),
        (["search", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["compare", "--out", "x"], "runs"),
        (["evaluate"], "run"),
    ],
)
def test_wrong_options_end_with_code_2_and_name_the_option(arguments, told, capsys):
    with pytest.raises(SystemExit) as ended:
        cfgen(*arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_the_fixed_lines_work_one_after_the_other(films, tiny_bundle_path, tmp_path, capsys):
    runs = {method: tmp_path / method for method in ("pixel", "latent-shift")}
    for method, run in runs.items():
        search = ("search", "--bundle", tiny_bundle_path, "--data", films, "--split", "test")
        assert cfgen(*search, "--method", method, "--limit", 4, "--out", run) == 0
        assert capsys.readouterr().out == f"{run}\n"
        assert cfgen("evaluate", run) == 0
        told = capsys.readouterr().out
        assert told.strip() == (run / "summary.md").read_text().strip()
        assert f"# {method}: {method}" in told
        assert json.loads((run / "summary.json").read_text())["samples"] == 4
    assert cfgen("compare", *runs.values(), "--out", tmp_path / "table") == 0
    table = capsys.readouterr().out
    assert all(f"| {method} " in table for method in runs)
    assert {file.suffix for file in (tmp_path / "table").iterdir()} == {
        ".md",
        ".csv",
        ".tex",
        ".png",
    }
    assert cfgen("report", runs["pixel"]) == 0
    page = runs["pixel"] / "report.html"
    assert capsys.readouterr().out == f"{page}\n"
    assert "phantom-2000000" in page.read_text()


def test_a_run_is_evaluated_from_any_directory(films, tiny_bundle_path, tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(films)
    (tmp_path / "bundle").symlink_to(tiny_bundle_path)
    monkeypatch.chdir(tmp_path)
    given = ("--bundle", "./bundle", "--data", "data", "--method", "pixel", *QUICK)
    assert cfgen("search", *given, "--out", "run") == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert cfgen("evaluate", "../run") == 0
    assert json.loads((tmp_path / "run/summary.json").read_text())["notes"] == []


def test_a_printed_configuration_asks_the_same_again(films, tiny_bundle_path, tmp_path, capsys):
    given = ("--bundle", tiny_bundle_path, "--data", films, "--limit", 2, "--method", "pixel")
    given = (*given, *QUICK, "--out", tmp_path / "run")
    with pytest.raises(SystemExit) as ended:
        cfgen("search", *given, "--print_config")
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["settings"]["steps"] == 15
    (tmp_path / "again.yaml").write_text(printed)
    assert cfgen("search", *given) == 0
    before = (tmp_path / "run/samples.csv").read_bytes()
    assert cfgen("search", "--config", tmp_path / "again.yaml") == 0
    assert (tmp_path / "run/samples.csv").read_bytes() == before


def test_dotted_overrides_win_over_the_file(films, tiny_bundle_path, tmp_path):
    asked = {
        "bundle": str(tiny_bundle_path),
        "data": str(films),
        "method": "pixel",
        "limit": 2,
        "settings": {"weight": 0.2, "steps": 3, "distance": "l1"},
    }
    (tmp_path / "asked.yaml").write_text(yaml.safe_dump(asked))
    run = tmp_path / "run"
    override = ("--settings.weight", 0.5, "--out", run)
    assert cfgen("search", "--config", tmp_path / "asked.yaml", *override) == 0
    settings = yaml.safe_load((run / "config.yaml").read_text())["settings"]
    assert settings["weight"] == 0.5
    assert (settings["steps"], settings["distance"]) == (3, "l1")
    assert settings["step_size"] == 0.01


def test_a_number_of_steps_alone_is_a_whole_number(films, tiny_bundle_path, tmp_path):
    given = ("--bundle", tiny_bundle_path, "--data", films, "--limit", 2, "--method", "pixel")
    assert cfgen("search", *given, "--settings.steps", 3, "--out", tmp_path / "run") == 0
    steps = yaml.safe_load((tmp_path / "run/config.yaml").read_text())["settings"]["steps"]
    assert (steps, type(steps)) == (3, int)


def test_what_is_wrong_is_told_with_code_2(tmp_path, capsys):
    assert cfgen("report", tmp_path / "nowhere") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("cfgen report: expected")
    assert "nowhere" in err


def test_an_error_of_the_operating_system_is_told_with_code_2(tmp_path, monkeypatch, capsys):
    def denied(run, beside=(), limit=1000):
        raise PermissionError(13, "Permission denied", str(run))

    monkeypatch.setattr("evaluation.report.main.report", denied)
    assert cfgen("report", tmp_path) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_what_the_user_stops_ends_without_a_traceback(tmp_path, monkeypatch, capsys):
    def stopped(run, beside=(), limit=1000):
        raise KeyboardInterrupt

    monkeypatch.setattr("evaluation.report.main.report", stopped)
    assert cfgen("report", tmp_path) == INTERRUPTED
    assert "interrupted" in capsys.readouterr().err


def test_phantoms_are_written_as_files_that_can_be_searched(tiny_bundle_path, tmp_path):
    assert cfgen("phantoms", "--out", tmp_path / "films", "--count", 4, "--size", 64) == 0
    given = ("--bundle", tiny_bundle_path, "--data", tmp_path / "films/test", "--split", "all")
    assert cfgen("search", *given, "--method", "pixel", *QUICK, "--out", tmp_path / "run") == 0
    assert len((tmp_path / "run/samples.csv").read_text().splitlines()) == 5


def test_a_sweep_draws_its_tradeoff_and_compares_its_runs(
    films, tiny_bundle_path, tmp_path, capsys
):
    given = ("--bundle", tiny_bundle_path, "--data", films, "--limit", 4, "--method", "pixel")
    out = tmp_path / "sweep"
    assert cfgen("sweep", *given, "--weights", "[0, 0.5]", *QUICK[2:], "--out", out) == 0
    assert "lambda-0.5" in capsys.readouterr().out
    with Image.open(out / "tradeoff.png") as drawn:
        assert drawn.width > 300
    assert "lambda-0" in (out / "comparison.md").read_text()
    weights = [
        yaml.safe_load((out / name / "config.yaml").read_text())["settings"]["weight"]
        for name in ("lambda-0", "lambda-0.5")
    ]
    assert weights == [0.0, 0.5]


def test_a_sweep_of_images_that_are_at_their_target_says_so(
    films, tiny_bundle_path, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(
        "evaluation.sweep.evaluate", lambda run: {"subsets": {ALL: {"metrics": {}}}}
    )
    given = ("--bundle", tiny_bundle_path, "--data", films, "--limit", 2, "--method", "pixel")
    out = ("--weights", "[0.1]", "--settings.steps", 2, "--out", tmp_path / "sweep")
    assert cfgen("sweep", *given, *out) == 2
    assert "at their target" in capsys.readouterr().err


def test_a_sweep_of_a_method_without_weight_is_refused(films, tiny_bundle_path, tmp_path, capsys):
    given = ("--bundle", tiny_bundle_path, "--data", films, "--method", "latent-shift")
    assert cfgen("sweep", *given, "--out", tmp_path / "sweep") == 2
    assert "weight" in capsys.readouterr().err
