"""The site as it is built: its search in a browser without a network, and links to files and headings that exist."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
UNFIT = """() => {
  const root = document.documentElement, pictures = [...document.querySelectorAll("article img")];
  const wide = root.scrollWidth > root.clientWidth ? [`${root.scrollWidth} pixels wide`] : [];
  const empty = pictures.filter(each => each.complete && !each.naturalWidth).map(each => `no picture ${each.src}`);
  const unnamed = pictures.filter(each => !each.alt).map(each => `no words for ${each.src.slice(0, 60)}`);
  return [...wide, ...empty, ...unnamed].join("; ");
}"""
pytestmark = [pytest.mark.long, pytest.mark.browser]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built anew."""
    pytest.importorskip("sphinx", reason="needs the extra docs")
    built = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", built / "trees", DOCS, built / "html"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return built / "html"


class Links(HTMLParser):
    """What a page names in href and src, and the places in it that can be named."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key in ("href", "src") and value:
                self.links.append(value)
            if key in ("id", "name") and value:
                self.places.add(value)


def broken(site: Path) -> list[str]:
    """Links of the pages to files or places of the site that are not there."""
    pages = {path: Links(path.read_text("utf-8")) for path in site.rglob("*.html")}
    found = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = unquote(parts.fragment)
            if not target.is_file() or (place and target in pages and place not in pages[target].places):
                found.append(f"{path.relative_to(site)}: {link}")
    return found


def test_every_local_link_leads_to_a_file_and_a_heading(site):
    assert broken(site) == []


def test_the_search_finds_pages_without_a_network(site, browser):
    context = browser.new_context(offline=True)
    try:
        page = context.new_page()
        page.goto((site / "search.html").as_uri() + "?q=latent")
        page.wait_for_selector("#search-results li a")
        titles = page.locator("#search-results li a").all_inner_texts()
    finally:
        context.close()
    assert any("latent" in title.lower() for title in titles)


@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_their_window_and_their_pictures_are_there_and_named(site, browser, width):
    """Code and tables scroll by themselves; nothing is fetched from elsewhere."""
    context = browser.new_context(offline=True, viewport={"width": width, "height": 900})
    page, wrong, asked = context.new_page(), {}, []
    page.on("request", lambda request: asked.append(request.url))
    try:
        for path in sorted(site.rglob("*.html")):
            if "_modules" not in path.parts:
                page.goto(path.as_uri())
                if found := page.evaluate(UNFIT):
                    wrong[path.relative_to(site).as_posix()] = found
    finally:
        context.close()
    assert wrong == {}
    assert [url for url in asked if url.startswith("http")] == []
