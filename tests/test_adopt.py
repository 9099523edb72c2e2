"""Counterfactuals of any tool become a run, measured as our own are."""

import csv
import json
import logging
import re
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from cfgen.cli import main
from cfgen.data.phantom import of_path, samples
from cfgen.data.pixels import UnreadableImage
from cfgen.goals import make_goal
from evaluation import plausibility
from evaluation.adopt import adopt
from evaluation.pairs.arrays import open_arrays
from evaluation.pairs.folder import open_folder
from evaluation.runs import read_run
from tests.test_adapters import describe, scripted
from tests.written_runs import brightness_classifier

SIZE = 64
COSTS = "/median/|/seconds$"


def cfgen(*arguments):
    return main([str(argument) for argument in arguments])


def phantom_pairs(count=4):
    """Phantoms and their true counterfactuals: name, label, factual, counterfactual."""
    drawn = [(sample, of_path(sample.path, SIZE)) for sample in samples({"test": count})]
    return [
        (sample.path, sample.label, one.image[0].numpy(), one.truth[0].numpy())
        for sample, one in drawn
    ]


def write_png(path, grey, mode=np.uint16):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((grey * np.iinfo(mode).max).round().astype(mode)).save(path)


def write_folder(root, pairs, table=True):
    for name, _, factual, image in pairs:
        write_png(root / "factual" / name, factual)
        write_png(root / "counterfactual" / name, image)
    if table:
        with (root / "pairs.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["name", "label", "patient"])
            writer.writerows([name, label, f"p{k}"] for k, (name, label, *_) in enumerate(pairs))
    return root


def arrays(pairs):
    names, labels, factual, image = zip(*pairs, strict=True)
    both = {"factual": np.stack(factual), "counterfactual": np.stack(image)}
    return both | {"name": np.array(names), "label": np.array(labels)}


def skipped(run):
    return {str(row["path"]): str(row["reason"]) for row in read_run(run).skipped}


def export(run, path):
    """Write the pairs of a run as arrays, in its order."""
    rows = {row["id"]: row for row in run.samples}
    held = list(run.images())
    listed = [rows[int(i)] for ids, *_ in held for i in ids]
    columns = {
        "name": "path",
        **{name: name for name in ("label", "target", "patient", "subgroup")},
    }
    np.savez(
        path,
        factual=torch.cat([factual for _, factual, _ in held]).numpy(),
        counterfactual=torch.cat([image for *_, image in held]).numpy(),
        **{name: np.array([row[of] or "" for row in listed]) for name, of in columns.items()},
    )


def numbers(found, prefix=""):
    """Every number of a nested mapping, by its place in it."""
    if not isinstance(found, dict):
        return {prefix: found} if isinstance(found, (int, float)) else {}
    return {
        key: value
        for name, inner in found.items()
        for key, value in numbers(inner, f"{prefix}/{name}").items()
    }


def test_a_searched_run_measures_the_same_when_its_pairs_are_adopted(
    tiny_bundle_path, tmp_path, monkeypatch
):
    monkeypatch.setattr(plausibility, "REAL_IMAGES", 4)
    own, theirs = tmp_path / "own", tmp_path / "theirs"
    given = ("--bundle", tiny_bundle_path, "--data", "phantom", "--split", "test")
    quick = ("--settings.weight", 0.1, "--settings.steps", 15, "--settings.step_size", 0.03)
    search = ("search", *given, "--limit", 6, "--method", "pixel", *quick)
    assert cfgen(*search, "--out", own) == 0
    export(read_run(own), tmp_path / "pairs.npz")
    assert cfgen("adopt", tmp_path / "pairs.npz", *given, "--out", theirs) == 0
    known = {row["id"]: row for row in read_run(theirs).samples}
    for row in read_run(own).samples:
        for column in ("path", "label", "source", "target", "outcome", "patient", "subgroup"):
            assert known[row["id"]][column] == row[column]
    summaries = []
    for run in (own, theirs):
        assert cfgen("evaluate", run) == 0
        summaries.append(json.loads((run / "summary.json").read_text()))
    first, second = (
        {key: value for key, value in numbers(one).items() if not re.search(COSTS, key)}
        for one in summaries
    )
    assert len(first) > 100
    assert second == pytest.approx(first, rel=1e-3, abs=1e-5)
    assert summaries[0]["notes"] == summaries[1]["notes"] == []
    table = tmp_path / "table"
    assert cfgen("compare", own, theirs, "--out", table) == 0
    assert "Warning" not in (table / "comparison.md").read_text()
    for command in ("report", "gallery"):
        assert cfgen(command, theirs) == 0


def test_a_folder_is_evaluated_at_once_and_again(tiny_bundle_path, tmp_path, capsys):
    root = write_folder(tmp_path / "pairs", phantom_pairs())
    assert cfgen("evaluate", root, "--bundle", tiny_bundle_path) == 0
    assert "adopted without --data" in capsys.readouterr().out
    run = read_run(root / "run")
    assert [row["patient"] for row in sorted(run.samples, key=lambda row: str(row["patient"]))] == [
        f"p{k}" for k in range(4)
    ]
    for ids, factual, image in run.images():
        for i, before, after in zip(ids.tolist(), factual, image, strict=True):
            row = next(row for row in run.samples if row["id"] == i)
            phantom = of_path(str(row["path"]), SIZE)
            torch.testing.assert_close(before, phantom.image, atol=1e-5, rtol=0)
            torch.testing.assert_close(after, phantom.truth, atol=1e-5, rtol=0)
    assert cfgen("evaluate", root, "--bundle", tiny_bundle_path) == 0
    assert cfgen("evaluate", root / "run") == 0
    assert cfgen("evaluate", root / "run", "--bundle", tiny_bundle_path) == 2
    assert cfgen("evaluate", root) == 2


def test_every_form_of_pairs_holds_the_same(tmp_path):
    pairs = phantom_pairs()
    kept = arrays(pairs)
    np.savez(tmp_path / "a.npz", **kept)
    with_channel = {
        side: torch.from_numpy(kept[side][:, None]) for side in ("factual", "counterfactual")
    }
    save_file(with_channel | {"label": torch.tensor([0, 1, 0, 1])}, tmp_path / "a.safetensors")
    for side in with_channel:
        np.save(tmp_path / f"{side}.npy", kept[side].astype(np.float64))
        for name, _, factual, image in pairs:
            file = (tmp_path / "folder" / side / name).with_suffix(".npy")
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, factual if side == "factual" else image)
    forms = [
        open_arrays([tmp_path / "a.npz"], ("NORMAL", "OPACITY")),
        open_arrays([tmp_path / "a.safetensors"], ("NORMAL", "OPACITY")),
        open_arrays([tmp_path / "factual.npy", tmp_path / "counterfactual.npy"], ()),
        open_folder(tmp_path / "folder"),
    ]
    expected = {one[2].tobytes() + one[3].tobytes() for one in pairs}
    for form in forms:
        loaded = [one.load() for one in form.pairs]
        assert {a.numpy().tobytes() + b.numpy().tobytes() for a, b in loaded} == expected
    assert [one.name for one in forms[0].pairs] == [one[0] for one in pairs]
    assert [one.label for one in forms[1].pairs] == ["NORMAL", "OPACITY"] * 2
    assert [one.name for one in forms[2].pairs] == ["00000", "00001", "00002", "00003"]
    assert len({form.hash for form in forms}) == 4


