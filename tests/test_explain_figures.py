"""Strengths, outlines and maps show the very numbers of a case."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cfgen.data.phantom import draw
from cfgen.explanation import explain
from evaluation.explain import plots
from evaluation.explain.case import make_case
from evaluation.explain.lines import outline, strongest
from evaluation.explain.pictures import change_figure, strengths_figure
from evaluation.explain.response import SHOWN, STRENGTHS
from evaluation.explain.sheet import A4, sheet


@pytest.fixture
def case(bundle):
    found = explain(draw(5, 64).image, bundle, method="latent")
    made = make_case("a $b$ 胸.png", bundle, "latent", "cfgen explain", (found,))
    return replace(made, lungs=draw(5, 64).lungs)


def test_the_response_is_that_of_the_models_at_factual_and_counterfactual(case, bundle):
    found, response = case.found, case.response
    assert (STRENGTHS[0], STRENGTHS[8]) == (0, 1)
    torch.testing.assert_close(response.images[0], found.factual, atol=1e-5, rtol=0)
    torch.testing.assert_close(response.images[8], found.counterfactual, atol=1e-5, rtol=0)
    target = found.classes.index(found.target)
    classifier, judge = response.opinions
    assert classifier.p[0] == pytest.approx(float(found.before[target]), abs=1e-3)
    assert classifier.p[8] == pytest.approx(float(found.after[target]), abs=1e-3)
    assert (classifier.before, classifier.after) == (found.decided_before, found.decided_after)
    with torch.no_grad():
        p = bundle.judges["second"](response.images).softmax(1)[:, target]
    assert judge.p == pytest.approx(p.tolist(), abs=1e-4)
    assert response.threshold == pytest.approx(0.5, abs=1e-3)


def test_any_other_class_is_a_goal_as_well(bundle):
    found = explain(draw(5, 64).image, bundle, target="other", method="latent")
    response = make_case("film.png", bundle, "latent", "", (found,)).response
    assert response.goal == f"not {found.decided_before}"
    before = found.before[found.classes.index(found.decided_before)]
    assert response.opinions[0].p[0] == pytest.approx(1 - float(before), abs=1e-3)


def test_each_image_of_the_strip_stands_over_its_strength_undistorted(case):
    figure = strengths_figure(case)
    FigureCanvasAgg(figure).draw()
    strip, curve = figure.axes
    middles = [sum(image.get_extent()[:2]) / 2 for image in strip.images]
    assert middles == pytest.approx(STRENGTHS[SHOWN])
    assert strip.get_xlim() == curve.get_xlim()
    places, below = strip.get_position(), curve.get_position()
    assert (places.x0, places.x1) == pytest.approx((below.x0, below.x1), abs=1e-3)
    high = places.height * figure.get_figheight()
    assert places.width * figure.get_figwidth() / 7 == pytest.approx(high, rel=0.02)
    lines = {line.get_label(): line.get_ydata() for line in curve.lines}
    assert list(lines["the model"]) == list(case.response.opinions[0].p)
    assert "judge second" in lines


def test_the_map_is_symmetric_about_zero_and_has_a_scale(case):
    figure = change_figure(case)
    change = figure.axes[1].images[0]
    largest = float(case.change.abs().max())
    assert (change.norm.vmin, change.norm.vmax) == pytest.approx((-largest, largest))
    assert len(figure.axes[1].child_axes) == 1
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes[:2]:
        assert axes.get_xlim() == (-0.5, 63.5)


def test_outlines_run_round_what_became_brighter_and_darker():
    change = torch.zeros(1, 64, 64)
    change[0, 10:20, 30:40] = 0.2
    change[0, 40:50, 0:8] = -0.2
    brighter, darker = strongest(change)
    assert len(brighter) == len(darker) == 1
    x, y = brighter[0].mean(0)
    assert (x, y) == (pytest.approx(34.5, abs=1), pytest.approx(14.5, abs=1))
    assert darker[0][:, 0].max() == pytest.approx(7.5, abs=1)
    np.testing.assert_allclose(darker[0][0], darker[0][-1])
    assert strongest(torch.zeros(1, 64, 64)) == ([], [])


def test_the_outline_of_a_mask_at_the_border_is_closed():
    mask = torch.zeros(1, 20, 20, dtype=torch.bool)
    mask[0, 0:10, 5:9] = True
    (line,) = outline(mask)
    np.testing.assert_allclose(line[0], line[-1])
    assert line[:, 1].min() == pytest.approx(-0.5)
    assert line[:, 0].max() == pytest.approx(8.5)


def test_nothing_of_the_sheet_is_cut_off_and_the_font_has_every_letter(case):
    figure = sheet(case)
    FigureCanvasAgg(figure).draw()
    box = figure.get_tightbbox()
    assert 0.3 < box.x0 < box.x1 < A4[0] - 0.3
    assert 0.2 < box.y0 < box.y1 < A4[1] - 0.2
    texts = [text.get_text() for text in figure.texts]
    assert r"a \$b\$ ?.png" in texts


def test_words_of_a_sheet_with_a_warning_do_not_run_into_its_pictures(case, monkeypatch):
    from cfgen.familiarity import Familiarity

    found = replace(case.found, familiarity=Familiarity(3.0, 1.0))
    figure = sheet(replace(case, draws=(found,), lungs=None))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert any("unlike the training images" in text.get_text() for text in figure.texts)
    pictures = min(axes.get_position().y0 for axes in figure.axes[:4])
    top = max(axes.get_position().y1 for axes in figure.axes[:4])
    renderer = canvas.get_renderer()
    high = figure.bbox.height
    ends = [text.get_window_extent(renderer).y0 / high for text in figure.texts]
    assert all(end > top or end < pictures for end in ends)


def test_layers_are_drawn_largest_first(case):
    axes = Figure().subplots()
    plots.draw_layers(axes, case.leading_layers(3))
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == sorted((layer.relative for layer in case.layers), reverse=True)[:3]
