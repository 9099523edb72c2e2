"""Images like a bundle's training images are told from others, and a warning leads the pages."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml

from cfgen.data.phantom import draw
from cfgen.data.preprocessing import Preprocessing
from cfgen.data.samples import choose
from cfgen.data.sources import open_source
from cfgen.data.splits import samples_of
from cfgen.familiarity import (
    CONFIG,
    FOLDER,
    STATISTICS,
    find_familiarity,
    load_familiarity,
    traits,
)
from cfgen.models.bundle import load_bundle
from train.familiarity import fit, shrunk_covariance


@pytest.fixture(scope="module")
def drawn():
    return torch.stack([draw(seed, 32).image for seed in range(70_000_000, 70_000_120)])


@pytest.fixture(scope="module")
def model(drawn):
    return fit(traits(drawn[:90]), traits(drawn[90:]))


def test_traits_do_not_depend_on_the_batch_and_layout_not_on_exposure(drawn):
    together = traits(drawn[:5])
    torch.testing.assert_close(together[2:3], traits(drawn[2:3]))
    darker = traits(0.5 * drawn[:5] + 0.1)
    torch.testing.assert_close(darker[:, :-2], together[:, :-2], atol=0.1, rtol=0.05)
    torch.testing.assert_close(darker[:, -2], 0.5 * together[:, -2] + 0.1)
    assert (darker[:, -1] < together[:, -1] - 0.5).all()


def test_traits_need_pixels_enough():
    with pytest.raises(ValueError, match="16 pixels or more"):
        traits(torch.rand(1, 1, 8, 8))


def test_the_covariance_is_shrunk_by_the_formula_of_ledoit_and_wolf():
    x = np.random.default_rng(0).normal(size=(12, 5)) * np.arange(1, 6)
    found = shrunk_covariance(torch.from_numpy(x)).numpy()
    n, p = x.shape
    s = sum(np.outer(row, row) for row in x) / n
    level = np.trace(s) / p
    d2 = ((s - level * np.eye(p)) ** 2).sum() / p
    b2 = min(d2, sum(((np.outer(row, row) - s) ** 2).sum() / p for row in x) / n**2)
    np.testing.assert_allclose(found, b2 / d2 * level * np.eye(p) + (d2 - b2) / d2 * s)


def test_the_distance_is_that_of_mahalanobis(drawn, model):
    train = traits(drawn[:90]).double()
    mean, scale = train.mean(0), train.std(0, correction=0).clamp(min=1e-3)
    covariance = shrunk_covariance((train - mean) / scale) * scale[:, None] * scale
    off = traits(drawn[90:94]).double() - mean
    squared = (off * torch.linalg.solve(covariance, off.T).T).sum(1)
    expected = (squared / len(mean)).sqrt().float()
    torch.testing.assert_close(model.distance(drawn[90:94]), expected, rtol=1e-3, atol=0)


def test_unseen_phantoms_are_familiar_and_changed_ones_are_not(drawn, model):
    unseen = torch.stack([draw(seed, 32).image for seed in range(80_000_000, 80_000_030)])
    assert sum(found.familiar for found in model.judge(unseen)) > 25
    noise = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    for changed in (1 - unseen[:4], unseen[:4].flip(-2), unseen[:4].rot90(1, (-2, -1)), noise):
        assert not any(found.familiar for found in model.judge(changed))


def test_a_round_trip_over_the_disk_is_exact_and_small(drawn, model, tmp_path):
    model.save(tmp_path / FOLDER)
    again = load_familiarity(tmp_path / FOLDER)
    assert torch.equal(again.distance(drawn), model.distance(drawn))
    assert (again.limit, again.calibration) == (model.limit, model.calibration)
    assert sum(file.stat().st_size for file in (tmp_path / FOLDER).iterdir()) < 300_000


def test_the_limit_is_kept_by_99_of_100_validation_images(drawn, model):
    distances = model.distance(drawn[90:])
    assert float(distances.median()) < model.limit <= float(distances.max()) + 1e-5


def test_a_broken_file_is_refused_with_the_remedy(model, tmp_path):
    model.save(tmp_path)
    (tmp_path / STATISTICS).write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cfgen train familiarity"):
        load_familiarity(tmp_path)
    model.save(tmp_path)
    (tmp_path / CONFIG).write_text(json.dumps({"share": 0.99}))
    with pytest.raises(ValueError, match="cfgen train familiarity"):
        load_familiarity(tmp_path)


def test_a_bundle_has_its_own_and_borrows_none(model, tiny_bundle_path, tmp_path):
    lender = shutil.copytree(tiny_bundle_path, tmp_path / "lender")
    assert find_familiarity(load_bundle(lender)) is None
    model.save(lender / FOLDER)
    assert find_familiarity(load_bundle(lender)).limit == model.limit
    described = yaml.safe_load((lender / "bundle.yaml").read_text()) | {"borrows": "lender"}
    (tmp_path / "borrower").mkdir()
    (tmp_path / "borrower/bundle.yaml").write_text(yaml.safe_dump(described))
    assert find_familiarity(load_bundle(tmp_path / "borrower")) is None
    assert FOLDER not in load_bundle(lender).weights()


@pytest.mark.parametrize("name", ["kermany-128", "phantom-64", "phantom-64-marker"])
def test_what_is_shipped_tells_noise_and_has_a_card(name):
    bundle = load_bundle(name)
    model = find_familiarity(bundle)
    noise = torch.rand(3, 1, bundle.size, bundle.size)
    assert not any(found.familiar for found in model.judge(noise))
    card = (bundle.path / FOLDER / "README.md").read_text()
    for needed in ("Not for diagnosis", "cfgen train familiarity", "upside down", "photographs"):
        assert needed in card


def test_the_shipped_phantoms_are_familiar_to_their_bundle():
    model = find_familiarity(load_bundle("phantom-64"))
    films = torch.stack([draw(20_000_000 + k, 64).image for k in range(40)])
    assert sum(found.familiar for found in model.judge(films)) >= 36
    assert not any(found.familiar for found in model.judge(films.flip(-2)))


def test_a_marker_is_strange_to_the_bundle_that_never_saw_one():
    films = [draw(20_000_000 + k, 64, shortcut=0.9) for k in range(40)]
    marked = torch.stack([film.image for film in films if film.marker.any()])
    strange, usual = (
        [not found.familiar for found in find_familiarity(load_bundle(name)).judge(marked)]
        for name in ("phantom-64", "phantom-64-marker")
    )
    assert all(strange)
    assert sum(usual) <= 2


@pytest.mark.xrays
def test_the_shipped_xrays_are_familiar_and_inverted_ones_are_not(xrays):
    bundle = load_bundle("kermany-128")
    source = open_source(str(xrays), bundle.classes, size=bundle.size)
    films = choose(samples_of(source, "val", bundle.path / "split.csv"), 40)
    prepare = Preprocessing(**bundle.preprocessing)
    images = torch.stack([prepare(source.load(film)) for film in films])
    model = find_familiarity(bundle)
    assert sum(found.familiar for found in model.judge(images)) >= 37
    assert not any(found.familiar for found in model.judge(1 - images))