def test_one_bad_pair_is_listed_and_the_others_are_taken(tiny_bundle_path, tmp_path):
    pairs = phantom_pairs(8)
    root = write_folder(tmp_path / "pairs", pairs, table=False)
    names = [name for name, *_ in pairs]
    (root / "counterfactual" / names[0]).unlink()
    write_png(root / "counterfactual" / names[1], np.eye(32))
    colour = np.zeros((SIZE, SIZE, 3), np.uint8)
    colour[:32, :, 0] = 255
    Image.fromarray(colour).save(root / "factual" / names[2])
    for name, array in ((names[3], np.nan), (names[4], 1.5), (names[5], -3.0)):
        (root / "counterfactual" / name).unlink()
        values = pairs[0][3].copy()
        values[0, 0] = array
        np.save((root / "counterfactual" / name).with_suffix(".npy"), values)
    lines = ["Name,Target"]
    lines += [f"{name},{'FEVER' if name == names[6] else ''}" for name in names]
    (root / "pairs.csv").write_text("\n".join([*lines, "absent.png,"]) + "\n")
    run = adopt([root], str(tiny_bundle_path), tmp_path / "run")
    reasons = skipped(run)
    assert {row["path"] for row in read_run(run).samples} == {names[7]}
    for name, part in zip(
        [*names[:7], "absent"],
        [
            r"no counterfactual of .*counterfactual; add it",
            r"of 64 x 64 and a counterfactual of 32 x 32",
            r"colour photograph in .*factual",
            r"not finite in .*counterfactual",
            r"values from 0.* to 1\.5 in .*rescale both",
            r"values from -3 to .*rescale both",
            r"target among the classes NORMAL, OPACITY, got 'FEVER'",
            r"no factual of absent",
        ],
        strict=True,
    ):
        assert re.search(part, reasons[name]), reasons[name]


