"""Debian's chromium, with the network off, and pages that it opens from disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dovision.results.run_files import digests
from dovision.results.schemas import with_digest
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


@pytest.fixture(scope="package")
def many(write_run: Callable[..., Any], page_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 400 jobs: copies of one run that differ in overrides and accuracy; every tenth failed."""
    folder = tmp_path_factory.mktemp("many")
    first = write_run(
        folder / "000", ["attack=pgd", "intervention.rows=2"], grid=2, images=12, maps=1, eps=(0.2,)
    ).folder
    facts, summary = (json.loads((first / name).read_text()) for name in ("run.json", "summary.json"))
    config = (first / ".hydra" / "config.yaml").read_text()
    for number in range(400):
        run = folder / f"{number:03}"
        if number:
            shutil.copytree(first, run)
        own = facts | {"overrides": ["attack=pgd", f"intervention.rows={number}"], "wall_seconds": (7 * number) % 400}
        if number % 10 == 9:
            own |= {"state": "failed", "exception": {"type": "ValueError", "message": f"no {number}", "traceback": ""}}
        summary["conditions"]["clean"]["accuracy"]["estimate"] = ((number * 37) % 400) / 400
        (run / "summary.json").write_text(json.dumps(summary))
        own_config = config.replace("rows: 2", f"rows: {number}").replace("columns: 2", f"columns: {number}")
        (run / ".hydra" / "config.yaml").write_text(own_config)
        (run / "run.json").write_text(json.dumps(with_digest(own | {"digests": digests(run)})))
    return page_of(folder, details=1)
