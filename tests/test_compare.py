"""Runs side by side: the same numbers in three formats, and a warning where they do not compare."""

import csv
import io
import json
import re

import pytest
import torch

from evaluation.compare import compare
from evaluation.runs import create_run, write_shards
from evaluation.summary import summarise
from evaluation.tables import csv_text, interval, latex, markdown, number


def row_of(i):
    return {
        "id": i,
        "path": f"{i}.png",
        "label": "A",
        "source": "A" if i % 4 else "B",
        "target": "B" if i % 2 else "A",
        "outcome": "reached",
        "p_target_factual": 0.1,
        "evaluations": 10 + i,
        "seconds": 0.25,
    }


def measures_of(i, strength):
    valid = int(i < strength)
    return {
        "id": i,
        "valid": valid,
        "flip": valid,
        "ssim": 0.9 + i / 1000,
        "l1": 0.01234,
        "l2": 1.0 + i / 10,
        "judge_one_follows_valid": float(i % 2) if valid else None,
    }


def evaluated(path, ids, strength=6, **config):
    """A run and its evaluation, written as the evaluation does."""
    method = path.name.removesuffix("_run")
    create_run(path, {"bundle": "tiny", "weights": {"classifier": "aa"}, **config})
    images = torch.zeros(len(ids), 1, 2, 2)
    write_shards(path, [row_of(i) for i in ids], torch.tensor(ids), images, images)
    measured = [measures_of(i, strength) for i in ids]
    summary = summarise(
        [row_of(i) | {"patient": None} | dict.fromkeys(COSTS) for i in ids], measured
    )
    summary |= {"run": path.name, "method": method, "judges": ["one"], "notes": []}
    summary["frechet"] = {"net": {"B": {"ratio": 1.25}}}
    summary["kernel"] = {"net": {"B": {"distance": 0.0, "real_high": 0.0125}}}
    right = {"mean": 0.9, "low": 0.85, "high": 0.95, "n": 100}
    summary["on_real"] = {"one": {"B": {"right": right, "percentile": 97.0}}}
    summary["changes"] = {"B": {"pairwise_cosine": 0.5, "explained_by_mean": 0.25}}
    (path / "summary.json").write_text(json.dumps(summary))
    (path / "metrics.csv").write_text(csv_text(measured, tuple(measured[0])))
    return path


COSTS = ("steps", "prior_passes", "decodes")


def table(text):
    """Runs of all Markdown tables, each as a mapping from measure to cell."""
    runs = []
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines]
        if cells:
            names, measures = cells[0][1:], [row[0] for row in cells[2:]]
            for place, name in enumerate(names, start=1):
                values = [row[place] for row in cells[2:]]
                runs.append({"run": name, **dict(zip(measures, values, strict=True))})
    return runs


def test_a_column_a_run_with_intervals_and_numbers(tmp_path):
    runs = [
        evaluated(tmp_path / "pixel_run", [*range(8)]),
        evaluated(tmp_path / "b", [*range(8)], 8),
    ]
    text = compare(runs, tmp_path / "out")
    assert (tmp_path / "out" / "comparison.md").read_text() == text
    assert "Warning" not in text
    pixel, other = table(text)[:2]
    assert (pixel["run"], pixel["method"], pixel["n"]) == ("pixel_run", "pixel", "8")
    assert re.fullmatch(r"\.75 \[\.\d\d, 1\.00\]", pixel["valid"])
    assert other["valid"] == "1.00 [1.00, 1.00]"
    assert pixel["L1"] == ".012 [.012, .012]"
    assert pixel["one follows, of valid"].endswith("(n = 6)")
    assert pixel["one follows, of valid, to B"] == "1.00 [1.00, 1.00] (n = 3)"
    assert pixel["one follows, of valid, to A"] == ".00 [.00, .00] (n = 3)"
    assert pixel["Frechet ratio (net), to B"] == "1.25"
    assert pixel["Frechet ratio (net), to A"] == "-"
    assert pixel["kernel distance (net), to B"] == ".0000"
    assert pixel["kernel distance of real images (net), 95th percentile, to B"] == ".0125"
    assert pixel["one right on real, to B"] == ".90 [.85, .95] (n = 100)"
    assert pixel["one percentile of followed, to B"] == "97"
    assert pixel["pairwise cosine of changes, to B"] == ".50"
    assert "own factual nearest, to B" not in pixel
    assert (pixel["evaluations"], pixel["s/sample"]) == ("14", ".250")
    assert "MS-SSIM" not in pixel


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path):
    runs = [evaluated(tmp_path / side / "run", [*range(8)]) for side in ("a", "b")]
    names = [row["run"] for row in table(compare(runs, tmp_path / "out"))[:2]]
    assert names == [run.as_posix() for run in runs]


def test_those_classified_correctly_stand_beside(tmp_path):
    everything, correct = table(compare([evaluated(tmp_path / "a", [*range(8)])], tmp_path))[:2]
    assert (everything["n"], correct["n"]) == ("8", "6")
    # A Frechet ratio is of all attempted.
    column = "Frechet ratio (net), to B"
    assert (everything[column], correct[column]) == ("1.25", "-")


def test_the_csv_holds_the_same_numbers_in_full(tmp_path):
    compare([evaluated(tmp_path / "a", [*range(8)])], tmp_path / "out")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "comparison.csv").read_text())))
    assert [row["subset"] for row in rows] == ["all attempted", "classified correctly"]
    assert float(rows[0]["SSIM"]) == pytest.approx(0.9035, abs=1e-12)
    assert float(rows[0]["SSIM (low)"]) < 0.9035 < float(rows[0]["SSIM (high)"])
    assert rows[0]["SSIM (n)"] == "8"


