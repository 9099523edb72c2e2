"""The page of a run in a real browser: what a reader clicks, drags, holds and types."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from evaluation.report.main import report
from evaluation.runs import create_run, write_shards
from evaluation.speed.chromium import chromium, find_chromium
from evaluation.speed.page import measure
from tests.report_runs import CLASSES, path_of, sample, write_measures, write_run

PROGRAM = find_chromium()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")
READY = "document.getElementById('opening')?.hidden"
MANY = 1000


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Six cases, a hostile name among them, with another run beside that lacks the first."""
    folder = tmp_path_factory.mktemp("page")
    run = write_measures(write_run(folder / "<i>run"))
    other = write_run(folder / "other", ids=range(1, 6), shift=0.1, method="<i>pixel")
    return report(run, [other])


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A thousand cases, of small images."""
    run = tmp_path_factory.mktemp("large") / "run"
    create_run(run, {"bundle": "none", "method": "pixel"})
    factual = torch.full((MANY, 1, 8, 8), 0.5)
    rows = [sample(k) | {"path": f"{k:04}.png", "p_target": k / MANY} for k in range(MANY)]
    ids = torch.tensor([row["id"] for row in rows])
    write_shards(run, rows, ids, factual, factual + 0.1)
    return report(run)


@pytest.fixture(scope="module")
def opened():
    with chromium(PROGRAM) as tab:
        yield tab


@pytest.fixture
def tab(opened, page):
    """The small page, freshly opened; at the end nothing was asked for and nothing went wrong."""
    yield from fresh(opened, page)


@pytest.fixture
def many(opened, large):
    yield from fresh(opened, large)


def fresh(opened, path):
    opened.size(1400, 900)
    opened.ask("Emulation.setEmulatedMedia", media="", features=[])
    opened.ask("Page.navigate", url="about:blank")
    opened.events.clear()
    opened.open(path, READY)
    yield opened
    opened.run("1")
    told = [event for event in opened.events if event["method"] == "Network.requestWillBeSent"]
    asked = {event["params"]["request"]["url"].partition(",")[0] for event in told}
    assert path.as_uri() in asked
    assert asked - {path.as_uri()} <= {"data:", "data:image/webp;base64"}
    wrong = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    dialog = "Page.javascriptDialogOpening"
    assert [event for event in opened.events if event["method"] in (*wrong, dialog)] == []


def files(tab):
    return tab.run("[...document.querySelectorAll('#rows tbody button')].map((it) => it.title)")


def texts(tab, selector):
    query = f"[...document.querySelectorAll({json.dumps(selector)})]"
    return tab.run(f"{query}.map((it) => it.textContent)")


def text(tab, selector):
    (found,) = texts(tab, selector)
    return found


def give(tab, selector, value):
    """Give a control a value, as a reader's choice does."""
    tab.run(
        f"(() => {{ const it = document.querySelector({json.dumps(selector)});"
        f"it.value = {json.dumps(value)};"
        "for (const kind of ['input', 'change'])"
        "it.dispatchEvent(new Event(kind, { bubbles: true })); })()"
    )


def seen(tab):
    return text(tab, "#seen")


def test_all_cases_are_listed_and_the_first_is_shown(tab):
    assert files(tab) == [path_of(k) for k in range(6)]
    assert text(tab, "#shown") == "6 of 6 cases"
    assert text(tab, "#name") == "case0.png"
    assert tab.run("document.getElementById('before').naturalWidth") == 32


def test_a_click_on_a_head_sorts_and_another_turns_it_round(tab):
    tab.click("[data-sort='ssim']")
    assert files(tab) == [path_of(k) for k in (5, 4, 3, 1, 0, 2)]
    assert tab.run("document.querySelector('[data-sort=ssim]').parentNode.ariaSort") == "ascending"
    tab.click("[data-sort='ssim']")
    assert files(tab) == [path_of(k) for k in (0, 1, 3, 4, 5, 2)]


def test_any_column_sorts_even_one_that_is_not_in_the_table(tab):
    give(tab, "#sort", "subgroup")
    assert files(tab) == [path_of(k) for k in (2, 3, 4, 5, 0, 1)]
    tab.click("#turn")
    assert files(tab) == [path_of(k) for k in range(6)]


def test_columns_are_chosen(tab):
    tab.click(".menu summary")
    tab.click("#columns input[value='steps']")
    assert "steps" in texts(tab, "#rows thead button")
    tab.click("#columns input[value='ssim']")
    assert "SSIM" not in texts(tab, "#rows thead button")


