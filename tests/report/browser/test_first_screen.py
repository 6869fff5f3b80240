"""The first screen of a page: finding, picture and the table by factors lie above 900 pixels at 1280 x 900."""

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def bottom(page, selector):
    return page.locator(selector).first.evaluate("one => one.getBoundingClientRect().bottom")


def test_finding_picture_and_table_by_factors_are_seen_without_scrolling(open_page, page_of_factors, page_of_sweep):
    for path in (page_of_factors, page_of_sweep):
        page = open_page(path)
        page.set_viewport_size({"width": 1280, "height": 900})
        assert bottom(page, ".findings .first") < 900
        assert bottom(page, ".lead .plot svg") < 900
        assert bottom(page, ".pivot:not([hidden]) table") < 900


def test_another_headline_number_can_be_chosen_and_a_table_copied(open_page, page_of_factors):
    page = open_page(page_of_factors)
    shown = page.locator(".pivot:not([hidden])")
    assert shown.count() == 1
    page.locator("#pick-pivot").select_option("mean_abs_expected_effect")
    assert "mean |expected effect| by factors" in shown.inner_text()
    shown.get_by_role("button", name="Copy table").click()
    assert shown.get_by_role("button", name="Copied").count() == 1


def test_a_phone_scrolls_down_only(open_page, page_of_factors):
    page = open_page(page_of_factors)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
