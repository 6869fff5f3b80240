"""Debian's chromium, with the network off, and pages that it opens from disk."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dovision.types import Task

EVIL = "<script>window.harmed=1</script>"
OpenPage = Callable[..., Any]


@pytest.fixture
def open_page(browser: Any) -> Iterator[OpenPage]:
    """Opens a file; the page's `errors` and `requests` are kept, and there must be no error in the end."""
    contexts: list[Any] = []
    errors: list[str] = []

    def open_file(path: Path, **settings: Any) -> Any:
        context = browser.new_context(offline=True, **settings)
        contexts.append(context)
        page = context.new_page()
        page.requested = []
        page.on(
            "console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: page.requested.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture(scope="package")
def evil(write_run: Callable[..., Any], page_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run with a class, an override and a folder that look like markup."""
    folder = tmp_path_factory.mktemp("evil")
    task = Task("multiclass", (EVIL, "</script>", "$x$", "a&amp;b", *"456789"))
    write_run(folder / "<b>", [f"+name={EVIL}"], task=task, images=12, eps=(0.2,))
    return page_of(folder)
