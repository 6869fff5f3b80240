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


def test_a_new_component_is_in_the_tables(tables, tmp_path, monkeypatch):
    for page in tables.pages():
        (tmp_path / page.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / page.relative_to(ROOT)).write_text(page.read_text())
    for group in (ROOT / "conf").iterdir():
        if group.is_dir():
            (tmp_path / "conf" / group.name).mkdir(parents=True)
    (tmp_path / "conf" / "attack" / "darken.yaml").write_text(
        "# @package attack\n# Darker | by epsilon.\n_target_: a.B\n"
    )
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    made = tables.pages()
    assert "| `darken` | Darker \\| by epsilon. |" in made[tmp_path / "docs/configuration.md"]
    assert "| `darken` |\n" in made[tmp_path / "docs/reference/components.md"]


def test_every_yaml_says_what_it_is_in_its_first_line(tables):
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert len(tables.summary(path)) > 10, path
