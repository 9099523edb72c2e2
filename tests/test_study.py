"""A study: which rows it has, that it can be stopped, and its numbers against hand computations."""

import json
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from cfgen.cli import main
from cfgen.data import phantom
from cfgen.data.phantom import of_path, samples
from cfgen.edits import Ascent
from cfgen.methods import DEFAULT_METHOD, METHODS, Method, guidance, settings_of
from cfgen.methods.settings import Guided
from cfgen.models.bundle import load_bundle
from cfgen.models.classifier import Classifier
from cfgen.models.prior import Prior
from cfgen.types import Outcome
from evaluation import plausibility
from evaluation.comparison.paired import by_target, of_all, paired_csv, paired_table
from evaluation.measured import Measured
from evaluation.runs import Run, read_run
from evaluation.search import work as searching
from evaluation.search.task import Task
from evaluation.study import main as module
from evaluation.study import plan as study_plan
from evaluation.study.controls import blend_at, matched
from evaluation.study.faith import likeness
from evaluation.study.frontier import frontier, points
from evaluation.study.marker import on_marker
from evaluation.study.plan import classifier_rows, family, first_rows, matched_rows
from evaluation.study.targets import checks, control_checks, target_table
from evaluation.study.untrained import untrained
from evaluation.verdicts.fit import marker_place
from tests.written_runs import flat, sample, write


def test_every_row_can_be_searched_and_has_a_name_of_its_own():
    rows = [*first_rows(), *matched_rows(0.93712), *classifier_rows({"robust": "robust"})]
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    for row in rows:
        settings_of(row.method, row.settings)
    by_name = {row.name: row for row in rows}
    assert set(METHODS) <= set(names)
    for edit in ("class-mean", "random", "opposite"):
        assert by_name[f"{edit}-steps"].settings == {"edit": edit}
        alone = {"edit": edit, "steps": 0, "budget": 0.9371}
        assert by_name[f"{edit}-alone"].settings == alone
    assert by_name["prior"].settings == {}
    assert by_name["prior-alone"].settings == {"steps": 0, "budget": 0.9371}
    assert by_name["prior-robust"].classifier == "robust"
    assert by_name["class-mean-b91"].settings == {"edit": "class-mean", "budget": 0.91}
    assert settings_of(DEFAULT_METHOD).budget not in [
        row.settings["budget"] for row in rows if row.group == "frontier"
    ]
    for name in ("prior", "class-mean"):
        members = [by_name[member] for member in family(name)]
        assert len(members) == len(study_plan.LADDER)
        assert all(member.method == DEFAULT_METHOD for member in members)


@pytest.fixture(scope="module")
def whole_bundle(tiny_bundle_path, tmp_path_factory):
    """The tiny bundle with an untrained prior, a border judge and another classifier."""
    path = tmp_path_factory.mktemp("whole") / "bundle"
    shutil.copytree(tiny_bundle_path, path)
    torch.manual_seed(2)
    channels, side, _ = load_bundle(path).autoencoder.class_means.shape[1:]
    classes = load_bundle(path).classes
    prior = Prior(classes=classes, channels=channels, side=side, widths=(8, 16), layers=1)
    prior.save_pretrained(path / "prior")
    shutil.copytree(path / "judges/second", path / "judges/border")
    shutil.copytree(path / "judges/second", path / "classifiers/robust")
    return path


FEW = ("prior", "class-mean", "prior-start", "prior-b90", "class-mean-b90", "class-mean-steps")


@pytest.fixture
def quick(monkeypatch):
    """Few rows, which the study's own tables need, few phantoms and few steps."""
    monkeypatch.setattr(
        module, "first_rows", lambda: [row for row in first_rows() if row.name in FEW]
    )
    monkeypatch.setattr(study_plan, "LADDER", (0.95, 0.90))
    monkeypatch.setattr(phantom, "samples", partial(samples, {"train": 2, "test": 4}))
    monkeypatch.setattr(plausibility, "REAL_IMAGES", 1)
    monkeypatch.setattr(Task, "rehearse", lambda _: None)
    monkeypatch.setattr(guidance, "ASCENT", Ascent(steps=1))
    monkeypatch.setitem(METHODS, "prior", Method(guidance.guided, Guided(steps=2)))


