from __future__ import annotations

import hashlib
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cfgen.data import archives
from cfgen.data.patients import read_name
from cfgen.data.pixels import UnreadableImage
from cfgen.data.samples import Sample, choose
from cfgen.data.sources import open_source
from cfgen.data.splits import PatientLeak, check_leaks


def _write(path: Path, seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 10), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="PNG")
    return pixels


def _tree(root: Path, *names: str) -> str:
    for seed, name in enumerate(names):
        _write(root / name, seed)
    return str(root)


# Folders


def test_folder_tree_gives_splits_classes_and_images(tmp_path: Path):
    data = _tree(tmp_path, "train/B/2.png", "train/A/1.png", "held out/A/3.png")
    source = open_source(data)
    assert source.classes == ("A", "B")
    assert source.samples == [
        Sample("held out/A/3.png", "A", "held out"),
        Sample("train/A/1.png", "A", "train"),
        Sample("train/B/2.png", "B", "train"),
    ]
    expected = torch.from_numpy(_write(tmp_path / "train/B/2.png", 0) / 255).float()
    assert torch.allclose(source.load(source.samples[2])[0], expected)


def test_classes_without_splits_are_the_split_all(tmp_path: Path):
    source = open_source(_tree(tmp_path, "A/1.png", "B/2.png"))
    assert [(sample.path, sample.split) for sample in source.samples] == [
        ("A/1.png", "all"),
        ("B/2.png", "all"),
    ]


def test_hidden_and_foreign_files_are_passed_over(tmp_path: Path):
    data = _tree(tmp_path, "t/A/1.png", "t/B/2.PNG")
    for name in ("t/A/.hidden.png", "t/A/._1.png", "t/A/Thumbs.db", "t/notes.txt", ".DS_Store"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".git" / "A").mkdir(parents=True)
    _write(tmp_path / ".git" / "A" / "3.png")
    assert len(open_source(data).samples) == 2


def test_an_unknown_class_folder_is_named(tmp_path: Path):
    data = _tree(tmp_path, "t/A/1.png", "t/C/2.png")
    with pytest.raises(ValueError, match=r"classes A, B in .*, got C"):
        open_source(data, ("A", "B"))


def test_one_class_is_enough_only_where_the_classes_are_given(tmp_path: Path):
    data = _tree(tmp_path, "t/A/1.png")
    with pytest.raises(ValueError, match="one class only"):
        open_source(data)
    assert open_source(data, ("B", "A")).classes == ("B", "A")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "got none"),
        (("1.png",), "as SPLIT/CLASS"),
        (("A/1.png", "t/A/2.png"), "got A/1.png"),
        (("t/A/1.png", "t/A/patient1/2.png"), "got t/A/patient1/2.png"),
    ],
)
def test_folders_of_another_layout_are_refused(tmp_path: Path, names, message):
    with pytest.raises(ValueError, match=message):
        open_source(_tree(tmp_path, *names))


def test_kermany_names_tell_patient_and_cause():
    known = {
        "person123_bacteria_456.jpeg": ("person123", "bacteria"),
        "person1_virus_12.jpeg": ("person1", "virus"),
        "person1437_virus_2460_1.jpeg": ("person1437", "virus"),
        "IM-0115-0001.jpeg": ("IM-0115", None),
        "NORMAL2-IM-0115-0001.jpeg": ("IM-0115", None),
        "IM-0115-0001-0002.jpeg": ("IM-0115", None),
        "image-0115.jpeg": (None, None),
    }
    assert {name: (read_name(name).patient, read_name(name).cause) for name in known} == known


def test_kermany_numbers_restart_in_each_split(tmp_path: Path):
    names = ("train/P/person1_virus_1.png", "test/P/person1_bacteria_2.png", "test/N/IM-1-1.png")
    source = open_source(_tree(tmp_path, *names))
    assert [(sample.patient, sample.subgroup) for sample in source.samples] == [
        ("test/IM-1", None),
        ("test/person1", "bacteria"),
        ("train/person1", "virus"),
    ]
    check_leaks(source.samples)


