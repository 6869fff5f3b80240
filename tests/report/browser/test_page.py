"""The page in a real browser: it opens from a file with the network off, and does what its readers want of it."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from dovision.report.image_overlay import blended, unit_values
from dovision.results.finding import finer, number_text
from dovision.results.image_tables import write_masks
from dovision.results.tables import read_effects
from dovision.results.thumbnails import load_thumbnail, thumbnail_path
from made_browser import violations
from made_runs import seal

pytestmark = [pytest.mark.browser, pytest.mark.slow]
DARK, LIGHT = "rgb(21, 24, 30)", "rgb(255, 255, 255)"
ROWS = "#{} tbody tr:not([hidden])"


def column(page, table, number):
    return [row.locator("th, td").nth(number).inner_text() for row in page.locator(ROWS.format(table)).all()]


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def effect(text):
    return float(re.search(r": ([+\N{MINUS SIGN}]?[\d.e-]+),", text)[1].replace("\N{MINUS SIGN}", "-"))


def test_it_opens_from_a_file_and_asks_for_nothing_else(open_page, page_of_sweep):
    page = open_page(page_of_sweep)
    assert page.locator("h1").inner_text().startswith("digits")
    assert [url for url in page.requested if not url.startswith("data:")] == [page_of_sweep.as_uri()]
    assert page.locator("figure:visible svg").count() > 3


def test_numbers_are_written_as_in_the_texts_of_python(open_page, page_of_sweep):
    values = [
        0, -0.0, 1, 0.9996, 0.12345, -0.0201, 0.0016, 0.0015, 0.0011, -0.0004, 1.234e-5, -6e-6, 9.4e-7, 1.5e-10, 21.5,
    ]  # fmt: skip
    found = open_page(page_of_sweep).evaluate(
        "values => values.map((value) => [numberText(value), signedText(value)])", values
    )
    for value, texts in zip(values, found, strict=True):
        expected = [number_text(value, finer(form, value)) for form in (".3f", "+.3f")]
        assert [text.replace("\N{MINUS SIGN}", "-") for text in texts] == expected


def test_a_click_on_a_head_sorts_by_numbers_and_a_second_one_turns_the_order(open_page, page_of_sweep):
    page = open_page(page_of_sweep)
    table = page.locator('table[aria-labelledby="results-title"]')
    head = table.locator("thead th", has_text="attack success")
    place = table.locator("thead th").all_inner_texts().index(head.inner_text())

    def shown():
        return [row.locator("th, td").nth(place).inner_text() for row in table.locator("tbody tr").all()]

    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    numbers = [float(text.split()[0]) for text in shown() if text != "-"]
    assert numbers == sorted(numbers)
    assert shown()[-3:] == ["-", "-", "-"]
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(text.split()[0]) for text in shown() if text != "-"] == sorted(numbers, reverse=True)
    table.locator("thead th", has_text="images").first.get_by_role("button").click()
    assert head.get_attribute("aria-sort") is None


def test_jobs_are_filtered_by_words(open_page, page_of_sweep):
    page = open_page(page_of_sweep)
    tools = page.locator('[data-table="joblist"]')
    assert tools.locator("output").inner_text() == "5 of 5 rows"
    tools.get_by_label("Filter").fill("GRID 4 x 4 completed")
    assert column(page, "joblist", 0) == ["grid 4 x 4, grid of cells, seed 1"]
    tools.get_by_label("Filter").fill("failed")
    assert "a grid must have at most 32 rows, got 64." in page.locator(ROWS.format("joblist")).inner_text()
    assert tools.locator("output").inner_text() == "1 of 5 rows"


def test_numbers_of_a_heat_map_lead_to_their_jobs(open_page, page_of_factors):
    page = open_page(page_of_factors)
    cells = page.locator(".pivot:not([hidden]) td.heat")
    shares = [float(re.search(r"[\d.]+", cell.get_attribute("style"))[0]) for cell in cells.all()]
    numbers = [float(text.split()[0]) for text in cells.all_inner_texts()]
    assert (min(shares), max(shares)) == (0, 100)
    assert sorted(numbers) == [number for _, number in sorted(zip(shares, numbers, strict=True))]
    link = cells.first.locator("a")
    link.click()
    factor = page.locator(".pivot:not([hidden]) thead th").first.inner_text().strip()
    number = [head.strip() for head in page.locator("#joblist thead th").all_inner_texts()].index(factor)
    assert {*column(page, "joblist", number)} == {cells.first.locator("xpath=../th[1]").inner_text()}
    assert page.url.endswith("#jobs")
    still = open_page(page_of_factors, java_script_enabled=False)
    still.locator("td.heat a").first.click()
    assert still.locator("tr:target").inner_text().startswith(column(page, "joblist", 0)[0])


def test_pointing_at_a_cell_shows_its_effect(open_page, page_of_sweep, sweep):
    page = open_page(page_of_sweep)
    page.locator("#thumbnails button").first.click()
    page.locator("#left .pick-job").select_option("grid 4 x 4, grid of cells, seed 1")
    page.locator('#left [data-unit="5"]').hover()
    text = page.locator("#left .readout").inner_text()
    effects = read_effects(sweep / "2b", [0])
    clean = effects[(effects["condition"] == "clean") & (effects["unit"] == "r1c1")]
    predicted = clean.sort_values("control").iloc[-1]
    assert text.startswith(f"do(r1c1) on {predicted['class']}: ")
    assert effect(text) == pytest.approx(predicted["effect"], abs=1e-3)
    assert text.endswith(f"from P = {predicted['control']:.3f} to {predicted['treated']:.3f}")


def test_the_smallest_region_under_the_pointer_is_read_and_known_objects_are_outlined(
    open_page, page_of_sweep, tmp_path
):
    head, tail = page_of_sweep.read_text().split('id="explorer-data">')
    data, tail = tail.split("</script>", 1)
    data = json.loads(data)
    entry = next(own for own in data["entries"] if own["job"] == "grid 4 x 4, grid of cells, seed 1")
    frame = np.ones((32, 32), bool)
    frame[2:30, 2:30] = False  # of a larger box than that of the hole, and fewer pixels than its own box
    cross = np.zeros((6, 6), bool)
    cross[2:4], cross[:, 2:4] = True, True
    entry["boxes"][:3] = [[0, 0, 32, 32], [0, 0, 32, 6], [0, 0, 16, 16]]
    entry["masks"][0] = base64.b64encode(np.packbits(frame)).decode()
    entry["objects"] = [
        {"name": "mark", "label": entry["classes"][0], "box": [10, 10, 16, 16]}
        | {"mask": base64.b64encode(np.packbits(cross)).decode()},
        {"name": "tag", "label": None, "box": [0, 20, 4, 30], "mask": None},
    ]
    data = json.dumps(data | {"entries": [entry]})
    (tmp_path / "page.html").write_text(f'{head}id="explorer-data">{data}</script>{tail}')
    page = open_page(tmp_path / "page.html")
    order = page.eval_on_selector_all("#left [data-unit]", "cells => cells.map((cell) => Number(cell.dataset.unit))")
    assert [unit for unit in order if unit < 3] == [2, 0, 1]  # 256, 240 and 192 pixels
    page.locator("#pick-class label").first.click()
    for place in ("left", "right"):
        drawn = page.locator(f"#{place} .object")
        classes = [drawn.nth(number).get_attribute("class") for number in range(4)]
        assert classes == ["object below", "object for", "object below", "object other"]
        assert drawn.nth(1).get_attribute("d").count("M") == 24  # sides of pixels around the cross
        assert drawn.nth(3).get_attribute("d") == "M20 0h10v4h-10z"
    page.locator("#pick-class label").nth(1).click()
    assert page.locator("#left .object.for").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_effects_over_the_image_have_the_colours_of_a_figure(open_page, page_of_sweep, sweep, scheme):
    page = open_page(page_of_sweep, color_scheme=scheme)
    page.locator("#thumbnails button").first.click()
    page.locator("#left .pick-job").select_option("grid 4 x 4, grid of cells, seed 1")
    page.locator("#left .pick-condition").select_option("clean")
    page.locator("#pick-scale label", has_text="probability").click()
    chosen = page.locator("#left .readout").inner_text().split(" on ")[1].split(":")[0]
    saved = read_effects(sweep / "2b", [0, 1, 2])
    rows = saved[(saved["sample"] == 0) & (saved["condition"] == "clean") & (saved["class"] == chosen)]
    picture = load_thumbnail(thumbnail_path(sweep / "2b", 0, "clean"))
    values = unit_values(rows, "effect", picture.shape, 0.0)
    expected = blended(picture, -values, float(saved["effect"].abs().max())) * 255
    shown = np.asarray(Image.open(io.BytesIO(page.locator("#left .stack img").screenshot())).convert("RGB"))
    for row in rows.itertuples():
        down, across = (row.top + row.bottom) // 2 + 1, (row.left + row.right) // 2 + 1
        y, x = (int((at + 0.5) / len(picture) * len(shown)) for at in (down, across))
        assert shown[y, x] == pytest.approx(expected[down, across], abs=3)


def test_log_odds_are_shown_where_the_probability_is_saturated_until_a_scale_is_picked(open_page, page_of_sweep):
    page = open_page(page_of_sweep)
    page.locator("#right .pick-job").select_option("nothing")
    page.locator("#left .pick-job").select_option("grid 4 x 4, grid of cells, seed 1")
    page.locator("#left .pick-condition").select_option("epsilon 0.2")
    page.locator("#pick-class label", has_text="7").click()
    assert page.locator("#pick-scale :checked").get_attribute("value") == "log-odds"
    assert page.locator("#saturated").is_visible()
    assert re.search(r" on log-odds, from P = \d\S+ to \d", page.locator("#left .readout").inner_text())
    page.locator("#pick-scale label", has_text="probability").click()
    assert not page.locator("#saturated").is_visible()
    assert "log-odds" not in page.locator("#left .readout").inner_text()


def test_the_address_keeps_what_is_shown(open_page, page_of_sweep):
    page = open_page(page_of_sweep)
    assert "#" not in page.url
    page.locator("#left .pick-job").select_option("grid 4 x 4, grid of cells, seed 1")
    page.locator("#thumbnails button").nth(1).click()
    page.locator("#pick-class label", has_text="7").click()
    page.locator("#left svg").press("ArrowRight")
    shown = [page.locator(f"#{side} .readout").inner_text() for side in ("left", "right")]
    page.reload()
    assert [page.locator(f"#{side} .readout").inner_text() for side in ("left", "right")] == shown
    assert page.locator("#pick-class :checked").get_attribute("value") == "7"


def test_a_job_without_the_chosen_class_says_so(open_page, page_of_sweep, tmp_path):
    text = page_of_sweep.read_text()
    (data,) = re.findall(r'<script[^>]*id="explorer-data"[^>]*>(.*?)</script>', text, re.DOTALL)
    content = json.loads(data)
    for entry in content["entries"]:
        if entry["job"] == "grid 4 x 4, grid of cells, seed 1":
            entry["classes"] = [f"other {name}" for name in entry["classes"]]
    path = tmp_path / "page.html"
    path.write_text(text.replace(data, json.dumps(content)))
    page = open_page(path)
    page.locator("#left .pick-job").select_option(next(e["job"] for e in content["entries"] if "2 x 2" in e["job"]))
    page.locator("#right .pick-job").select_option("grid 4 x 4, grid of cells, seed 1")
    page.locator("#pick-class label", has_text="7").click()
    page.locator('#right [data-unit="0"]').hover()
    assert page.locator("#right .readout").inner_text() == "No effect on 7 is kept here."
    page.locator('#left [data-unit="0"]').hover()
    assert page.locator("#left .readout").inner_text().startswith("do(r0c0) on 7: ")


def test_dark_follows_the_system_until_the_reader_chooses(open_page, page_of_sweep):
    page = open_page(page_of_sweep, color_scheme="dark")
    assert background(page) == DARK
    page.get_by_role("button", name="Light").click()
    assert background(page) == LIGHT
    page.get_by_role("button", name="Dark").click()
    assert background(page) == DARK
    assert background(open_page(page_of_sweep, color_scheme="light")) == LIGHT


def test_it_prints_in_light_what_the_reader_has_unfolded(open_page, page_of_sweep):
    page = open_page(page_of_sweep, color_scheme="dark")
    page.emulate_media(media="print")
    assert background(page) == LIGHT
    assert page.locator("details:not([open], .sure):visible").count() == 0
    assert not page.locator("nav").is_visible()
    head = "getComputedStyle(document.querySelector('#joblist th'), '::before').content"
    assert page.evaluate(head) == '"job"'  # without a button, which further pages would leave out
    assert page.evaluate("getComputedStyle(document.querySelector('#joblist th')).boxShadow") == "none"  # bars in a PDF
    page.set_viewport_size({"width": 690, "height": 980})  # A4 within its margins
    assert page.evaluate("document.documentElement.scrollWidth") == 690


def test_without_script_it_shows_numbers_and_figures(open_page, page_of_sweep):
    page = open_page(page_of_sweep, java_script_enabled=False)
    assert page.locator('table[aria-labelledby="results-title"] tbody tr').count() == 9
    assert page.locator("#joblist tbody tr").count() == 5
    assert page.locator(".part:has(#figures) .figures svg").first.is_visible()
    for scripted in (".tools", "#explorer", "#theme"):
        assert not page.locator(scripted).first.is_visible()


def test_a_class_called_script_stays_text(open_page, evil):
    page = open_page(evil)
    page.locator("#explore").click()
    assert page.evaluate("window.harmed") is None
    assert page.locator("script").count() == 2
    assert "<script>window.harmed=1</script>" in page.locator("#pick-class").inner_text()
    assert "</script>" in page.locator("#pick-class").inner_text()
    assert "+name=<script>window.harmed=1</script>" in page.locator(".command pre").first.text_content()
    page.locator('#left [data-unit="0"]').hover()
    assert page.evaluate("window.harmed") is None


def test_a_mask_is_drawn_as_its_pixels_and_answers_to_pointing_at_them(open_page, page_of, write_run, tmp_path):
    run = write_run(tmp_path / "sweep" / "masks", ["attack=pgd"], grid=2, images=12, maps=1, eps=(0.2,)).folder
    triangle = np.tril(np.ones((16, 16), dtype=bool))
    write_masks(run, [(0, "r0c0", triangle)])
    seal(run)
    page = open_page(page_of(tmp_path / "sweep"))
    page.locator("#explore").click()
    cell = page.locator('#left [data-unit="0"]')
    assert cell.evaluate("one => one.tagName") == "path"
    drawn = cell.get_attribute("d")
    assert drawn.startswith("M0 0h1v1h-1zM0 1h2v1h-2z")
    assert drawn.count("M") == 16
    assert page.locator('#left [data-unit="1"]').evaluate("one => one.tagName") == "rect"
    inside = "([x, y]) => document.querySelector('#left [data-unit=\"0\"]').isPointInFill(new DOMPoint(x, y))"
    assert page.evaluate(inside, [2.5, 9.5])
    assert not page.evaluate(inside, [9.5, 2.5])
    cell.hover(position={"x": 2, "y": 8})
    assert page.locator("#left .readout").inner_text().startswith("do(r0c0)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_page(open_page, page_of_sweep, scheme):
    assert violations(open_page(page_of_sweep, color_scheme=scheme)) == []