def test_a_study_is_made_by_one_command_and_goes_on_where_it_was(
    whole_bundle, quick, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "study"
    command = ["study", "--bundle", str(whole_bundle), "--data", "phantom", "--limit", "4"]
    command += ["--further_limit", "2", "--marker", str(whole_bundle), "--out", str(out)]
    evaluated = []

    def counted(run, *arguments):
        evaluated.append(run.name)
        return plausibility.evaluate(run, *arguments)

    monkeypatch.setattr("evaluation.study.making.evaluate", counted)
    assert main(command) == 0
    first = capsys.readouterr().out
    assert (out / "study.md").read_text() == first.removesuffix("\n")
    rows = {path.parent.name for path in out.glob("*/samples.csv")}
    assert rows == set(evaluated)
    assert {"prior-robust", "prior-untrained", "opposite-alone", "marker-clean"} <= rows
    similarity = json.loads((out / "prior/summary.json").read_text())
    similarity = similarity["subsets"]["all attempted"]["metrics"]["ssim"]["mean"]
    alone = read_run(out / "random-alone").config
    assert alone["settings"]["budget"] == pytest.approx(similarity, abs=1e-4)
    assert read_run(out / "marker-shortcut").config["data"] == "phantom:0.9"
    fewer = {name for name in rows if read_run(out / name).config["limit"] == 2}
    assert fewer == rows - {"prior", "class-mean", "marker-shortcut", "marker-clean"}
    assert all(f"| {name}" in first for name in ("random-alone", "marker-shortcut", "valid"))
    for name in ("frontier.png", "controls.csv", "comparison.tex", "tables/controls/comparison.md"):
        assert (out / name).is_file()

    def forbidden(*arguments):
        raise AssertionError("searched again")

    monkeypatch.setattr(searching, "search_ready", forbidden)
    evaluated.clear()
    (out / "prior-start/evaluated.json").unlink()
    assert main(command) == 0
    assert evaluated == ["prior-start"]
    assert capsys.readouterr().out == first


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--data", "phantom", "--classifiers", "seed1"), "robust.*got seed1"),
        (("--data", "films", "--marker", "phantom-64"), "phantoms with --marker, got films"),
    ],
)
def test_what_cannot_be_had_is_said_before_anything_is_made(
    whole_bundle, tmp_path, capsys, given, message
):
    out = tmp_path / "study"
    assert main(["study", "--bundle", str(whole_bundle), *given, "--out", str(out)]) == 2
    assert not out.exists()
    assert re.search(message, capsys.readouterr().err)


def measured(name, rows, summary=None):
    """A run as the tables see it, from rows of which only what differs is given."""
    own = {}
    for i, row in enumerate(rows):
        known = {"id": i, "path": f"{i}.png", "patient": f"p{i // 2}", "outcome": "reached"}
        known |= {"label": "DARK", "source": "DARK", "target": "BRIGHT"}
        own[i] = {**known, **row}
    nothing = Run(Path(name), {}, [], [], ())
    return Measured(name, nothing, summary or {"judges": ["one"], "direction": {"BRIGHT": {}}}, own)


