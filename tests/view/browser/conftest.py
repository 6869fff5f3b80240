"""Debian's chromium, and a page that it opens from this machine's own server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dovision.view.server import application
from dovision.view.view_session import ViewSession
from dovision.view.worker import Worker

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync", "--no-first-run"]


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """A running browser, or a skip that says what to install."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install playwright")
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def open_view(browser: Any, opened: Any, serve: Callable[..., str]) -> Iterator[Callable[..., Any]]:
    """Opens the page of the digits of the example; nothing may be asked of another address, nor any error be left."""
    worker, contexts = Worker(), []
    errors: list[str] = []
    requested: list[str] = []
    address = serve(application(ViewSession(opened), worker))

    def open_page(**settings: Any) -> Any:
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requested.append(request.url))
        page.goto(address)
        page.wait_for_selector("#clean-caption[data-done=true]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    worker.close()
    assert errors == []
    assert all(url.startswith((address, "data:", "blob:")) for url in requested)
