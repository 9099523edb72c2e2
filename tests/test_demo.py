"""`cfgen demo`: every method on embedded phantoms, ending with a page to open."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cfgen.cli import main
from cfgen.methods import DEFAULT_METHOD, METHODS
from cfgen.models.bundle import find_bundle
from evaluation import demo as module

SHIPPED = Path(__file__).parents[1] / "checkpoints" / module.BUNDLE / "bundle.yaml"


@pytest.fixture
def quick(monkeypatch):
    """Compare to a few real images, and descend a few steps: the way is the subject here."""
    monkeypatch.setattr("evaluation.plausibility.REAL_IMAGES", 8)
    for name in ("pixel", "latent"):
        settings = replace(METHODS[name].settings, steps=10)
        monkeypatch.setitem(METHODS, name, METHODS[name]._replace(settings=settings))


def demo(out, *arguments):
    return main(["demo", "--out", str(out), *arguments])


def check(out, told):
    assert {folder.name for folder in out.iterdir()} == {*METHODS, "comparison"}
    for method in METHODS:
        summary = json.loads((out / method / "summary.json").read_text())
        assert (summary["method"], summary["samples"]) == (method, 4)
        assert "l2_truth" in summary["definitions"]
        assert "<html" in (out / method / "report.html").read_text()
    comparison = (out / "comparison/comparison.md").read_text()
    assert comparison in told
    assert all(method in comparison for method in METHODS)
    page = Path(told.splitlines()[-1].removeprefix("open "))
    assert page.is_absolute()
    assert page == (out / DEFAULT_METHOD / "report.html").resolve()
    assert page.is_file()


def test_the_demo_ends_with_a_page_to_open(tiny_bundle_path, tmp_path, monkeypatch, capsys, quick):
    monkeypatch.setattr(module, "BUNDLE", str(tiny_bundle_path))
    assert demo(tmp_path / "demo", "--limit", "4") == 0
    check(tmp_path / "demo", capsys.readouterr().out)
    assert demo(tmp_path / "demo", "--limit", "4") == 0
    check(tmp_path / "demo", capsys.readouterr().out)


def test_a_demo_of_another_size_into_the_same_folder_is_refused(
    tiny_bundle_path, tmp_path, monkeypatch, capsys, quick
):
    monkeypatch.setattr(module, "BUNDLE", str(tiny_bundle_path))
    monkeypatch.setattr(module, "METHODS", {"latent-shift": METHODS["latent-shift"]})
    assert demo(tmp_path / "demo", "--limit", "2") == 0
    assert demo(tmp_path / "demo", "--limit", "4") == 2
    assert "limit: there 2, asked 4" in capsys.readouterr().err


def test_without_its_bundle_the_demo_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "BUNDLE", "phantom-of-the-opera")
    assert demo(tmp_path / "demo") == 2
    assert "phantom-of-the-opera" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


@pytest.mark.skipif(not SHIPPED.is_file(), reason="the phantom bundle is not in this checkout")
def test_the_shipped_bundle_explains_phantoms(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("evaluation.plausibility.REAL_IMAGES", 8)
    assert find_bundle(module.BUNDLE) == SHIPPED.parent
    assert demo(tmp_path / "demo", "--limit", "4") == 0
    check(tmp_path / "demo", capsys.readouterr().out)
    summary = json.loads((tmp_path / "demo" / DEFAULT_METHOD / "summary.json").read_text())
    assert summary["subsets"]["all attempted"]["metrics"]["valid"]["mean"] >= 0.5