def test_differences_are_of_the_same_samples_patients_drawn_whole():
    method = measured(
        "prior",
        [{"judge_one_follows": v, "ssim": 0.9 + k / 100} for k, v in enumerate([1, 1, 1, None, 1])],
    )
    control = measured(
        "random-alone",
        [
            {"judge_one_follows": 0.0, "ssim": 0.9},
            {"judge_one_follows": 1.0, "ssim": 0.9},
            {"judge_one_follows": 0.0, "ssim": 0.9},
            {"judge_one_follows": 0.0, "ssim": 0.9, "source": "DARK"},
            {"judge_one_follows": 0.0, "ssim": 0.0, "source": "BRIGHT"},  # had been wrong
        ],
    )
    found = {one.metric: one for one in by_target(method, [control])}
    assert set(found) == {"judge_one_follows", "ssim"}
    follow, ssim = found["judge_one_follows"].difference, found["ssim"].difference
    assert (follow.mean, follow.n) == (pytest.approx(2 / 3), 3)
    assert (ssim.mean, ssim.n) == (pytest.approx((0 + 1 + 2 + 3) / 400), 4)
    # Two patients, of sums 1 and 1 over 2 and 1 samples: the mean is .5, 2/3 or 1.
    assert follow.low == pytest.approx(0.5)
    assert follow.high == pytest.approx(1.0)
    table = paired_table([*found.values()])
    # Two patients whose sums have one sign: half of the four flips reach that far. Twice .5 is 1.
    assert [one.p for one in found.values()] == [0.5, 0.5]
    assert "| random-alone | BRIGHT | 4 | .67 [.50, 1.00], p 1.000 |" in re.sub(" +", " ", table)
    assert f"random-alone,BRIGHT,judge_one_follows,{follow.mean},0.5,1.0,3,0.5,1.0" in paired_csv(
        [*found.values()]
    )
    # The one that had been wrong is among all attempted.
    everything = {one.metric: one for one in of_all(method, [control])}
    assert (everything["ssim"].difference.n, everything["ssim"].target) == (5, None)


def test_p_values_are_corrected_for_all_tests_of_a_table():
    method = measured("prior", [{"judge_one_follows": 1.0, "ssim": 0.9} for _ in range(20)])
    beaten = measured("pixel", [{"judge_one_follows": 0.0, "ssim": 0.9} for _ in range(20)])
    alike = measured("twin", [{"judge_one_follows": 1.0, "ssim": 0.9} for _ in range(20)])
    found = {(one.control, one.metric): one for one in of_all(method, [beaten, alike])}
    follow = found["pixel", "judge_one_follows"]
    # Ten patients, all of one sign: two of the 2^10 flips, in a table of four tests.
    assert (follow.p, follow.p_holm) == (2 / 2**10, 8 / 2**10)
    assert {one.p_holm for one in found.values() if one is not follow} == {1.0}


def at_similarity(name, ssim, follows):
    rows = [{"judge_one_follows": value, "ssim": ssim} for value in follows]
    block = {"metrics": {"ssim": {"mean": ssim}}}
    direction = {"BRIGHT": {"classified correctly": block}}
    return measured(name, rows, {"judges": ["one"], "direction": direction})


def test_families_are_compared_where_their_similarity_is_the_same():
    family_of_two = [
        at_similarity("weak", 0.96, [0.0, 0.0, 1.0, None]),
        at_similarity("strong", 0.92, [1.0, 0.0, 1.0, None]),
    ]
    rival = [at_similarity("a", 0.94, [0.0] * 4), at_similarity("b", 0.86, [1.0] * 4)]
    blend = blend_at(family_of_two, 0.93, "BRIGHT")
    assert (blend.lower.name, blend.upper.name) == ("strong", "weak")
    assert blend.share == pytest.approx(0.25)
    rows = blend.rows("BRIGHT", ["judge_one_follows", "ssim"])
    assert [rows[i]["judge_one_follows"] for i in range(3)] == pytest.approx([0.75, 0.0, 1.0])
    assert rows[3]["judge_one_follows"] is None
    assert rows[0]["ssim"] == pytest.approx(0.93)
    assert blend_at(family_of_two, 0.90, "BRIGHT") is None
    text = re.sub(" +", " ", matched({"prior": family_of_two, "rival": rival}, ["BRIGHT"]))
    # (.75 + 0 + 1) / 3 less 1 / 8
    assert re.search(r"\| .93 \| BRIGHT \| one follows \| .58 .*\| .12 .*\| .46 ", text)
    assert re.search(r"\| .90 \| BRIGHT \| one follows \| - \| .50 .*\| - \|", text)