@pytest.mark.parametrize(
    ("column", "value", "left"),
    [
        ("result", "no judge follows", (2, 3)),
        ("verdict", "semantic", (0,)),
        ("outcome", "already there", (5,)),
        ("subgroup", "girls", (0, 1)),
        ("direction", f"{CLASSES[1]} → NORMAL", (0, 2, 4)),
    ],
)
def test_filters_of_choices(tab, column, value, left):
    give(tab, f"select[name='{column}']", f"={value}")
    assert files(tab) == [path_of(k) for k in left]
    assert text(tab, "#shown") == f"{len(left)} of 6 cases"
    tab.click("#clear")
    tab.wait("document.querySelectorAll('#rows tbody tr').length === 6")


def test_numbers_are_filtered_by_range_and_what_is_not_known_is_left_out(tab):
    give(tab, "#add", "ssim")
    tab.write("0.92")
    assert files(tab) == [path_of(k) for k in (0, 1, 3)]
    give(tab, "fieldset.filter input:last-child", "0.94")
    assert files(tab) == [path_of(k) for k in (1, 3)]
    give(tab, "input[name='file']", "CASE1")
    assert files(tab) == [path_of(1)]
    give(tab, "input[name='file']", "nowhere")
    assert files(tab) == []
    assert not tab.run("document.getElementById('none').hidden")


def test_a_count_at_the_top_shows_its_cases(tab):
    give(tab, "select[name='subgroup']", "=girls")
    tab.click("[data-column='result'][data-value='not reached']")
    tab.wait("document.querySelectorAll('#rows tbody tr').length === 1")
    assert files(tab) == [path_of(4)]


def test_holding_a_key_compares_and_letting_go_returns(tab):
    assert seen(tab) == "factual"
    tab.press("c", up=False)
    assert seen(tab) == "counterfactual"
    assert tab.run("document.getElementById('after').style.clipPath") == "inset(0px 0% 0px 0px)"
    tab.press("c", down=False)
    assert seen(tab) == "factual"


def test_holding_the_button_compares_and_from_the_far_side_shows_the_factual(tab):
    x, y = tab.middle("#hold")
    tab.mouse("mousePressed", x, y)
    assert seen(tab) == "counterfactual"
    tab.mouse("mouseReleased", x, y)
    assert seen(tab) == "factual"
    give(tab, "#slide", 100)
    assert seen(tab) == "counterfactual"
    tab.press("c", up=False)
    assert seen(tab) == "factual"


def test_the_slider_moves_by_keys_and_by_a_drag_on_the_image(tab):
    tab.run("document.getElementById('slide').focus()")
    for _ in range(30):
        tab.press("ArrowRight")
    clip = "document.getElementById('after').style.clipPath"
    assert seen(tab) == "counterfactual | factual"
    assert tab.run(clip) == "inset(0px 70% 0px 0px)"
    x, y = tab.middle("#stage")
    tab.mouse("mousePressed", x, y)
    assert tab.run(clip) == "inset(0px 50% 0px 0px)"
    wide = tab.run("document.getElementById('stage').clientWidth")
    tab.mouse("mouseMoved", x + wide / 4, y)
    tab.mouse("mouseReleased", x + wide / 4, y)
    assert tab.run("document.getElementById('slide').value") == "75"
    give(tab, "#way", "blend")
    assert tab.run("document.getElementById('after').style.opacity") == "0.75"


def pixels(tab, selector):
    x, y = tab.middle(selector)
    half = tab.run(f"document.querySelector('{selector}').clientWidth") / 2
    clip = {"x": x - half, "y": y - half, "width": 2 * half, "height": 2 * half, "scale": 1}
    left = tab.run("[scrollX, scrollY]")
    clip["x"], clip["y"] = clip["x"] + left[0], clip["y"] + left[1]
    drawn = tab.ask("Page.captureScreenshot", clip=clip)["data"]
    return np.asarray(Picture.open(io.BytesIO(base64.b64decode(drawn))).convert("RGB"), float)


