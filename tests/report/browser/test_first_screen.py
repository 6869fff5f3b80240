"""The first screen of a page: finding, picture and the table by factors lie above 900 pixels at 1280 x 900."""

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def factors(tmp_path_factory, write_run, page_of):
    """The page of two grids, two attacks, two epsilons and two seeds."""
    folder = tmp_path_factory.mktemp("factors")
    for number in range(16):
        grid, attack = 2 + 2 * (number & 1), ("fgsm", "pgd")[number >> 1 & 1]
        eps, seed = (0.1, 0.2)[number >> 2 & 1], number >> 3
        typed = [f"intervention.rows={grid}", f"attack={attack}", f"attack.eps={eps}", f"seed={seed}"]
        write_run(folder / f"{number:02}", typed, eps=(eps,), grid=grid, images=12, seed=seed, maps=1)
    return page_of(folder, folder / "report", details=1)


def bottom(page, selector):
    return page.locator(selector).first.evaluate("one => one.getBoundingClientRect().bottom")


def test_finding_picture_and_table_by_factors_are_seen_without_scrolling(open_page, factors, page_of_sweep):
    for path in (factors, page_of_sweep):
        page = open_page(path)
        page.set_viewport_size({"width": 1280, "height": 900})
        assert bottom(page, ".findings .first") < 900
        assert bottom(page, ".lead .plot svg") < 900
        assert bottom(page, ".pivot:not([hidden]) table") < 900


def test_another_headline_number_can_be_chosen_and_a_table_copied(open_page, factors):
    page = open_page(factors)
    shown = page.locator(".pivot:not([hidden])")
    assert shown.count() == 1
    page.locator("#pick-pivot").select_option("mean_abs_expected_effect")
    assert "mean |expected effect| by factors" in shown.inner_text()
    shown.get_by_role("button", name="Copy table").click()
    assert shown.get_by_role("button", name="Copied").count() == 1


def test_a_phone_scrolls_down_only(open_page, factors):
    page = open_page(factors)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
