"""Pages of the site that are made from docstrings and conf/, the links to them, and what `make docs` needs."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

import dovision
from programs import program

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
KEY = re.compile(r"(?P<indent> *)(?P<name>[a-zA-Z][\w@.]*): *(?P<value>[^#\s]?)")


@pytest.fixture(scope="module")
def site_pages():
    """The program that makes the pages, as a module."""
    return program("docs/site_pages.py")


@pytest.fixture(scope="module")
def run_notebooks():
    """The program that runs the notebooks, as a module."""
    return program("docs/run_notebooks.py")


def test_every_public_name_is_in_the_api_reference_once(site_pages):
    shown = re.findall(r"^\.\. auto\w+:: dovision\.(\w+)$", "\n".join(site_pages.api_pages().values()), re.MULTILINE)
    assert sorted(shown) == sorted(dovision._homes())


def test_every_yaml_of_the_configuration_is_shown_as_it_stands(site_pages):
    text = "\n".join(site_pages.configuration_pages().values())
    left_out = {"help", "hydra_logging", "job_logging", "sweeper"}  # of Hydra itself
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert path.parent.name in left_out or path.read_text() in text, path


def unexplained(group: Path) -> set[str]:
    """Keys with a value of their own that no comment of a group explains: beside one, above it, or at what holds it."""
    explained, found = set(), set()
    for path in group.glob("*.yaml"):
        outer: list[tuple[int, bool]] = []  # indents of the keys that hold the line, and whether these have a comment
        above = ""
        for line in path.read_text().splitlines():
            if key := KEY.match(line):
                outer = [each for each in outer if each[0] < len(key["indent"])]
                commented = "#" in line or above.lstrip().startswith("#") or any(each[1] for each in outer)
                outer.append((len(key["indent"]), commented))
                if commented:
                    explained.add(key["name"])
                elif key["value"] and "${" not in line:
                    found.add(key["name"])
            above = line
    return found - explained - {"command", "dir", "output_subdir", "subdir"}  # of the commands, and of Hydra


def test_every_key_of_the_configuration_has_a_comment():
    groups = {path.parent for path in (ROOT / "conf").rglob("*.yaml")}
    left_out = {"experiment", "debug", "hparams_search", "help", "hydra_logging", "job_logging", "sweeper"}
    found = {group.name: unexplained(group) for group in groups if group.name not in left_out}
    assert {name: keys for name, keys in found.items() if keys} == {}


def test_every_page_is_in_a_table_of_contents():
    named = set()
    for page in DOCS.rglob("*.md"):
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL):
            lines = [
                line.partition("<")[2].rstrip(">") or line for line in tree.splitlines() if line[:1] not in ("", ":")
            ]
            named |= {(page.parent / line).resolve().relative_to(DOCS).as_posix() for line in lines}
    pages = {
        path.relative_to(DOCS).with_suffix("").as_posix() for path in [*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]
    }
    pages = {page for page in pages if not page.startswith(("reference/api/", "reference/configuration/", "_build/"))}
    assert pages - named == {"index"}


def test_a_notebook_is_stored_with_its_outputs():
    for path in DOCS.rglob("*.ipynb"):
        if "_build" not in path.parts:
            assert '"output_type"' in path.read_text(), f"{path.name}: run make gallery"
            assert '"output_type": "error"' not in path.read_text(), path.name
            assert path.stat().st_size < 1_000_000, path.name


def test_a_notebook_shows_no_clock_time_no_duration_and_no_place_on_a_disk(run_notebooks):
    for path in [DOCS / "quickstart.ipynb", *DOCS.glob("gallery/*.ipynb")]:
        found = run_notebooks.of_a_machine(nbformat.read(path, as_version=4))
        assert found == [], f"{path.name} shows {found}. Run: python docs/run_notebooks.py {path.relative_to(ROOT)}"
