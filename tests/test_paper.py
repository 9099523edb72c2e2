"""For the paper: figures at column width, tables, methods, references, and LaTeX that runs."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import get_args

import pytest
from PIL import Image
from safetensors.torch import save_file

from cfgen.cli import main
from cfgen.data.phantom import of_path, samples
from cfgen.methods import METHODS, settings_of
from cfgen.methods.settings import EditName
from cfgen.objectives import DISTANCES
from evaluation.adopt import adopt
from evaluation.definitions import JUDGE_METRICS, METRICS
from evaluation.measured import read_measured
from evaluation.measures.realism import DEFINITIONS
from evaluation.paper import references
from evaluation.paper.drawing import COLOURS, DOUBLE, SINGLE, bars
from evaluation.paper.main import paper
from evaluation.paper.methods import methods
from evaluation.paper.prose import Cite, Prose, keys, to_latex, to_markdown
from evaluation.paper.searches import described
from evaluation.plausibility import evaluate
from evaluation.search import search
from evaluation.summary import CORRECT

HOSTILE = "a_b & 50% #1 $x^2$ {~}"


@pytest.fixture(scope="module")
def runs(tiny_bundle_path, tmp_path_factory):
    """Two evaluated runs over six phantoms, whose names LaTeX would take for commands."""
    root = tmp_path_factory.mktemp("paper")
    for place, sample in enumerate(samples({"test": 6})):
        path = root / "films" / sample.path
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = (of_path(sample.path, 64).image[0] * 255).round().byte().numpy()
        Image.fromarray(pixels).save(path.with_name(f"{place} {HOSTILE}.png"))
    found = []
    for method in ("pixel", "class-mean"):
        run = root / f"{method} {HOSTILE}"
        data, settings = str(root / "films"), {"steps": 10}
        search(str(tiny_bundle_path), data, run, method=method, settings=settings)
        evaluate(run)
        found.append(run)
    return found


@pytest.fixture(scope="module")
def written(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    first, other = map(str, runs)
    assert main(["paper", first, "--beside", other, "--out", str(out), "--rows", "2"]) == 0
    return out


def config(method, **changes):
    settings = {**vars(settings_of(method)), **changes}
    return {"method": method, "settings": settings, "weights": {"segmenter": "aa"}}


def test_every_measure_has_a_reference_or_is_listed_as_without():
    measures = [*METRICS, *JUDGE_METRICS, *DEFINITIONS, "diversity"]
    for name in measures:
        cites = references.cited_by(name)
        assert bool(cites) != (name in references.OWN), name
    listed = {*references.METRICS, *references.OWN}
    assert listed == set(measures)
    with pytest.raises(ValueError, match=r"got 'surprise'; add it to"):
        references.cited_by("surprise")


def test_every_method_and_edit_has_a_reference_or_is_a_control():
    assert set(references.METHODS) == set(METHODS)
    controls = {"class-mean", "random"}
    assert set(references.EDITS) | controls == set(get_args(EditName))


def test_every_key_has_an_entry_and_every_entry_is_whole():
    known = references.entries()
    tables = (references.METRICS, references.METHODS, references.EDITS)
    used = {key for table in tables for cites in table.values() for key in cites}
    assert used <= known.keys()
    for key, entry in known.items():
        assert re.fullmatch(r"@\w+\{" + key + r",\n(  \w+ = \{.+\},?\n)+\}", entry), entry
        assert {"author", "title", "year"} <= set(re.findall(r"^  (\w+) =", entry, re.MULTILINE))
        assert entry.count("{") == entry.count("}")
        assert re.search(r"year = \{(\d{4})\}", entry)[1] == key[-4:]


@pytest.mark.parametrize("method", METHODS)
def test_each_method_is_described_with_its_settings(method):
    text = to_markdown(described(config(method)))
    assert text.startswith(f"The search '{method}' ")
    for name, value in vars(settings_of(method)).items():
        if isinstance(value, int | float) and value not in (0, 1):
            assert f"{value:g}" in text.replace(",", ""), name
    assert set(references.METHODS[method]) <= set(keys([described(config(method))]))


@pytest.mark.parametrize("edit", get_args(EditName))
def test_each_edit_of_the_prior_is_described(edit):
    prose = described(config("prior", edit=edit))
    assert set(references.EDITS.get(edit, ())) <= set(keys([prose]))
    assert ("control" in to_markdown(prose)) == (edit in ("class-mean", "random", "opposite"))


@pytest.mark.parametrize("distance", DISTANCES)
def test_each_distance_is_described(distance):
    text = to_markdown(described(config("pixel", distance=distance)))
    assert re.search(r"with d (the|a) .+ of the pixels", text)


def test_the_classifier_ignored_and_another_tool_are_said():
    ignored = to_markdown(described(config("prior", steps=0)))
    assert "was not asked" in ignored
    assert "momentum" not in ignored
    assert "another tool" in to_markdown(described({"method": "other-tool"}))
    halved = {**config("prior"), "forms": {"prior": ["autocast"], "classifier": ["folded"]}}
    assert "The diffusion model was evaluated in bfloat16. " in to_markdown(described(halved))
    assert "bfloat16" not in to_markdown(described({**config("prior"), "forms": None}))
    few = to_markdown(described({**config("pixel"), "evaluations": 12}))
    assert few.startswith(
        "The search 'pixel', which asked the classifier 12 times of an image at most, moved the"
    )


def test_names_are_escaped_and_citations_are_not():
    prose: Prose = [f"The search '{HOSTILE}' of x'", Cite(["wang2004", "hoyer2004"]), Cite(), "."]
    assert to_latex(prose) == (
        r"The search `a\_b \& 50\% \#1 \$x\textasciicircum{}2\$ \{\textasciitilde{}\}' of x'"
        r"~\cite{wang2004,hoyer2004}."
    )
    assert to_markdown(["*a* [@x]\n\x07", Cite(["wang2004"])]) == (r"\*a\* \[\@x\]   [@wang2004]")


def test_the_section_says_the_numbers_of_the_run(runs):
    found = [read_measured(run) for run in runs]
    text = "\n".join(map(to_markdown, methods(found)))
    settings = found[0].run.config
    assert "Counterfactuals of 6 images of" in text
    assert "split 'test'" in text
    assert "for at most 10 steps" in text
    assert f"cfgen {settings['versions']['cfgen']}" in text
    assert str(settings["weights"]["classifier"])[:12] in text
    assert "1 further classifier, 'second'" in text
    assert "sign-flip permutation" in text
    assert "sign-flip" not in "\n".join(map(to_markdown, methods(found[:1])))


def test_runs_of_other_samples_are_said_to_be_such(runs, tiny_bundle_path, tmp_path):
    data, settings = str(runs[0].parent / "films"), {"steps": 10}
    more = tmp_path / "more"
    search(str(tiny_bundle_path), data, more, method="pixel", settings=settings, limit=4)
    evaluate(more)
    text = paper(more, runs[:1], tmp_path / "out", rows=1)
    assert "Limitations: the runs are not of the same samples: 4 are common" in text
    assert "Limitations" not in paper(runs[0], runs[1:], tmp_path / "same", rows=1)


def test_pairs_without_labels_are_shown_as_all_attempted(tiny_bundle_path, phantoms, tmp_path):
    save_file({"factual": phantoms, "counterfactual": 1 - phantoms}, tmp_path / "p.safetensors")
    run = adopt([tmp_path / "p.safetensors"], str(tiny_bundle_path), tmp_path / "run")
    evaluate(run)
    text = paper(run, out=tmp_path / "out", rows=1)
    assert "of 4 images of 'p.safetensors' were sought" in text
    assert "were made by another tool" in text
    assert "of all images attempted (n = 4)" in text
    tables = (tmp_path / "out" / "tables.tex").read_text()
    assert "tab:all-attempted" in tables
    assert "tab:classified-correctly" not in tables
    assert "of all images attempted" in (tmp_path / "out" / "figures.tex").read_text()


def test_what_was_said_of_one_search_is_not_repeated(runs):
    found = [read_measured(run) for run in (runs[1], runs[1])]
    text = "\n".join(map(to_markdown, methods(found)))
    assert text.count("Codes were decoded residually") == 1
    assert text.count("The search 'class-mean'") == 1


@pytest.mark.parametrize(("name", "width"), [("cases", DOUBLE), ("follows", DOUBLE),
                                             ("pareto", SINGLE), ("frontier", DOUBLE)])  # fmt: skip
def test_figures_have_the_width_of_a_column_and_truetype_letters(written, name, width):
    with Image.open(written / "figures" / f"{name}.png") as picture:
        assert picture.width == pytest.approx(300 * width, abs=1)
        # A page is 240 mm high.
        assert picture.height < 300 * 240 / 25.4
    pdf = (written / "figures" / f"{name}.pdf").read_bytes()
    across = float(re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", pdf)[1])
    assert across == pytest.approx(72 * width, abs=0.1)
    assert b"/Type3" not in pdf
    assert b"/CreationDate" not in pdf


def test_a_run_alone_has_no_comparison(runs, tmp_path):
    paper(runs[0], out=tmp_path, rows=1)
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"cases", "follows"}
    assert "tab:differences" not in (tmp_path / "tables.tex").read_text()


def test_bars_are_the_shares_of_the_summary(runs):
    found = read_measured(runs[0])
    figure = bars([found], found.targets(), CORRECT)
    for axes, target in zip(figure.axes, found.targets(), strict=True):
        shares = [found.mean(name, CORRECT, target) for name in ("valid", "judge_second_follows")]
        heights = [patch.get_height() for patch in axes.patches]
        assert heights == pytest.approx([share for share in shares if share is not None])


def test_nobody_elses_latex_is_replaced(runs, tmp_path, capsys):
    (tmp_path / "main.tex").write_text("my thesis")
    assert main(["paper", str(runs[0]), "--out", str(tmp_path)]) == 2
    assert "with main.tex of another origin" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["main.tex"]
    assert (tmp_path / "main.tex").read_text() == "my thesis"


def test_more_runs_than_colours_are_refused(runs):
    found = read_measured(runs[0])
    with pytest.raises(ValueError, match=r"at most 8 runs.*got 2 targets and 9 runs"):
        bars([found] * (len(COLOURS) + 1), found.targets(), CORRECT)


def test_a_run_without_measures_is_refused(runs, tmp_path):
    bare = shutil.copytree(runs[0], tmp_path / "bare")
    (bare / "summary.json").unlink()
    with pytest.raises(ValueError, match=r"expected an evaluated run, got .*cfgen evaluate"):
        paper(bare, out=tmp_path / "out")


def test_tables_and_section_cite_and_refer_to_what_is_there(written):
    cited = set()
    for name in ("methods.tex", "definitions.tex"):
        for group in re.findall(r"\\cite\{([^}]+)\}", (written / name).read_text()):
            cited |= set(group.split(","))
    bibliography = (written / "refs.bib").read_text()
    assert cited == set(re.findall(r"^@\w+\{(\w+),", bibliography, re.MULTILINE))
    tables = (written / "tables.tex").read_text()
    assert tables.count(r"\toprule") == tables.count(r"\bottomrule") == 3
    assert r"a\_b \& 50\% \#1" in tables


@pytest.mark.parametrize("name", ["methods", "definitions", "figures", "tables"])
def test_braces_close_and_nothing_hostile_is_left(written, name):
    text = (written / f"{name}.tex").read_text()
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert re.search(r"(?<!\\)[#%]", text) is None
    # What is left of dollar signs opens and closes mathematics.
    assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_runs_without_a_missing_reference(written, tmp_path):
    place = shutil.copytree(written, tmp_path / "paper")
    for command in (["pdflatex"], ["bibtex"], ["pdflatex"], ["pdflatex"]):
        latex = ["-interaction=nonstopmode", "-halt-on-error"] if command == ["pdflatex"] else []
        done = subprocess.run(
            [*command, *latex, "main"], cwd=place, capture_output=True, timeout=120
        )
        assert done.returncode == 0, done.stdout[-2000:]
    log = (place / "main.log").read_text(errors="replace")
    assert "undefined" not in log
    assert (place / "main.pdf").stat().st_size > 10_000
