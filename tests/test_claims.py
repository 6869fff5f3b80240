"""Claims: only the `authors_*` experiments claim to follow the source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MADE = [ROOT / line.strip("/") for line in (ROOT / ".gitignore").read_text().split() if line.startswith("/docs/")]
KINDS = ("*.py", "*.yaml", "*.md", "*.html", "*.j2", "*.js", "*.svg", "*.ipynb")
TEXTS = [*sorted(ROOT.glob("*.md")), ROOT / "Makefile"]
TEXTS += [
    path
    for folder in ("conf", "src", "docs", "paper")
    for kind in KINDS
    for path in sorted((ROOT / folder).rglob(kind))
    if not any(path.is_relative_to(made) for made in MADE)  # by `make docs`
]
CLAIM = re.compile(r"\b(the|this) paper('s|s')?\b(?! whose method this is)|\bpaper_\w+", re.IGNORECASE)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_of_this_project_is_called_the_papers(path):
    assert [line for line in path.read_text().splitlines() if CLAIM.search(line)] == []


def test_no_part_of_the_configuration_is_named_after_the_paper():
    assert [path.name for path in (ROOT / "conf").rglob("*.yaml") if "paper" in path.stem] == []