def test_a_pair_that_the_table_lacks_is_listed(tiny_bundle_path, tmp_path):
    root = write_folder(tmp_path / "pairs", phantom_pairs(2))
    extra = phantom_pairs(4)[2]
    for side, grey in (("factual", extra[2]), ("counterfactual", extra[3])):
        write_png(root / side / "extra.png", grey)
    run = adopt([root], str(tiny_bundle_path), tmp_path / "run")
    assert re.search(r"no row for extra\.png in .*pairs\.csv", skipped(run)["extra.png"])
    assert len(read_run(run).samples) == 2


def test_other_sizes_are_resized_alike_and_it_is_said(tiny_bundle_path, tmp_path, caplog):
    torch.manual_seed(0)
    wide = torch.rand(2, 96, 128).numpy()
    np.savez(tmp_path / "a.npz", factual=wide[:1], counterfactual=wide[1:])
    with caplog.at_level(logging.WARNING):
        run = adopt([tmp_path / "a.npz"], str(tiny_bundle_path), tmp_path / "run")
    assert "1 of 1 pairs were not 64 x 64 (the first was 96 x 128)" in caplog.text
    ((_, factual, image),) = read_run(run).images()
    halved = nn.functional.interpolate(
        torch.from_numpy(wide)[:, None], (48, 64), mode="bilinear", antialias=True
    )
    for found, expected in zip((factual, image), halved, strict=True):
        torch.testing.assert_close(found[0, :, 8:56], expected)
        assert found[0, :, :8].abs().sum() == 0


def test_intensity_is_never_stretched(tiny_bundle_path, tmp_path):
    bundle = shutil.copytree(tiny_bundle_path, tmp_path / "bundle")
    described = yaml.safe_load((bundle / "bundle.yaml").read_text())
    described["preprocessing"]["intensity"] = "minmax"
    (bundle / "bundle.yaml").write_text(yaml.safe_dump(described))
    torch.manual_seed(0)
    pair = 0.2 + 0.1 * torch.rand(2, SIZE, SIZE).numpy()
    np.savez(tmp_path / "a.npz", factual=pair[:1], counterfactual=pair[1:])
    run = adopt([tmp_path / "a.npz"], str(bundle), tmp_path / "run")
    ((_, factual, image),) = read_run(run).images()
    assert np.array_equal(torch.stack([factual, image])[:, 0, 0].numpy(), pair)


def test_each_pair_has_its_own_target_where_it_names_one(tiny_bundle_path, tmp_path):
    kept = arrays(phantom_pairs())
    targets = np.array(["NORMAL", "OPACITY", "", ""])
    np.savez(tmp_path / "a.npz", **kept, target=targets)
    for given, rest in (("OPACITY", ["OPACITY"] * 2), ("other", ["other"] * 2)):
        run = adopt([tmp_path / "a.npz"], str(tiny_bundle_path), tmp_path / given, target=given)
        known = {str(row["path"]): row["target"] for row in read_run(run).samples}
        assert [known[name] for name in kept["name"]] == ["NORMAL", "OPACITY", *rest]
    run = adopt([tmp_path / "a.npz"], str(tiny_bundle_path), tmp_path / "none")
    rows = {str(row["path"]): row for row in read_run(run).samples}
    for name in kept["name"][2:]:
        assert {rows[name]["source"], rows[name]["target"]} == {"NORMAL", "OPACITY"}
    with pytest.raises(ValueError, match="a target among NORMAL, OPACITY or 'other', got 'FEVER'"):
        adopt([tmp_path / "a.npz"], str(tiny_bundle_path), tmp_path / "no", target="FEVER")


def test_a_list_of_targets_is_a_goal_for_each_image():
    classifier = brightness_classifier()
    images = torch.tensor([0.2, 0.2, 0.8])[:, None, None, None].expand(3, 1, 32, 32)
    goal = make_goal(classifier, images, ["DARK", None, None])
    assert goal.target is not None
    assert goal.target.tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="a target among DARK, BRIGHT"):
        make_goal(classifier, images, ["DARK", "GREY", None])


def test_the_same_command_goes_on_and_other_pairs_are_refused(tiny_bundle_path, tmp_path):
    kept = arrays(phantom_pairs())
    np.savez(tmp_path / "a.npz", **kept)
    given = ([tmp_path / "a.npz"], str(tiny_bundle_path), tmp_path / "run")
    adopt(*given)
    before = (tmp_path / "run" / "samples.csv").read_bytes()
    adopt(*given)
    assert (tmp_path / "run" / "samples.csv").read_bytes() == before
    kept["counterfactual"] = kept["counterfactual"] * 0.9
    np.savez(tmp_path / "a.npz", **kept)
    with pytest.raises(ValueError, match="manifest"):
        adopt(*given)