def estimate_of(mean):
    return {"mean": mean, "low": None, "high": None, "n": 9}


def summary_of(**changes):
    means = {"valid": 0.99, "ssim_outside": 0.96, "inside_ratio": 2.5, "judge_one_follows": 0.86}
    means |= {"border_shift": 0.1, **changes}
    block = {"metrics": {name: estimate_of(mean) for name, mean in means.items()}, "seconds": 0.8}
    subsets = {"classified correctly": block}
    real = {"right": estimate_of(0.9), "percentile": 60.0, "within": True}
    return {
        "judges": ["one"],
        "subsets": subsets,
        "direction": {"BRIGHT": subsets},
        "on_real": {"one": {"BRIGHT": real}},
        "frechet": {
            "autoencoder": {"BRIGHT": {"ratio": 9.9}},
            "net": {"BRIGHT": {"ratio": 1.9}},
        },
        "changes": {"BRIGHT": {"pairwise_cosine": 0.5}},
    }


def test_aims_are_met_at_their_bounds_and_not_beyond():
    found = checks(measured("prior", [{}], summary_of()))
    assert len(found) == 8
    assert all(one.met for one in found)
    for changes, aim in [
        ({"valid": 0.979}, "valid"),
        ({"ssim_outside": 0.949}, "SSIM outside the lungs"),
        ({"inside_ratio": 1.99}, "change in the lungs over chance"),
        ({"judge_one_follows": 0.849}, "one follows, to BRIGHT"),
    ]:
        failed = [one for one in checks(measured("p", [{}], summary_of(**changes))) if not one.met]
        assert [one.aim for one in failed] == [aim]
    summary = summary_of(ssim_truth=0.91, ssim_truth_factual=0.92)
    summary["subsets"]["classified correctly"]["seconds"] = 1.1
    summary["on_real"]["one"]["BRIGHT"] |= {"percentile": 97.0, "within": False}
    summary["frechet"]["net"]["BRIGHT"]["ratio"] = 2.1
    summary["changes"]["BRIGHT"]["pairwise_cosine"] = None
    found = {one.aim: one.met for one in checks(measured("prior", [{}], summary))}
    assert [aim for aim, met in found.items() if met is False] == [
        "seconds an image",
        "one: log-odds of the followed among real images, to BRIGHT",
        "Frechet ratio, to BRIGHT",
        "SSIM to the true counterfactual",
    ]
    assert found["pairwise cosine of changes, to BRIGHT"] is None


def test_controls_are_held_against_their_own_bounds():
    method = measured("prior", [{"border_shift": 0.1 * k} for k in range(6)])
    rival = measured("class-mean", [{"border_shift": 0.1 * k + 1} for k in range(6)])
    equal = measured("class-mean", [{"border_shift": 0.5 - 0.1 * k} for k in range(6)])
    followed = measured("random-alone", [{}], summary_of(judge_one_follows=0.21))
    ignored = measured("opposite-alone", [{}], summary_of(judge_one_follows=0.2))
    found = control_checks(method, [rival, equal], [followed, ignored])
    assert [one.met for one in found] == [True, False, False, True]
    assert found[0].measured == "-1.00 [-1.00, -1.00]"
    assert target_table(found).startswith("2 of 4 met, 0 not measured.\n\n")


