"""The page stands alone, lists the failures, and shows text from data as text."""

import base64
import hashlib
import html
import re
from html.parser import HTMLParser

import pytest

from dovision.report import page as page_module
from dovision.report.page import rerun_command
from dovision.results.run_record import read_sweep

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Outline(HTMLParser):
    """The tags and ids of a page, with a check that they nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.heads = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        self.heads += [int(tag[1])] if re.fullmatch(r"h\d", tag) else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(page_of_sweep):
    return page_of_sweep.read_text()


def test_the_page_is_well_formed_its_ids_differ_and_it_can_be_read_out(page):
    outline = Outline(page)
    assert len(set(outline.ids)) == len(outline.ids)
    assert outline.heads[0] == 1
    assert all(later - former <= 1 for former, later in zip(outline.heads, outline.heads[1:], strict=False))
    for tag, attributes in outline.tags:
        if tag == "th":
            assert attributes["scope"] in ("col", "row")
        if attributes.get("role") == "img":
            assert attributes["aria-labelledby"]
            assert attributes["aria-describedby"]
        for name in ("aria-labelledby", "aria-describedby", "aria-controls"):
            assert attributes.get(name) is None or attributes[name] in outline.ids
    tables = [attributes for tag, attributes in outline.tags if tag == "table"]
    assert sum(tag == "caption" for tag, _ in outline.tags) == sum("aria-labelledby" not in own for own in tables)
    assert ("html", {"lang": "en"}) in outline.tags
    assert "prefers-color-scheme: dark" in page


def test_the_page_fetches_nothing_and_runs_one_script_of_its_own(page):
    for tag, attributes in Outline(page).tags:
        assert tag not in ("link", "iframe", "object")
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    data, code = re.findall(r"<script(.*?)>(.*?)</script>", page, re.DOTALL)
    assert data[0] == ' type="application/json" id="explorer-data"'
    digest = base64.b64encode(hashlib.sha256(code[1].encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in page


def rows_of(page, table):
    """The texts of the cells of a table of a page."""
    body = re.search(rf"<table[^>]*{table}.*?<tbody>(.*?)</tbody>", page, re.DOTALL)[1]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in body.split("</tr>")[:-1]]
    return [[" ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split()) for text in row] for row in cells]


def test_every_job_has_a_row_with_its_state_what_differs_and_the_reason(page):
    heads = re.findall(
        r'<th scope="col">(.*?)</th>', page[page.index('<table id="joblist"') :].partition("</thead>")[0]
    )
    assert heads[:5] == ["job", "state", "reason", "intervention", "grid"]
    assert heads[-1] == "seconds"
    rows = rows_of(page, "joblist")
    assert [row[1] for row in rows] == ["completed", "completed", "completed", "interrupted", "failed"]
    assert [row[4] for row in rows] == ["none", "2 x 2", "4 x 4", "8 x 8", "64 x 64"]
    assert rows[0][-1] == "12.5"
    assert rows[4][2] == "ValueError: a grid must have at most 32 rows, got 64."


def test_the_numbers_behind_a_figure_travel_with_the_page(page):
    link = re.search(r'href="data:text/csv;base64,([^"]+)" download="effect_against_epsilon.csv"', page)
    csv = base64.b64decode(html.unescape(link[1])).decode()
    assert csv.splitlines()[0] == "job,condition,eps,mean,low,high,reason,sd,images,seeds"
    assert len(csv.splitlines()) == 10


def test_a_page_that_would_be_too_large_names_the_figures_that_it_leaves_out(sweep, tmp_path, monkeypatch, page_of):
    monkeypatch.setattr(page_module, "FIGURES", 100_000)
    monkeypatch.setattr(page_module, "NUMBERS", 0)
    monkeypatch.setattr(page_module, "PICTURES", 0)
    text = page_of(sweep, tmp_path).read_text()
    assert re.findall("Too large for this page, in figures/(..) beside it: ", text) == ["1a", "2b"]
    assert "Numbers: CSV in figures beside this page." in text
    assert re.search("Numbers: CSV in figures/(1a|2b|3c) beside this page.", text)
    assert "explorer-data" not in text.partition("<script>")[0]


def test_of_many_runs_the_first_are_drawn_one_by_one(sweep, tmp_path, page_of):
    text = page_of(sweep, tmp_path, details=1).read_text()
    assert "1 of 3 completed runs" in text
    assert "The setting &#39;details&#39; of dovision-report draws more." in text
    assert not (tmp_path / "figures" / "2b").exists()


def test_the_command_can_be_pasted_into_a_shell(tmp_path, write_run):
    write_run(tmp_path, ["attack.eps=[0.1,8/255]", "name=it's"], images=4, maps=0, eps=())
    (run,) = read_sweep(tmp_path)
    assert rerun_command(run) == """dovision-evaluate 'attack.eps=[0.1,8/255]' 'name=it'"'"'s'"""