def test_the_cause_is_the_label_where_the_classes_ask_for_it(tmp_path: Path):
    names = (
        "t/PNEUMONIA/person1_virus_1.png",
        "t/PNEUMONIA/person1_bacteria_2.png",
        "t/NORMAL/a.png",
    )
    data = _tree(tmp_path, *names)
    source = open_source(data, ("NORMAL", "BACTERIA", "VIRUS"))
    assert [sample.label for sample in source.samples] == ["NORMAL", "BACTERIA", "VIRUS"]
    _write(tmp_path / "t/PNEUMONIA/unnamed.png")
    with pytest.raises(ValueError, match="got PNEUMONIA"):
        open_source(data, ("NORMAL", "BACTERIA", "VIRUS"))


# Tables


def _table(folder: Path, text: str) -> str:
    (folder / "films.csv").write_text(text, encoding="utf-8")
    return str(folder / "films.csv")


def test_table_with_every_column(tmp_path: Path):
    _write(tmp_path / "films/1.png")
    elsewhere = tmp_path.parent / "elsewhere.png"
    text = (
        "\ufeffSubgroup,Path,AGE,label,Split,patient\r\n"
        "f,films/1.png,3,A,train,p1\r\n"
        f'm,"{tmp_path / "films, old" / "2.png"}",4,B,test,p2\r\n'
        f" , {elsewhere} ,5,B,test,\r\n"
    )
    source = open_source(_table(tmp_path, text))
    assert source.samples == [
        Sample(elsewhere.as_posix(), "B", "test"),
        Sample("films, old/2.png", "B", "test", "p2", "m"),
        Sample("films/1.png", "A", "train", "p1", "f"),
    ]
    assert source.load(source.samples[2]).shape == (1, 8, 10)
    with pytest.raises(UnreadableImage, match=r"no file in .*elsewhere\.png"):
        source.load(source.samples[0])


def test_table_without_split_is_the_split_all(tmp_path: Path):
    source = open_source(_table(tmp_path, "path,label\n1.png,A\n2.png,B\n"))
    assert {sample.split for sample in source.samples} == {"all"}


def test_patients_of_a_table_are_compared_across_splits(tmp_path: Path):
    text = "path,label,split,patient\n1.png,A,train,p7\n2.png,B,test,p7\n"
    with pytest.raises(PatientLeak, match="p7"):
        check_leaks(open_source(_table(tmp_path, text)).samples)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got an empty file; add the column path"),
        ("path,class\n1.png,A\n", "add the column label"),
        ("path,label,Path\n1.png,A,2.png\n", "got path twice"),
        ("path,label\n", "expected rows"),
        ("path,label\n1.png,A\n2.png,\n", "a label, got none in line 3"),
        ("path,label\n,A\n", "a path, got none in line 2"),
        ("path,label,split\n1.png,A,\n", "a split, got none in line 2"),
        ("path,label\n1.png,A\n2.png,B\n./1.png,B\n", "1.png once, got it again in line 4"),
        ("path,label\nfilms, old/1.png,A\n", "2 values, got 3 in line 2"),
        ('path,label\n"1.png,A\n', "a CSV table"),
        ("path,label\n1.png,A\n", "one class only"),
    ],
)
def test_broken_tables_name_line_or_column(tmp_path: Path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        open_source(_table(tmp_path, text))
    assert "films.csv" in str(caught.value)


def test_labels_outside_the_classes_are_named(tmp_path: Path):
    with pytest.raises(ValueError, match="got Edema, Mass"):
        open_source(_table(tmp_path, "path,label\n1,Mass\n2,Edema\n3,A\n"), ("A", "B"))


def test_a_table_in_another_encoding_is_refused(tmp_path: Path):
    (tmp_path / "films.csv").write_bytes("path,label\nä.png,A\n".encode("latin-1"))
    with pytest.raises(ValueError, match="UTF-8"):
        open_source(str(tmp_path / "films.csv"))


# Archives


def _arrays(**replaced: np.ndarray) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split, count in (("train", 5), ("val", 2), ("test", 3)):
        arrays[f"{split}_images"] = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 2).astype(np.uint8)[:, None]
    return arrays | replaced


