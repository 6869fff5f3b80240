"""The page of a reader study in a real browser: keys answer, and an answer that fails stays until it is saved."""

import csv

import pytest

from dovision.view.study import Study
from dovision.view.worker import Worker
from made_browser import SLOWEST, violations
from made_view import with_corner, write_study

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_keys_answer_and_what_fails_is_sent_again(browser, opened, serve, tmp_path):
    study, worker = Study(write_study(tmp_path, opened), "anna", lambda folder: with_corner(opened)), Worker()
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.set_default_timeout(SLOWEST)
    page.goto(f"{serve(study, worker)}/")
    page.wait_for_selector("#progress:text-is('0 of 5 answered')")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.keyboard.press("9")  # of no answer
    page.keyboard.press("Enter")
    page.locator("#window").fill("0.5")
    context.set_offline(True)
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    page.wait_for_selector("#problem:has-text('may not be saved; press Enter')")
    assert not study.table.exists()
    context.set_offline(False)
    page.keyboard.press("Enter")
    page.wait_for_selector("#progress:text-is('1 of 5 answered')")
    for number in range(2, 6):
        page.keyboard.press("1")
        page.keyboard.press("Enter")
        page.wait_for_selector(f"#progress:text-is('{number} of 5 answered')")
    assert page.locator("#question").inner_text().startswith("All pairs have an answer")
    with study.table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["answer"] for row in rows] == ["right", *["left"] * 4]
    assert {row["window"] for row in rows} == {"0.5"}
    context.close()
    worker.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_study(browser, opened, serve, tmp_path, scheme):
    study, worker = Study(write_study(tmp_path, opened), "anna", lambda folder: with_corner(opened)), Worker()
    page = browser.new_page(color_scheme=scheme)
    page.goto(f"{serve(study, worker)}/")
    page.wait_for_selector("#progress:text-is('0 of 5 answered')", timeout=SLOWEST)
    assert violations(page) == []
    page.close()
    worker.close()
