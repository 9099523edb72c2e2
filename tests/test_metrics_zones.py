import pytest
import torch

from cfgen import metrics
from cfgen.data.phantom import draw


def test_zones_of_both_lungs_are_thirds_and_cover_them_once():
    lungs = draw(5, 64).lungs
    zones = metrics.lung_zones(lungs)
    assert set(zones) == {
        (height, side) for height in ("upper", "middle", "lower") for side in ("right", "left")
    }
    assert torch.equal(torch.stack(list(zones.values())).sum(0), lungs.long())
    for side in ("right", "left"):
        rows = [zones[height, side][0].any(1).nonzero() for height in ("upper", "middle", "lower")]
        assert rows[0].max() < rows[1].min() <= rows[1].max() < rows[2].min()
        heights = [len(one) for one in rows]
        assert max(heights) - min(heights) <= 1


def test_the_right_lung_is_on_the_left_of_the_image():
    lungs = torch.zeros(1, 12, 12, dtype=torch.bool)
    lungs[:, 0:9, 1:4] = lungs[:, 3:12, 8:11] = True
    zones = metrics.lung_zones(lungs)
    assert zones["upper", "right"][0, 0:3, 1:4].all()
    assert zones["upper", "left"][0, 3:6, 8:11].all()
    assert zones["lower", "left"].sum() == zones["lower", "right"].sum() == 9


def test_an_empty_mask_has_no_zones_and_one_lung_has_three_or_six():
    lungs = torch.zeros(1, 12, 12, dtype=torch.bool)
    assert metrics.lung_zones(lungs) == {}
    lungs[:, 3:6, 5] = True
    assert {side for _, side in metrics.lung_zones(lungs)} == {"right"}


def test_a_change_is_found_in_its_zone_with_its_direction():
    lungs = draw(5, 64).lungs
    zones = metrics.lung_zones(lungs)
    change = -0.2 * zones["lower", "left"].float() + 0.1 * zones["upper", "right"].float()
    change[0, 0, 0] = 0.3
    first, second, *others = metrics.zone_changes(change, zones)
    assert (first.height, first.side, first.balance) == ("lower", "left", pytest.approx(-1))
    assert (second.height, second.side, second.balance) == ("upper", "right", pytest.approx(1))
    total = float(change.square().sum())
    assert first.share == pytest.approx(0.04 * int(zones["lower", "left"].sum()) / total)
    assert all(zone.share == zone.balance == 0 for zone in others)
    assert sum(zone.share for zone in (first, second)) < 1


def test_quarters_cover_an_image_once_and_are_named_as_it_shows_them():
    change = torch.zeros(1, 5, 7)
    change[0, 0, 6] = 1
    quarters = metrics.quarters(change)
    assert torch.stack(list(quarters.values())).sum(0).eq(1).all()
    first = metrics.zone_changes(change, quarters)[0]
    assert (first.height, first.side, first.share) == ("upper", "right", 1)


def test_where_nothing_changed_nothing_is_told():
    change = torch.zeros(1, 6, 6)
    assert metrics.zone_changes(change, metrics.quarters(change)) == []