def test_the_difference_is_drawn_over_the_image_in_its_colours(tab):
    before = pixels(tab, "#stage")
    tab.press("d")
    change = pixels(tab, "#stage") - before
    side = len(change)
    brighter = change[side // 8 : 3 * side // 8].mean((0, 1))
    darker = change[5 * side // 8 : 6 * side // 8].mean((0, 1))
    assert brighter[0] > 20 + brighter[2]
    assert darker[2] > 20 + darker[0]
    tab.press("d")
    assert np.abs(pixels(tab, "#stage") - before).max() <= 2


def test_a_larger_scale_makes_differences_fainter(tab):
    tab.press("d")
    strong = pixels(tab, "#stage")
    give(tab, "#scale", "0.5")
    assert texts(tab, ".end") == ["\N{MINUS SIGN}0.50", "+0.50"]
    faint = pixels(tab, "#stage")
    top = slice(len(strong) // 8, 3 * len(strong) // 8)
    spread = [np.ptp(image[top].mean((0, 1))) for image in (strong, faint)]
    assert spread[0] > 1.5 * spread[1]


def test_keys_go_through_the_list_as_it_is_sorted_and_not_while_one_types(tab):
    tab.press("n")
    assert text(tab, "#name") == "case1.png"
    tab.press("n")
    tab.press("n")
    assert text(tab, "#name") == path_of(3).split("/")[-1]
    tab.press("p")
    assert text(tab, "#name") == "case2.png"
    tab.run("document.querySelector('input[name=file]').focus()")
    tab.press("n")
    assert text(tab, "#name") == "case2.png"
    assert tab.run("document.activeElement.value") == "n"


def test_methods_stand_side_by_side_and_change_places(tab):
    lacking = texts(tab, ".lacking")
    assert lacking == ["<i>pixel: not in that run"]
    tab.press("n")
    source = "document.getElementById('after').src"
    own = tab.run(source)
    assert len(texts(tab, "#multiples button")) == 2
    tab.press("m")
    assert tab.run(source) != own
    assert (
        tab.run("document.getElementById('after').alt") == "counterfactual of case1.png by <i>pixel"
    )
    tab.click("#multiples [data-method='0']")
    assert tab.run(source) == own


def test_pictures_are_shown_in_place_of_the_table(tab):
    tab.click("[data-view='gallery']")
    assert len(texts(tab, ".card")) == 6
    tab.click(".card:nth-child(3)")
    assert text(tab, "#name") == "case2.png"
    assert tab.run("document.querySelectorAll('.card[aria-current=true]').length") == 1


def test_a_hostile_name_is_shown_as_it_is(tab):
    tab.click("#rows tbody tr:nth-child(4) button")
    assert text(tab, "#name") == path_of(3).split("/")[-1]
    assert (
        tab.run("document.querySelectorAll('main b[onclick], main i:not(#edge, .legend i)').length")
        == 0
    )
    assert CLASSES[1] in text(tab, "#said")


def test_every_image_has_an_alternative_text_and_every_control_a_name(tab):
    tab.click("[data-view='gallery']")
    assert tab.run("[...document.images].filter((it) => !it.alt).length") == 0
    tree = tab.ask("Accessibility.getFullAXTree")["nodes"]
    for role in ("button", "combobox", "slider", "checkbox", "searchbox", "image", "link"):
        nodes = [one for one in tree if one.get("role", {}).get("value") == role]
        assert all(one["name"]["value"] for one in nodes if not one["ignored"]), role


def paper(tab):
    colour = tab.run("getComputedStyle(document.body).backgroundColor")
    return sum(int(one) for one in colour[4:-1].split(","))


def test_it_is_dark_where_the_system_is_or_the_reader_wants_it(tab):
    assert paper(tab) > 700
    tab.ask(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    assert paper(tab) < 100
    give(tab, "#theme", "light")
    assert paper(tab) > 700


def test_print_is_light_with_the_list_whole_and_without_controls(tab):
    give(tab, "#theme", "dark")
    tab.ask("Emulation.setEmulatedMedia", media="print")
    hidden = "getComputedStyle(document.querySelector('{}')).display"
    assert all(tab.run(hidden.format(name)) == "none" for name in ("#filters", "#stage", ".top"))
    assert tab.run("getComputedStyle(document.getElementById('list')).overflow") == "visible"
    assert tab.run("getComputedStyle(document.body).color") == "rgb(28, 33, 38)"


def test_nothing_hangs_over_the_edge_of_a_narrow_window(tab):
    tab.size(360, 740)
    assert tab.run("document.documentElement.scrollWidth") <= 360


def test_a_thousand_cases_are_made_only_as_far_as_one_looks(many):
    assert text(many, "#shown") == f"{MANY} of {MANY} cases"
    assert len(files(many)) < MANY / 4
    assert many.run("document.images.length") < 20
    many.run("document.getElementById('list').scrollTop = 1e9")
    many.wait("document.querySelectorAll('#rows tbody tr').length > 150")
    many.click("[data-sort='p_target']")
    many.click("[data-sort='p_target']")
    assert files(many)[:2] == ["0999.png", "0998.png"]
    many.click("[data-view='gallery']")
    assert many.run("document.images.length") < 300
    give(many, "input[name='file']", "077")
    assert text(many, "#shown") == "11 of 1000 cases"


def test_from_the_far_end_of_a_thousand_the_next_keys_go_on(many):
    many.run("choose(998)")
    many.press("n")
    assert text(many, "#name") == "0999.png"
    many.press("n")
    assert text(many, "#name") == "0999.png"
    assert many.run("document.querySelector('tr[aria-current=true]').dataset.case") == "999"


def test_the_benchmark_says_what_it_measured(tmp_path):
    told = measure(count=3, size=64, out=tmp_path / "run")
    assert told.startswith("3 cases at 64 pixels: ")
    assert (tmp_path / "run/report.html").is_file()
