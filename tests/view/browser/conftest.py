"""Debian's chromium, and a page that it opens from this machine's own server."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dovision.view.view_session import ViewSession
from dovision.view.worker import Worker
from made_browser import SLOWEST


@pytest.fixture
def open_view(browser: Any, opened: Any, serve: Callable[..., str]) -> Iterator[Callable[..., Any]]:
    """Opens the page of the digits of the example; nothing may be asked of another address, nor any error be left."""
    worker, contexts = Worker(), []
    errors: list[str] = []
    requested: list[str] = []
    address = serve(ViewSession(opened, worker.check, worker.begin), worker)

    def open_page(more: bool = True, **settings: Any) -> Any:
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(SLOWEST)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requested.append(request.url))
        page.goto(f"{address}/")
        page.wait_for_selector("#clean-caption[data-done=true]", state="attached")
        if more:
            page.locator("#more > summary").click()
        return page

    yield open_page
    for context in contexts:
        context.close()
    worker.close()
    assert errors == []
    assert all(url.startswith((address, "data:", "blob:")) for url in requested)
