"""The first screen of a page: finding, picture and the table by factors lie above 900 pixels at 1280 x 900."""

import pytest

from made_runs import KINDS

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def bottom(page, selector):
    return page.locator(selector).first.evaluate("one => one.getBoundingClientRect().bottom")


@pytest.fixture(scope="module")
def first_pages(page_of, page_of_kind, map_run, page_of_factors, page_of_sweep, tmp_path_factory):
    """A page of each kind."""
    maps = page_of(map_run, tmp_path_factory.mktemp("maps"))
    return {kind: page_of_kind(kind) for kind in KINDS} | {
        "maps": maps,
        "factors": page_of_factors,
        "sweep": page_of_sweep,
    }


@pytest.mark.parametrize("kind", [*KINDS, "maps", "factors", "sweep"])
def test_finding_picture_and_table_by_factors_are_seen_without_scrolling(open_page, first_pages, kind):
    page = open_page(first_pages[kind])
    page.set_viewport_size({"width": 1280, "height": 900})
    assert bottom(page, ".say") < 900
    if page.locator(".panels").count():
        assert bottom(page, ".panels") < 900
    if kind in ("factors", "sweep"):
        assert bottom(page, ".pivot:not([hidden]) table") < 900


def test_another_headline_number_can_be_chosen_and_a_table_copied(open_page, page_of_factors):
    page = open_page(page_of_factors)
    shown = page.locator(".pivot:not([hidden])")
    assert shown.count() == 1
    page.locator("#pick-pivot").select_option("mean_abs_expected_effect")
    assert "mean |expected effect| by factors" in shown.inner_text()
    shown.get_by_role("button", name="Copy table").click()
    assert shown.get_by_role("button", name="Copied").count() == 1


@pytest.mark.parametrize("kind", [*KINDS, "maps", "factors", "sweep"])
def test_a_phone_shows_finding_and_picture_at_once_and_scrolls_down_only(open_page, first_pages, kind):
    page = open_page(first_pages[kind])
    page.set_viewport_size({"width": 390, "height": 844})
    assert bottom(page, ".say") < 844
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