def test_pneumoniamnist_archive(tmp_path: Path):
    arrays = _arrays()
    np.savez_compressed(tmp_path / "pneumoniamnist.npz", **arrays)
    source = open_source(str(tmp_path / "pneumoniamnist.npz"))
    assert source.classes == ("NORMAL", "PNEUMONIA")
    assert len(source.samples) == 10
    sample = source.of("test")[1]
    assert sample == Sample("test/00001.png", "PNEUMONIA", "test")
    assert torch.allclose(
        source.load(sample)[0], torch.from_numpy(arrays["test_images"][1] / 255).float()
    )
    assert open_source(source.name, ("PNEUMONIA", "NORMAL")).of("test")[1] == sample
    with pytest.raises(ValueError, match="got PNEUMONIA"):
        open_source(source.name, ("BACTERIA", "NORMAL", "VIRUS"))


def test_classes_of_another_archive_are_numbered_or_given(tmp_path: Path):
    np.savez(tmp_path / "other.npz", **_arrays(test_labels=np.array([0, 2, 1])))
    data = str(tmp_path / "other.npz")
    assert open_source(data).classes == ("class-0", "class-1", "class-2")
    assert [sample.label for sample in open_source(data, "CAB").of("test")] == ["C", "B", "A"]
    with pytest.raises(ValueError, match="2 classes"):
        open_source(data, ("A", "B"))


def test_a_blank_image_of_an_archive_is_unreadable(tmp_path: Path):
    np.savez(tmp_path / "a.npz", **_arrays(val_images=np.zeros((2, 28, 28), np.uint8)))
    source = open_source(str(tmp_path / "a.npz"))
    with pytest.raises(UnreadableImage, match=r"val/00000\.png"):
        source.load(source.of("val")[0])


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"test_images": np.zeros((3, 28, 28, 3), np.uint8)}, "colour images"),
        ({"test_images": np.zeros((3, 28, 28))}, "float64"),
        ({"test_labels": np.zeros((3, 14), np.uint8)}, "one label an image"),
        ({"test_labels": np.zeros((2, 1), np.uint8)}, "one label an image"),
        ({"test_labels": np.array([0, 1, -1])}, "one label an image"),
        ({"test_labels": np.array([None, 1, 0])}, "pickle"),
    ],
)
def test_archives_of_another_kind_are_refused(tmp_path: Path, replaced, message):
    np.savez(tmp_path / "a.npz", **_arrays(**replaced))
    with pytest.raises(ValueError, match=message) as caught:
        open_source(str(tmp_path / "a.npz"))
    assert "a.npz" in str(caught.value)


