"""Pages of the site that are made from docstrings and conf/, the links to them, and what `make docs` needs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import dovision
from programs import program

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site_pages():
    """The program that makes the pages, as a module."""
    return program("docs/site_pages.py")


def test_every_public_name_is_in_the_api_reference_once(site_pages):
    shown = re.findall(r"^\.\. auto\w+:: dovision\.(\w+)$", "\n".join(site_pages.api_pages().values()), re.MULTILINE)
    assert sorted(shown) == sorted(dovision._homes())


def test_every_yaml_of_the_configuration_is_shown_as_it_stands(site_pages):
    text = "\n".join(site_pages.configuration_pages().values())
    left_out = {"help", "hydra_logging", "job_logging", "sweeper"}  # of Hydra itself
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert path.parent.name in left_out or path.read_text() in text, path


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
        "src/dovision/__init__.pyi",
    ],
)
def test_the_tables_of_a_page_are_those_of_the_components(page, tables):
    made = tables.pages()[ROOT / page]
    assert f"`{tables.COMMAND}`" in made
    assert (ROOT / page).read_text() == made, f"the tables are out of date. Run: {tables.COMMAND}"


NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "quickstart.ipynb"


@pytest.mark.slow
def test_the_quickstart_runs():
    nbclient = pytest.importorskip("nbclient", reason="nbclient is missing: pip install nbclient ipykernel")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, startup_timeout=300, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert "the strongest effect on 7: 0." in "".join(output.get("text", "") for output in outputs)
    shown = [output.get("data", {}) for output in outputs]
    assert sum("image/png" in data for data in shown) == 2  # of plot(...)
    pages = [data["text/html"] for data in shown if "text/html" in data]
    assert sum('src="data:image/png' in page for page in pages) == 4  # of results as they are
    assert any("epsilon 0.1 turned " in page for page in pages)


def test_the_quickstart_is_stored_as_one_run_from_its_first_cell_to_its_last():
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), "run make gallery"