def test_changes_of_two_runs_are_compared_image_by_image(tmp_path):
    dark, other = flat(0.25), flat(0.25, 0.5)

    def run(name, images, **changes):
        given = [sample(i, dark, image, **changes) for i, image in enumerate(images)]
        written = write(tmp_path / name, given)
        rows = {row["id"]: row for row in written.samples}
        return Measured(name, written, {}, rows)

    both = flat(0.75)
    method = run("prior", [both, both, other, dark])
    found = likeness(method, run("same", [both, other, both, both]))
    # Changes over both halves, or over one: cosine 1 / sqrt(2). No change has none.
    assert found.cosine.n == 3
    assert found.cosine.mean == pytest.approx((1 + 2 * 2**-0.5) / 3, abs=1e-6)
    # In units of a half at full strength .5: |d - d'|^2 / |d|^2 of each
    energies = [0, (1 + 0.25) / 2, (1 + 0.25) / 0.25]
    assert found.difference.mean == pytest.approx(np.mean(energies), rel=1e-5)
    assert likeness(method, run("elsewhere", [both] * 4, target="DARK")).cosine.n == 0
    assert likeness(method, run("already", [both] * 4, outcome=str(Outcome.ALREADY))).cosine.n == 0


def test_the_share_on_the_marker_is_of_those_to_be_added_or_removed(tmp_path):
    given, areas = [], {"removed": [], "added": []}
    for i, one in enumerate(samples({"test": 8}, shortcut=0.9)):
        drawn = of_path(one.path, 32)
        place = marker_place(drawn.marker)
        image = (drawn.image - 0.1 * place).clamp(0, 1)
        target = "NORMAL" if one.label == "OPACITY" else "OPACITY"
        if drawn.marker.any() == (one.label == "OPACITY"):
            areas["removed" if drawn.marker.any() else "added"].append(float(place.float().mean()))
        else:
            image = 1 - drawn.image  # would spoil the share if it counted
        names = {"path": one.path, "label": one.label, "source": one.label, "target": target}
        given.append(sample(i, drawn.image, image, **names))
    run = write(tmp_path / "run", given)
    rows = {row["id"]: row for row in run.samples}
    found = {one.task: one for one in on_marker(Measured("shortcut", run, {}, rows))}
    for task, known in areas.items():
        assert found[task].share.n == len(known) > 0
        assert found[task].share.mean == pytest.approx(1)
        assert found[task].area.mean == pytest.approx(np.mean(known))


def test_a_classifier_with_random_weights_is_as_sure_as_the_trained_one(bundle, phantoms):
    trained = bundle.classifier
    state = torch.random.get_rng_state()
    made = untrained(trained, phantoms)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert isinstance(made, Classifier)
    assert made.classes == trained.classes
    logits, theirs = made(phantoms), trained(phantoms)
    torch.testing.assert_close(logits.mean(0), torch.zeros(2), atol=1e-3, rtol=0)
    centred = [some - some.mean(1, keepdim=True) for some in (logits, theirs)]
    assert float(centred[0].std()) == pytest.approx(float(centred[1].std()), rel=0.02)
    assert len(set(made.predict(phantoms).tolist())) == 2
    assert torch.equal(untrained(trained, phantoms)(phantoms), logits)
    assert not torch.allclose(untrained(trained, phantoms, seed=1)(phantoms), logits)


def test_the_frontier_shows_each_run_at_its_similarity_and_follow():
    def run(name, ssim, follow):
        metrics = {"ssim": {"mean": ssim}}
        if follow is not None:
            metrics["panel_follows"] = {"mean": follow, "low": None, "high": follow + 0.1}
        direction = {"BRIGHT": {"classified correctly": {"metrics": metrics}}}
        return measured(name, [{}], {"judges": [], "direction": direction})

    family_of_three = [run("a", 0.95, 0.4), run("b", 0.90, 0.8), run("c", 0.92, None)]
    assert [(x, y["mean"]) for x, y in points(family_of_three, "BRIGHT")] == [
        (0.9, 0.8),
        (0.95, 0.4),
    ]
    assert points(family_of_three, "DARK") == []
    figure = frontier({"prior": family_of_three}, [run("pixel", 0.94, 0.1)], ["BRIGHT"])
    (axes,) = figure.axes
    (line,) = axes.lines
    assert line.get_xydata().tolist() == [[0.9, 0.8], [0.95, 0.4]]
    assert [text.get_text() for text in axes.texts] == ["pixel"]
    with pytest.raises(ValueError, match="at least one target"):
        frontier({}, [], [])