def test_runs_of_other_samples_and_models_are_compared_with_a_warning(tmp_path):
    runs = [
        evaluated(tmp_path / "a", [*range(8)]),
        evaluated(tmp_path / "b", [*range(4, 10)], weights={"classifier": "bb"}),
    ]
    text = compare(runs, tmp_path)
    assert "4 are common to all (a 8, b 6)" in text
    assert "different models: classifier" in text
    assert [row["n"] for row in table(text)[:2]] == ["8", "6"]


def test_a_run_without_evaluation_says_which_command_to_run(tmp_path):
    run = evaluated(tmp_path / "a", [1, 2])
    (run / "summary.json").unlink()
    with pytest.raises(ValueError, match=f"run `cfgen evaluate {run}` first"):
        compare([run], tmp_path)
    with pytest.raises(ValueError, match="got none"):
        compare([], tmp_path)


def test_an_evaluation_that_is_out_of_date_or_broken_is_refused(tmp_path):
    run = evaluated(tmp_path / "a", [1, 2])
    images = torch.zeros(1, 1, 2, 2)
    write_shards(run, [row_of(3)], torch.tensor([3]), images, images)
    with pytest.raises(ValueError, match=r"3 samples .* got one of 2"):
        compare([run], tmp_path)
    (run / "summary.json").write_text("{")
    with pytest.raises(ValueError, match="again"):
        compare([run], tmp_path)


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ValueError, match="can be written"):
        compare([evaluated(tmp_path / "a", [1, 2])], tmp_path / "out")


def test_the_first_run_is_held_against_each_other_sample_by_sample(tmp_path):
    runs = [
        evaluated(tmp_path / "a", [*range(8)], strength=8),
        evaluated(tmp_path / "b", [*range(8)], strength=0),
        evaluated(tmp_path / "c", [*range(2, 8)], strength=8),
    ]
    text = compare(runs, tmp_path / "out")
    with (tmp_path / "out/paired.csv").open() as file:
        rows = {(row["control"], row["metric"]): row for row in csv.DictReader(file)}
    assert {control for control, _ in rows} == {"b", "c"}
    # All eight differ by 1: two of the 2^8 flips reach that; the table has eight tests, of which
    # the two of what b's judge follows have no pairs.
    valid = rows["b", "valid"]
    assert [float(valid[key]) for key in ("mean", "low", "high", "n")] == [1, 1, 1, 8]
    tests = sum(row["p"] != "" for row in rows.values())
    assert float(valid["p"]) == 2 / 2**8
    assert float(valid["p_holm"]) == tests * 2 / 2**8
    assert rows["c", "l2"]["n"] == "6"
    assert f"1.00 [1.00, 1.00], p .{round(1000 * tests * 2 / 2**8):03d}" in text
    assert "## a minus each other run" in text


def test_the_front_counts_what_took_longer_as_not_valid(tmp_path):
    runs = [evaluated(tmp_path / name, [*range(8)], strength=8) for name in ("a", "b")]
    cheap = {"b": {"ratio": 1.0}}
    summary = json.loads((runs[1] / "summary.json").read_text())
    (runs[1] / "summary.json").write_text(json.dumps(summary | {"frechet": {"net": cheap}}))
    compare(runs, tmp_path / "out", budget=12.0)
    first = (tmp_path / "out/pareto.csv").read_text()
    rows = {row["run"]: row for row in csv.DictReader(io.StringIO(first))}
    # Evaluations are 10 to 17: three of eight are within 12.
    assert float(rows["a"]["within"]) == float(rows["a"]["validity"]) == 3 / 8
    assert float(rows["a"]["proximity"]) == pytest.approx(1.35)
    # Equal in validity and proximity, b is the more realistic.
    assert (rows["a"]["front"], rows["b"]["front"]) == ("0", "1")
    compare(runs, tmp_path / "again", budget=12.0)
    assert (tmp_path / "again/pareto.csv").read_text() == first
    assert (tmp_path / "again/pareto.png").is_file()
    text = compare(runs, tmp_path / "out")
    assert "At 14 passes of the classifier" in text
    assert text.endswith((tmp_path / "out/pareto.md").read_text())


def test_a_run_whose_realism_is_not_known_is_on_no_front(tmp_path):
    run = evaluated(tmp_path / "a", [*range(8)])
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | {"frechet": {}}))
    compare([run], tmp_path / "out")
    (row,) = csv.DictReader(io.StringIO((tmp_path / "out/pareto.csv").read_text()))
    assert (row["realism"], row["front"]) == ("", "0")
    assert (tmp_path / "out/paired.csv").read_text().count("\n") == 1


def test_latex_escapes_what_would_break_it():
    text = latex([{"a": r"50% & x_1 \ {#$~^}", "b": "[1, 2]"}], ("a", "b"), "p < .05")
    assert r"50\% \& x\_1 \textbackslash{} \{\#\$\textasciitilde{}\textasciicircum{}\}" in text
    assert "{[1, 2]}" in text
    assert r"p \textless{} .05" in text
    assert text.count(r"\begin") == text.count(r"\end") == 2
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in text


def test_markdown_keeps_its_columns_whatever_stands_in_them():
    text = markdown([{"a": "x|y\nz"}, {"b": "2"}], ("a", "b"))
    assert text.splitlines() == [
        "| a      | b |",
        "| ------ | - |",
        r"| x\|y z | - |",
        "| -      | 2 |",
    ]


def test_numbers_have_no_zero_before_the_point():
    assert [number(x) for x in (0.5, -0.25, 1.0, 10.5, 100.0)] == [
        ".50",
        "-.25",
        "1.00",
        "10.50",
        "100.00",
    ]
    assert number(0.4, 0) == "0"
    assert number(float("nan")) == "-"
    assert interval({"mean": None, "low": None, "high": None}) == "-"
