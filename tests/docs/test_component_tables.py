"""Tables of components in docs/ are those that docs/component_tables.py makes of conf/."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs import program

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tables():
    """The program that makes the tables, as a module."""
    return program("docs/component_tables.py")


@pytest.mark.parametrize(
    "page",
    [
        "docs/reference/components.md",
        "docs/reference/run_directory.md",
        "docs/configuration.md",
        "docs/extend/README.md",
        "src/dovision/__init__.pyi",
    ],
)
def test_the_tables_of_a_page_are_those_of_the_components(page, tables):
    made = tables.pages()[ROOT / page]
    assert f"`{tables.COMMAND}`" in made
    assert (ROOT / page).read_text() == made, f"the tables are out of date. Run: {tables.COMMAND}"