def test_incomplete_and_broken_archives_are_refused(tmp_path: Path):
    np.savez(tmp_path / "a.npz", train_images=_arrays()["train_images"])
    with pytest.raises(ValueError, match="expected train_labels"):
        open_source(str(tmp_path / "a.npz"))
    np.savez_compressed(tmp_path / "a.npz", **_arrays())
    whole = (tmp_path / "a.npz").read_bytes()
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(50) + whole[middle + 50 :]
    np.save(tmp_path / "a.npy", np.zeros(3))
    array = (tmp_path / "a.npy").read_bytes()
    for content in (b"", b"no archive", whole[:middle], damaged, array):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"a MedMNIST archive, got .*a\.npz"):
            open_source(str(tmp_path / "a.npz"))


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A published archive, served from a folder, and an empty cache."""
    folder = tmp_path / "published"
    folder.mkdir()
    monkeypatch.setattr(archives, "_RECORD", f"{folder.as_uri()}/{{file}}")
    monkeypatch.setenv("CFGEN_CACHE", str(tmp_path / "cache"))
    return folder


def test_an_archive_named_is_downloaded_once_and_verified(
    tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch
):
    archive = published / "pneumoniamnist_64.npz"
    np.savez(archive, **_arrays())
    with pytest.raises(ValueError, match="expected the md5"):
        open_source("pneumoniamnist:64")
    assert not list((tmp_path / "cache").iterdir())
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setitem(archives._MD5, 64, md5)
    assert len(open_source("pneumoniamnist:64").samples) == 10
    archive.unlink()
    assert len(open_source("pneumoniamnist:64").samples) == 10
    assert [file.name for file in (tmp_path / "cache").iterdir()] == ["pneumoniamnist_64.npz"]


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch
):
    np.savez(published / "pneumoniamnist.npz", **_arrays())
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("CFGEN_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ValueError, match=r"Not a directory.*by hand"):
        open_source("pneumoniamnist")


@pytest.mark.usefixtures("published")
def test_a_failed_download_tells_where_to_put_the_file(tmp_path: Path):
    with pytest.raises(ValueError, match=r"by hand and save it as .*cache.*pneumoniamnist\.npz"):
        open_source("pneumoniamnist")
    assert not list((tmp_path / "cache").iterdir())


def test_a_size_that_is_not_published_is_refused():
    with pytest.raises(ValueError, match="28, 64, 128, 224"):
        open_source("pneumoniamnist:100")


# The phantom, single images, and the rest


def test_phantoms_are_drawn_at_the_size_asked_for():
    source = open_source("phantom:0.9", size=64)
    assert source.classes == ("NORMAL", "OPACITY")
    sample = choose(source.of("test"), 1)[0]
    assert source.load(sample).shape == (1, 64, 64)
    assert sample.path in {other.path for other in source.samples}
    assert open_source("phantom").samples != source.samples


@pytest.mark.parametrize("data", ["phantom:much", "phantom:1.5", "phantom:nan"])
def test_a_wrong_shortcut_is_refused(data):
    with pytest.raises(ValueError, match=r"strength in \[0, 1\]"):
        open_source(data)


def test_phantoms_do_not_fit_other_classes():
    with pytest.raises(ValueError, match="got OPACITY"):
        open_source("phantom", ("NORMAL", "PNEUMONIA"))


def test_single_image_has_no_label(tmp_path: Path):
    _write(tmp_path / "film.png")
    source = open_source(str(tmp_path / "film.png"), ("A", "B"))
    assert source.classes == ("A", "B")
    assert source.samples == [Sample("film.png", None, "all")]
    assert source.load(source.samples[0]).shape == (1, 8, 10)


def test_anything_else_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"notes\.txt.*suffix '\.txt'; check the path"):
        open_source(str(tmp_path / "notes.txt"))
    with pytest.raises(ValueError, match=r"a \.csv table.*nothing there"):
        open_source(str(tmp_path / "none"))


def test_sources_travel_to_other_processes(tmp_path: Path):
    np.savez(tmp_path / "a.npz", **_arrays())
    data = _tree(tmp_path / "tree", "A/1.png", "B/2.png")
    table = _table(tmp_path, "path,label\ntree/A/1.png,A\ntree/B/2.png,B\n")
    for name in (data, table, str(tmp_path / "a.npz"), "phantom", f"{data}/A/1.png"):
        source = open_source(name)
        twin = pickle.loads(pickle.dumps(source))
        assert torch.equal(twin.load(twin.samples[0]), source.load(source.samples[0]))


@pytest.mark.xrays
def test_all_xrays_are_listed(xrays: Path):
    source = open_source(str(xrays))
    assert Counter((sample.split, sample.label) for sample in source.samples) == {
        ("train", "NORMAL"): 1341,
        ("train", "PNEUMONIA"): 3875,
        ("test", "NORMAL"): 115,
        ("test", "PNEUMONIA"): 192,
    }
    assert all(sample.patient for sample in source.samples)
    assert len({sample.id for sample in source.samples}) == 5523
    check_leaks(source.samples)


@pytest.mark.xrays
def test_causes_of_the_xrays_are_three_classes(xrays: Path):
    source = open_source(str(xrays), ("NORMAL", "BACTERIA", "VIRUS"))
    counts = Counter((sample.split, sample.label) for sample in source.samples)
    assert counts["train", "BACTERIA"] == 2530
    assert counts["train", "VIRUS"] == 1345
    assert counts["test", "BACTERIA"] == 127
    assert counts["test", "VIRUS"] == 65
