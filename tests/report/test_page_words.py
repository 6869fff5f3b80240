"""Words of pages and figures: none of the configuration's spelling, captions of two sentences, tables as tables."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pandas as pd
import pytest

from dovision.report.report_figure import caption
from page_text import visible

REPR = re.compile(
    r"\b[A-Z]\w+\(\w+=|<\w+ object|\{'|\['|_target_|_partial_|\b(?:None|False|True(?! effect))\b"
)  # PixelGrid(rows=, a list, a dict
KEY = re.compile(r"\b[a-z]+_[a-z_]+\b|\beps\b|\b(?:attack|dataset|evaluation|training|model)\.[a-z]")  # of a config
OVERRIDE = re.compile(r"(?<![\w?&/#-])\+{0,2}[a-z_]+(\.[a-z_]+)*=[\w\[]")  # attack.eps=0.1, +a.b=c


def without_appendix(page: str) -> str:
    """A page without the settings of its runs, which are listed by their keys."""
    return page.partition('<h2 id="ran">')[0]


LONG = [pytest.param(kind, marks=pytest.mark.long) for kind in ("detection", "14 labels", "1,000 classes")]


@pytest.fixture(scope="module", params=["grids", "maps", *LONG])
def page(request, tmp_path_factory, page_of, map_run, page_of_kind) -> Path:
    """Pages of a sweep over grids, attacks, epsilons and seeds, of maps, of detection, of many labels and classes."""
    if request.param == "grids":
        return request.getfixturevalue("page_of_factors")
    if request.param == "maps":
        return page_of(map_run, tmp_path_factory.mktemp("maps"))
    return page_of_kind(request.param)


@pytest.mark.slow
def test_neither_page_nor_figures_have_overrides_or_the_spelling_of_python(page):
    texts = {"page": visible(page.read_text())}
    texts |= {str(path): visible(path.read_text()) for path in page.parent.rglob("*.svg")}
    assert len(texts) > 5
    for name, text in texts.items():
        for pattern in (REPR, OVERRIDE, re.compile(r"(?<!CAM)\+\+")):
            found = pattern.search(text)
            assert found is None, (name, text[max(found.start() - 60, 0) : found.end() + 60])


@pytest.mark.slow
def test_prose_names_no_key_of_the_configuration(page):
    prose = visible(without_appendix(page.read_text()))
    assert [prose[max(found.start() - 40, 0) : found.end() + 40] for found in KEY.finditer(prose)] == []


@pytest.mark.slow
def test_marks_of_tables_and_heat_maps_are_explained_in_the_caption(page):
    words = {'class="best"': "bold", "*<": "star", "•<": "dot"}
    for figure in re.findall(r"<figure.*?</figure>", page.read_text(), re.DOTALL):
        caption = html.unescape(figure.partition("<figcaption")[2])
        for mark, word in words.items():
            assert mark not in figure or word in caption, (mark, caption)


@pytest.mark.slow
def test_captions_have_at_most_two_sentences_and_the_rest_is_in_the_method_of_the_job(page):
    text = page.read_text()
    captions = re.findall(r"<figcaption id=[^>]*>(.*?)(?:<a href|Numbers: CSV)", text, re.DOTALL)
    assert captions
    for own in captions:
        assert len(re.findall(r"[.](?= [A-Z]|\s*$)", html.unescape(own).strip())) <= 2, own
    assert '<details class="method">' in text
    assert "95% intervals over groups (patients or images)" in visible(text)


@pytest.mark.slow
def test_findings_come_before_all_numbers_and_tables_are_tables(page):
    text = page.read_text()
    places = [
        text.index(f'<h2 id="{name}">') for name in ("findings", "results", "details", "caveats", "ran", "reproduce")
    ]
    assert places == sorted(places)  # settings are an appendix
    assert '<table class="listing"' in text


def test_a_caption_keeps_what_is_shown_the_count_and_the_whiskers_and_leaves_the_rest_to_the_method():
    text = "Mean of it: the largest of 8. A masked image lies off the data."
    found = caption(text, [], "n = 3 images. Seeds are pooled.", "Whiskers: 95% intervals over groups, of t.")
    assert found.short == "Mean of it: the largest of 8. n = 3 images; whiskers: 95% intervals."
    assert "off the data" in found
    assert "of t." in found


def test_a_count_of_one_is_no_plural_and_intervals_that_are_all_withheld_are_not_spoken_of():
    single = pd.DataFrame({"mean": [0.1], "low": [None], "high": [None], "reason": ["fewer than 3 groups"]})
    whiskers = "Whiskers: 95% intervals over groups."
    for count, shown in (("images in each condition", "image in each condition"), ("pairs of maps", "pair of maps")):
        assert caption("Mean.", [], f"n = 1 {count}.", whiskers, single).short == f"Mean. n = 1 {shown}."
    assert "fewer than 3 groups (1)" in caption("Mean.", [], "n = 1 successful attacks.", whiskers, single)
    assert caption("Mean.", [], "n = 1 to 2 images.").short == "Mean. n = 1 to 2 images."
    known = caption("Mean.", [], "n = 1, images of each class.", whiskers, single.assign(low=0.0))
    assert known.short == "Mean. n = 1, images of each class; whiskers: 95% intervals."
