"""Pages of the site that are made from docstrings and conf/, the links to them, and what `make docs` needs."""

import re
from pathlib import Path

import pytest

import dovision
from programs import program

ROOT = Path(__file__).resolve().parents[2]


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