def test_pairs_are_measured_by_anybodys_classifier_and_judges(tmp_path):
    """A bundle that is nothing but its description will do."""
    bundle = tmp_path / "bundle"
    (bundle / "judges").mkdir(parents=True)
    said = {"classes": ["NORMAL", "OPACITY"], "preprocessing": {"size": SIZE}}
    (bundle / "bundle.yaml").write_text(yaml.safe_dump(said))
    steep = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2)).eval()
    with torch.no_grad():
        steep[-1].weight.copy_(torch.tensor([[0.0], [40.0]]))
        steep[-1].bias.copy_(torch.tensor([0.0, -20.0]))
    for folder in (tmp_path, bundle / "judges"):
        scripted(folder / "p.ts", steep)
        describe(folder, kind="torchscript", weights="p.ts")
    dark, bright = np.linspace(0.1, 0.5, SIZE * SIZE), np.linspace(0.5, 0.9, SIZE * SIZE)
    write_png(tmp_path / "pairs/factual/a.png", dark.reshape(SIZE, SIZE))
    write_png(tmp_path / "pairs/counterfactual/a.png", bright.reshape(SIZE, SIZE))
    given = ("--bundle", bundle, "--classifier", tmp_path / "mine.yaml")
    assert cfgen("evaluate", tmp_path / "pairs", *given) == 0
    summary = json.loads((tmp_path / "pairs/run/summary.json").read_text())
    measured = summary["subsets"]["all attempted"]["metrics"]
    assert summary["judges"] == ["mine"]
    assert measured["valid"]["mean"] == measured["judge_mine_follows"]["mean"] == 1
    assert measured["l1"]["mean"] == pytest.approx(0.4, abs=1e-4)
    config = read_run(tmp_path / "pairs/run").config
    assert list(config["weights"]) == ["classifier"]
    assert summary["features"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"factual": None}, "no factual, only counterfactual"),
        ({"factual": np.zeros((4, 3, 16, 16))}, r"factual as grey images.* got \(4, 3, 16, 16\)"),
        ({"factual": np.zeros((3, 16, 16))}, "got 3 factual, 4 counterfactual"),
        ({"label": np.array([0, 1])}, "4 counterfactual, 2 label"),
        ({"label": np.zeros(4)}, "whole number a pair for label, got float64"),
        ({"name": np.array(["a", "a", "b", "c"])}, "names that differ"),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(tmp_path, change, message):
    kept = {side: np.zeros((4, 16, 16)) for side in ("factual", "counterfactual")} | change
    np.savez(tmp_path / "a.npz", **{name: one for name, one in kept.items() if one is not None})
    with pytest.raises(ValueError, match=message):
        open_arrays([tmp_path / "a.npz"], ("A", "B"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((1, 16, 16), np.uint8), "uint8 values in .*a.npz, pair 00000; save floating"),
        (np.zeros((1, 16, 16)), "the single value 0"),
        (np.zeros((1, 4, 4)), "4 x 4 pixels"),
    ],
)
def test_an_array_that_is_no_image_is_refused(tmp_path, values, message):
    np.savez(tmp_path / "a.npz", factual=values, counterfactual=values)
    (pair,) = open_arrays([tmp_path / "a.npz"], ("A", "B")).pairs
    with pytest.raises(UnreadableImage, match=message):
        pair.load()


def test_what_holds_no_pairs_is_named(tiny_bundle_path, tmp_path):
    def refused(message, *paths):
        with pytest.raises(ValueError, match=message):
            adopt(list(paths), str(tiny_bundle_path), tmp_path / "run")

    refused("without the folder factual", tmp_path)
    refused(r"two \.npy files, got .*nothing", tmp_path / "nothing")
    (tmp_path / "a.npz").write_bytes(b"junk")
    refused(r"a\.npz, got what cannot be read", tmp_path / "a.npz")
    (tmp_path / "a.safetensors").write_bytes(b"junk")
    refused(r"a\.safetensors, got what cannot be read", tmp_path / "a.safetensors")
    root = tmp_path / "pairs"
    for side in ("factual", "counterfactual"):
        (root / side).mkdir(parents=True)
    refused("got no images in", root)
    write_folder(root, phantom_pairs(2)[:1])
    (root / "pairs.csv").write_text("path,label\n")
    refused("expected the column name, .*got path, label", root)
    (root / "pairs.csv").write_text("name\na.png\na.jpeg\n")
    refused(r"in line 3 of .*pairs\.csv, got 'a\.jpeg' again", root)
    (root / "pairs.csv").unlink()
    write_png(root / "factual" / "a.png", np.eye(SIZE))
    write_png(root / "factual" / "a.tiff", np.eye(SIZE))
    refused(r"one image called a in .*factual, got a\.png and a\.tiff", root)
    (root / "factual" / "a.tiff").unlink()
    shutil.rmtree(root / "counterfactual")
    (root / "counterfactual").mkdir()
    refused("pairs that can be used, got none of 2; see .*no counterfactual of", root)
