"""`cfgen train familiarity` end to end, on a few phantoms."""

import pytest

from cfgen.cli import main
from cfgen.familiarity import CONFIG, FOLDER, STATISTICS, find_familiarity
from cfgen.models.bundle import load_bundle
from tests.test_training import draw_films, write_recipe
from train import measure
from train.card import read_readings
from train.strangers import altered, strangers


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("familiar")
    draw_films(folder / "films", {"train": 60, "test": 4})
    recipe = write_recipe(folder, folder / "films")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "DRAWS", 5)
        assert main(["train", "familiarity", "--config", str(recipe)]) == 0
        first = (folder / "tiny" / FOLDER / STATISTICS).read_bytes()
        assert main(["train", "familiarity", "--config", str(recipe)]) == 0
    assert (folder / "tiny" / FOLDER / STATISTICS).read_bytes() == first
    return folder / "tiny"


def test_a_bundle_gets_statistics_with_their_card(trained):
    model = find_familiarity(load_bundle(trained))
    assert model.calibration == {"training images": 54, "validation images": 6}
    assert not any(found.familiar for found in model.judge(strangers(64)["white noise"][:5]))
    card = (trained / FOLDER / "README.md").read_text()
    for needed in ("Not for diagnosis", "54 images for training", "| inverted | 6 | 1.000"):
        assert needed in card
    assert {CONFIG, STATISTICS, "README.md"} == {f.name for f in (trained / FOLDER).iterdir()}


def test_every_reading_is_logged_and_none_is_of_the_test_split(trained):
    readings = read_readings(trained, FOLDER)
    assert {reading.split for reading in readings} == {"val", "other"}
    kinds = {reading.metric for reading in readings}
    assert {"upside down", "photographs", "chest phantoms"} <= kinds
    assert all(0 <= reading.value <= 1 for reading in readings)


def test_altered_films_keep_their_size_and_range(phantoms):
    for kind, films in altered(phantoms).items():
        assert films.shape == phantoms.shape, kind
        assert films.min() >= 0
        assert films.max() <= 1
        assert (films - phantoms).abs().max() > 0.1, kind
    for kind, images in strangers(64).items():
        assert images.shape[1:] == (1, 64, 64), kind
        assert images.min() >= -1e-6
        assert images.max() <= 1 + 1e-6
